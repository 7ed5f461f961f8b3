// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

// Bits of the control registers, RFLAGS, DR6 and DR7 (SDM volume 3, 2.3, 2.5 and 17.2).
namespace bulkhead::isa {

namespace cr0 {
inline constexpr std::uint64_t PE = 1u << 0;
inline constexpr std::uint64_t MP = 1u << 1;
inline constexpr std::uint64_t EM = 1u << 2;
inline constexpr std::uint64_t TS = 1u << 3;
inline constexpr std::uint64_t ET = 1u << 4;
inline constexpr std::uint64_t NE = 1u << 5;
inline constexpr std::uint64_t WP = 1u << 16;
inline constexpr std::uint64_t AM = 1u << 18;
inline constexpr std::uint64_t NW = 1u << 29;
inline constexpr std::uint64_t CD = 1u << 30;
inline constexpr std::uint64_t PG = 1u << 31;
}  // namespace cr0

namespace cr4 {
inline constexpr std::uint64_t VME = 1u << 0;
inline constexpr std::uint64_t PVI = 1u << 1;
inline constexpr std::uint64_t TSD = 1u << 2;
inline constexpr std::uint64_t DE = 1u << 3;
inline constexpr std::uint64_t PSE = 1u << 4;
inline constexpr std::uint64_t PAE = 1u << 5;
inline constexpr std::uint64_t MCE = 1u << 6;
inline constexpr std::uint64_t PGE = 1u << 7;
inline constexpr std::uint64_t PCE = 1u << 8;
inline constexpr std::uint64_t OSFXSR = 1u << 9;
inline constexpr std::uint64_t OSXMMEXCPT = 1u << 10;
inline constexpr std::uint64_t UMIP = 1u << 11;
inline constexpr std::uint64_t LA57 = 1u << 12;
inline constexpr std::uint64_t VMXE = 1u << 13;
inline constexpr std::uint64_t SMXE = 1u << 14;
inline constexpr std::uint64_t FSGSBASE = 1u << 16;
inline constexpr std::uint64_t PCIDE = 1u << 17;
inline constexpr std::uint64_t OSXSAVE = 1u << 18;
inline constexpr std::uint64_t SMEP = 1u << 20;
inline constexpr std::uint64_t SMAP = 1u << 21;
inline constexpr std::uint64_t PKE = 1u << 22;
}  // namespace cr4

namespace rflags {
inline constexpr std::uint64_t CF = 1u << 0;
inline constexpr std::uint64_t FIXED = 1u << 1;
inline constexpr std::uint64_t PF = 1u << 2;
inline constexpr std::uint64_t AF = 1u << 4;
inline constexpr std::uint64_t ZF = 1u << 6;
inline constexpr std::uint64_t SF = 1u << 7;
inline constexpr std::uint64_t TF = 1u << 8;
inline constexpr std::uint64_t IF = 1u << 9;
inline constexpr std::uint64_t DF = 1u << 10;
inline constexpr std::uint64_t OF = 1u << 11;
inline constexpr std::uint64_t IOPL = 3u << 12;
inline constexpr std::uint64_t NT = 1u << 14;
inline constexpr std::uint64_t RF = 1u << 16;
inline constexpr std::uint64_t VM = 1u << 17;
inline constexpr std::uint64_t AC = 1u << 18;
inline constexpr std::uint64_t VIF = 1u << 19;
inline constexpr std::uint64_t VIP = 1u << 20;
inline constexpr std::uint64_t ID = 1u << 21;
}  // namespace rflags

namespace dr6 {
inline constexpr std::uint64_t reset = 0xffff0ff0;
inline constexpr std::uint64_t BD = 1u << 13;
inline constexpr std::uint64_t BS = 1u << 14;
inline constexpr std::uint64_t BT = 1u << 15;
}  // namespace dr6

namespace dr7 {
inline constexpr std::uint64_t local_enable = 0x155;  // L0 to L3, LE
inline constexpr std::uint64_t reset = 0x400;
inline constexpr std::uint64_t GD = 1u << 13;
}  // namespace dr7

namespace debugctl {
inline constexpr std::uint64_t BTF = 1u << 1;
}  // namespace debugctl

namespace xcr0 {
inline constexpr std::uint64_t X87 = 1u << 0;
inline constexpr std::uint64_t SSE = 1u << 1;
inline constexpr std::uint64_t AVX = 1u << 2;
inline constexpr std::uint64_t OPMASK = 1u << 5;
inline constexpr std::uint64_t ZMM_Hi256 = 1u << 6;
inline constexpr std::uint64_t Hi16_ZMM = 1u << 7;
inline constexpr std::uint64_t PKRU = 1u << 9;
}  // namespace xcr0

}  // namespace bulkhead::isa
