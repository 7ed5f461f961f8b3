// SPDX-License-Identifier: Apache-2.0
#include "drivers/power.hpp"

#include <stdexcept>

namespace bulkhead::drivers {

void power_off(const std::optional<acpi::SoftOff>&) { throw std::logic_error("the machine is off"); }

}  // namespace bulkhead::drivers
