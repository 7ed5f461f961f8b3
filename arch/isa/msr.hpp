// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

// Model-specific registers by their SDM names (SDM volume 4, table 2-2).
namespace bulkhead::isa {

enum class Msr : std::uint32_t {
    IA32_P5_MC_ADDR = 0x0,
    IA32_P5_MC_TYPE = 0x1,
    IA32_TIME_STAMP_COUNTER = 0x10,
    IA32_PLATFORM_ID = 0x17,
    IA32_APIC_BASE = 0x1b,
    MSR_EBL_CR_POWERON = 0x2a,
    MSR_SMI_COUNT = 0x34,
    IA32_FEATURE_CONTROL = 0x3a,
    IA32_TSC_ADJUST = 0x3b,
    IA32_SPEC_CTRL = 0x48,
    IA32_PRED_CMD = 0x49,
    IA32_BIOS_UPDT_TRIG = 0x79,
    IA32_BIOS_SIGN_ID = 0x8b,
    MSR_PLATFORM_INFO = 0xce,
    IA32_MPERF = 0xe7,
    IA32_APERF = 0xe8,
    IA32_MTRRCAP = 0xfe,
    IA32_ARCH_CAPABILITIES = 0x10a,
    IA32_FLUSH_CMD = 0x10b,
    MSR_BBL_CR_CTL3 = 0x11e,
    IA32_SYSENTER_CS = 0x174,
    IA32_SYSENTER_ESP = 0x175,
    IA32_SYSENTER_EIP = 0x176,
    IA32_MCG_CAP = 0x179,
    IA32_MCG_STATUS = 0x17a,
    IA32_PERF_STATUS = 0x198,
    IA32_PERF_CTL = 0x199,
    IA32_MISC_ENABLE = 0x1a0,
    IA32_ENERGY_PERF_BIAS = 0x1b0,
    IA32_DEBUGCTL = 0x1d9,
    IA32_MTRR_PHYSBASE0 = 0x200,
    IA32_MTRR_PHYSMASK0 = 0x201,
    IA32_MTRR_FIX64K_00000 = 0x250,
    IA32_MTRR_FIX16K_80000 = 0x258,
    IA32_MTRR_FIX16K_A0000 = 0x259,
    IA32_MTRR_FIX4K_C0000 = 0x268,
    IA32_MTRR_FIX4K_F8000 = 0x26f,
    IA32_PAT = 0x277,
    IA32_MTRR_DEF_TYPE = 0x2ff,
    IA32_VMX_BASIC = 0x480,
    IA32_VMX_PINBASED_CTLS = 0x481,
    IA32_VMX_PROCBASED_CTLS = 0x482,
    IA32_VMX_EXIT_CTLS = 0x483,
    IA32_VMX_ENTRY_CTLS = 0x484,
    IA32_VMX_MISC = 0x485,
    IA32_VMX_CR0_FIXED0 = 0x486,
    IA32_VMX_CR0_FIXED1 = 0x487,
    IA32_VMX_CR4_FIXED0 = 0x488,
    IA32_VMX_CR4_FIXED1 = 0x489,
    IA32_VMX_PROCBASED_CTLS2 = 0x48b,
    IA32_VMX_EPT_VPID_CAP = 0x48c,
    IA32_VMX_TRUE_PINBASED_CTLS = 0x48d,
    IA32_VMX_TRUE_PROCBASED_CTLS = 0x48e,
    IA32_VMX_TRUE_EXIT_CTLS = 0x48f,
    IA32_VMX_TRUE_ENTRY_CTLS = 0x490,
    IA32_TSC_DEADLINE = 0x6e0,
    IA32_X2APIC_FIRST = 0x800,
    IA32_X2APIC_LAST = 0x8ff,
    IA32_XSS = 0xda0,
    IA32_EFER = 0xc0000080,
    IA32_STAR = 0xc0000081,
    IA32_LSTAR = 0xc0000082,
    IA32_CSTAR = 0xc0000083,
    IA32_FMASK = 0xc0000084,
    IA32_FS_BASE = 0xc0000100,
    IA32_GS_BASE = 0xc0000101,
    IA32_KERNEL_GS_BASE = 0xc0000102,
    IA32_TSC_AUX = 0xc0000103,
};

namespace efer {
inline constexpr std::uint64_t SCE = 1u << 0;
inline constexpr std::uint64_t LME = 1u << 8;
inline constexpr std::uint64_t LMA = 1u << 10;
inline constexpr std::uint64_t NXE = 1u << 11;
}  // namespace efer

namespace apic_base {
inline constexpr std::uint64_t BSP = 1u << 8;
inline constexpr std::uint64_t EXTD = 1u << 10;
inline constexpr std::uint64_t EN = 1u << 11;
}  // namespace apic_base

namespace feature_control {
inline constexpr std::uint64_t LOCK = 1u << 0;
inline constexpr std::uint64_t VMXON_OUTSIDE_SMX = 1u << 2;
}  // namespace feature_control

}  // namespace bulkhead::isa
