// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace bulkhead::isa {

struct CpuidResult {
    std::uint32_t eax{}, ebx{}, ecx{}, edx{};
    friend constexpr bool operator==(const CpuidResult&, const CpuidResult&) = default;
};

// Feature bits by leaf and register (SDM volume 2, CPUID).
namespace cpuid {
namespace leaf1_ecx {
inline constexpr std::uint32_t SSE3 = 1u << 0, PCLMULQDQ = 1u << 1, DTES64 = 1u << 2, MONITOR = 1u << 3,
    DS_CPL = 1u << 4, VMX = 1u << 5, SMX = 1u << 6, EIST = 1u << 7, TM2 = 1u << 8, SSSE3 = 1u << 9, CNXT_ID = 1u << 10,
    SDBG = 1u << 11, FMA = 1u << 12, CMPXCHG16B = 1u << 13, xTPR = 1u << 14, PDCM = 1u << 15, PCID = 1u << 17,
    DCA = 1u << 18, SSE4_1 = 1u << 19, SSE4_2 = 1u << 20, x2APIC = 1u << 21, MOVBE = 1u << 22, POPCNT = 1u << 23,
    TSC_DEADLINE = 1u << 24, AESNI = 1u << 25, XSAVE = 1u << 26, OSXSAVE = 1u << 27, AVX = 1u << 28, F16C = 1u << 29,
    RDRAND = 1u << 30, HYPERVISOR = 1u << 31;
}
namespace leaf1_edx {
inline constexpr std::uint32_t FPU = 1u << 0, VME = 1u << 1, DE = 1u << 2, PSE = 1u << 3, TSC = 1u << 4, MSR = 1u << 5,
    PAE = 1u << 6, MCE = 1u << 7, CX8 = 1u << 8, APIC = 1u << 9, SEP = 1u << 11, MTRR = 1u << 12, PGE = 1u << 13,
    MCA = 1u << 14, CMOV = 1u << 15, PAT = 1u << 16, PSE36 = 1u << 17, PSN = 1u << 18, CLFSH = 1u << 19, DS = 1u << 21,
    ACPI = 1u << 22, MMX = 1u << 23, FXSR = 1u << 24, SSE = 1u << 25, SSE2 = 1u << 26, SS = 1u << 27, HTT = 1u << 28,
    TM = 1u << 29, PBE = 1u << 31;
}
}  // namespace cpuid

}  // namespace bulkhead::isa
