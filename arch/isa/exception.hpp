// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>

namespace bulkhead::isa {

// Exception vectors (SDM volume 3, table 6-1).
enum class Exception : std::uint8_t {
    DE = 0, DB = 1, NMI = 2, BP = 3, OF = 4, BR = 5, UD = 6, NM = 7, DF = 8,
    TS = 10, NP = 11, SS = 12, GP = 13, PF = 14, MF = 16, AC = 17, MC = 18, XM = 19, VE = 20, CP = 21,
};

// Page-fault error code (SDM volume 3, 4.7).
namespace page_fault {
inline constexpr std::uint32_t present = 1u << 0;
inline constexpr std::uint32_t write = 1u << 1;
inline constexpr std::uint32_t user = 1u << 2;
inline constexpr std::uint32_t reserved_bit = 1u << 3;
inline constexpr std::uint32_t instruction = 1u << 4;
inline constexpr std::uint32_t protection_key = 1u << 5;
}  // namespace page_fault

// An exception to be raised in a guest.
struct Fault {
    Exception vector{};
    std::optional<std::uint32_t> error_code{};
    std::uint64_t address{};  // CR2 of a #PF

    friend constexpr bool operator==(const Fault&, const Fault&) = default;
};

inline constexpr Fault general_protection{Exception::GP, 0u, 0};
inline constexpr Fault invalid_opcode{Exception::UD, std::nullopt, 0};

}  // namespace bulkhead::isa
