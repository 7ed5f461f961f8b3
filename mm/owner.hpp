// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

namespace bulkhead::mm {

// Who pays for a piece of memory. The allocators know owners, not guests.
enum class OwnerId : std::uint16_t { nobody = 0, hypervisor = 1, first_guest = 2 };

// Owners that an allocator accounts for; ids from here on are refused.
inline constexpr std::size_t max_owners = 32;

enum class OutOfMemory : std::uint8_t {
    exhausted,    // nothing (or no run that is long enough) is free
    over_budget,  // the owner has had its share; others are not affected
};

}  // namespace bulkhead::mm
