// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "guest/memory.hpp"

namespace bulkhead::guest {

// What systems look up in the BIOS data area, which a PC's firmware keeps from 400h on: the first serial port, the
// equipment, the size of base memory, and the extended area above it, where they then look for tables. False where the
// guest has no memory there.
[[nodiscard]] bool write_bios_data(Memory& memory);

}  // namespace bulkhead::guest
