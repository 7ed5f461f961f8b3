// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace bulkhead::isa {

// In the order in which the VMCS and the instruction encoding number them (SDM volume 3, 24.4.1; volume 2, table B-8).
enum class Segment : std::uint8_t { ES, CS, SS, DS, FS, GS, LDTR, TR };

// Access rights in the VMCS layout (SDM volume 3, table 24-2).
namespace access_rights {
inline constexpr std::uint32_t type = 0xf;
inline constexpr std::uint32_t S = 1u << 4;
inline constexpr std::uint32_t dpl_shift = 5;
inline constexpr std::uint32_t P = 1u << 7;
inline constexpr std::uint32_t AVL = 1u << 12;
inline constexpr std::uint32_t L = 1u << 13;
inline constexpr std::uint32_t DB = 1u << 14;
inline constexpr std::uint32_t G = 1u << 15;
inline constexpr std::uint32_t unusable = 1u << 16;
}  // namespace access_rights

struct SegmentRegister {
    std::uint16_t selector{};
    std::uint32_t rights{};  // access_rights
    std::uint32_t limit{};   // bytes, scaled
    std::uint64_t base{};
};

// A general register's number in the instruction encoding (SDM volume 2, 2.1.5).
enum class Gpr : std::uint8_t { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15 };

}  // namespace bulkhead::isa
