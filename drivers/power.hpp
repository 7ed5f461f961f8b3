// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>

#include "drivers/acpi.hpp"

namespace bulkhead::drivers {

// Both try what the machine's tables name, then what PCs commonly have, and halt when nothing worked. Interrupts are
// off, and what is still in the UART has been drained: the machine stops at once.
[[noreturn]] void power_off(const std::optional<acpi::SoftOff>& soft_off);
[[noreturn]] void reset(const std::optional<acpi::ResetRegister>& reset_register);

}  // namespace bulkhead::drivers
