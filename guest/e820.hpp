// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "lib/address.hpp"

namespace bulkhead::guest {

// Address range types of the system address map (ACPI specification, 15 "System Address Map Interfaces").
enum class E820Type : std::uint32_t { usable = 1, reserved = 2, acpi_reclaimable = 3, acpi_nvs = 4, unusable = 5 };

// One range of the memory map that a guest is given.
struct E820Entry {
    GuestPhys first{};
    std::uint64_t size{};
    E820Type type{E820Type::reserved};

    constexpr GuestPhys end() const { return first + size; }
    friend constexpr bool operator==(const E820Entry&, const E820Entry&) = default;
};

}  // namespace bulkhead::guest
