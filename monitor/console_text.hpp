// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

#include "monitor/console_link.hpp"

// The words and colours of the console.
namespace bulkhead::monitor::console_text {

// The parameters of SGR for a partition's tag.
std::string_view colour(unsigned partition);
std::string_view state_name(unsigned partition, link::PartitionState state);
std::string_view help();

}  // namespace bulkhead::monitor::console_text
