// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>

#include "mm/regions.hpp"

// The address space from the entry until the final page tables are there. It has the same layout, so that an address
// stays valid over the change, but it maps the image writable and executable.
namespace bulkhead::mm {

// Before it, no per-CPU variable may be touched and the stack is the boot CPU's by its address in the image.
extern "C" void map_boot_private();

// Maps the frame pool; its contents are whatever was there.
std::span<std::byte> map_early_pool(MemoryRange pool);

}  // namespace bulkhead::mm
