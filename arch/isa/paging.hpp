// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

// Page-table entry bits (SDM volume 3, tables 4-15 to 4-20).
namespace bulkhead::isa::pte {

inline constexpr std::uint64_t P = 1ull << 0;
inline constexpr std::uint64_t RW = 1ull << 1;
inline constexpr std::uint64_t US = 1ull << 2;
inline constexpr std::uint64_t PWT = 1ull << 3;
inline constexpr std::uint64_t PCD = 1ull << 4;
inline constexpr std::uint64_t A = 1ull << 5;
inline constexpr std::uint64_t D = 1ull << 6;
inline constexpr std::uint64_t PS = 1ull << 7;
inline constexpr std::uint64_t G = 1ull << 8;
inline constexpr std::uint64_t XD = 1ull << 63;
inline constexpr std::uint64_t address_mask = 0x000f'ffff'ffff'f000ull;

}  // namespace bulkhead::isa::pte
