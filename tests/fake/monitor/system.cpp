// SPDX-License-Identifier: Apache-2.0
#include "monitor/system.hpp"

namespace bulkhead::monitor {

constinit System the_system;

}  // namespace bulkhead::monitor
