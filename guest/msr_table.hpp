// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <string_view>

#include "arch/isa/msr.hpp"

// The MSRs of a guest: one row for each, or for each run of equal ones. An MSR that is not listed, or whose row is not
// shown, raises #GP.
namespace bulkhead::guest {

// Where an MSR lives: who answers RDMSR and takes WRMSR.
enum class MsrHome : std::uint8_t {
    stored,     // class Msrs keeps what was written; nothing follows from it
    constant,   // class Msrs; writes raise #GP, or are ignored where the row is writable
    apic_base,  // the local APIC, as the next three
    x2apic,
    tsc_deadline,
    tsc,  // the vCPU's TSC offset, as the next
    tsc_adjust,
    efer,      // the VMCS, with the checks of `legal_efer`
    vmcs,      // a guest-state field of the VMCS
    switched,  // on the processor, switched with the vCPU
};

// What a value must fulfil beyond having no bit outside `legal`.
enum class MsrCheck : std::uint8_t {
    bits,
    canonical,
    memory_types,
    pat_types,
    mtrr_variable,
    mtrr_default,
    misc_enable
};

enum class MsrAccess : std::uint8_t { read, write, read_write };

// What the CPUID policy must show for the MSR to be there.
enum class MsrShown : std::uint8_t { always, spec_ctrl, arch_capabilities, xsaves, rdtscp };

struct MsrRow {
    isa::Msr msr;
    std::uint32_t count;
    std::string_view name;
    std::uint64_t reset;
    std::uint64_t legal;  // bits that may be written as one
    MsrAccess access;
    MsrHome home;
    MsrCheck check{MsrCheck::bits};
    MsrShown shown{MsrShown::always};
};

namespace msr_table {

using isa::Msr;
using enum MsrAccess;
using enum MsrHome;
using enum MsrCheck;
using enum MsrShown;

inline constexpr std::uint64_t any = ~0ull;
inline constexpr std::uint64_t write_back_8 = 0x0606'0606'0606'0606;
inline constexpr unsigned variable_mtrrs = 8;

// IA32_MISC_ENABLE: fast strings on; no branch trace storage, no precise event sampling.
inline constexpr std::uint64_t misc_enable_reset = 1u << 0 | 1u << 11 | 1u << 12;
inline constexpr std::uint64_t misc_enable_read_only = 1u << 7 | 1u << 11 | 1u << 12;

// In ascending order. Reset values of the MTRRs and of IA32_PAT are as firmware leaves them: see msr.cpp for the
// others.
inline constexpr MsrRow rows[] = {
    {Msr::IA32_P5_MC_ADDR, 2, "IA32_P5_MC_ADDR, IA32_P5_MC_TYPE", 0, 0, read, constant},
    {Msr::IA32_TIME_STAMP_COUNTER, 1, "IA32_TIME_STAMP_COUNTER", 0, any, read_write, tsc},
    {Msr::IA32_PLATFORM_ID, 1, "IA32_PLATFORM_ID", 0, 0, read, constant},
    {Msr::IA32_APIC_BASE, 1, "IA32_APIC_BASE", 0, any, read_write, apic_base},
    {Msr::IA32_FEATURE_CONTROL, 1, "IA32_FEATURE_CONTROL", isa::feature_control::LOCK, 0, read, constant},
    {Msr::IA32_TSC_ADJUST, 1, "IA32_TSC_ADJUST", 0, any, read_write, tsc_adjust},
    {Msr::IA32_SPEC_CTRL, 1, "IA32_SPEC_CTRL", 0, 0x7, read_write, switched, bits, spec_ctrl},
    {Msr::IA32_PRED_CMD, 1, "IA32_PRED_CMD", 0, 0x1, write, switched, bits, spec_ctrl},
    // No update is ever loaded; the revision is one that no erratum check of a known system takes offence at.
    {Msr::IA32_BIOS_SIGN_ID, 1, "IA32_BIOS_SIGN_ID", 1ull << 32, any, read_write, constant},
    {Msr::MSR_PLATFORM_INFO, 1, "MSR_PLATFORM_INFO", 0, 0, read, constant},
    // Eight variable ranges, the fixed ranges, and write combining.
    {Msr::IA32_MTRRCAP, 1, "IA32_MTRRCAP", variable_mtrrs | 1u << 8 | 1u << 10, 0, read, constant},
    {Msr::IA32_ARCH_CAPABILITIES, 1, "IA32_ARCH_CAPABILITIES", 0, 0, read, constant, bits, arch_capabilities},
    {Msr::IA32_SYSENTER_CS, 1, "IA32_SYSENTER_CS", 0, 0xffff'ffff, read_write, vmcs},
    {Msr::IA32_SYSENTER_ESP, 2, "IA32_SYSENTER_ESP, IA32_SYSENTER_EIP", 0, any, read_write, vmcs, canonical},
    // No machine-check banks, and no control MSR of them.
    {Msr::IA32_MCG_CAP, 1, "IA32_MCG_CAP", 0, 0, read, constant},
    {Msr::IA32_MCG_STATUS, 1, "IA32_MCG_STATUS", 0, 0x7, read_write, stored},
    {Msr::IA32_MISC_ENABLE, 1, "IA32_MISC_ENABLE", misc_enable_reset, 1u << 0 | misc_enable_read_only, read_write,
     stored, misc_enable},
    {Msr::IA32_DEBUGCTL, 1, "IA32_DEBUGCTL", 0, 1u << 1, read_write, vmcs},
    {Msr::IA32_MTRR_PHYSBASE0, 2 * variable_mtrrs, "IA32_MTRR_PHYSBASE, IA32_MTRR_PHYSMASK", 0, any, read_write, stored,
     mtrr_variable},
    {Msr::IA32_MTRR_FIX64K_00000, 1, "IA32_MTRR_FIX64K_00000", write_back_8, any, read_write, stored, memory_types},
    {Msr::IA32_MTRR_FIX16K_80000, 1, "IA32_MTRR_FIX16K_80000", write_back_8, any, read_write, stored, memory_types},
    {Msr::IA32_MTRR_FIX16K_A0000, 1, "IA32_MTRR_FIX16K_A0000", 0, any, read_write, stored, memory_types},
    {Msr::IA32_MTRR_FIX4K_C0000, 8, "IA32_MTRR_FIX4K_C0000 to F8000", write_back_8, any, read_write, stored,
     memory_types},
    {Msr::IA32_PAT, 1, "IA32_PAT", 0x0007'0406'0007'0406, any, read_write, vmcs, pat_types},
    {Msr::IA32_MTRR_DEF_TYPE, 1, "IA32_MTRR_DEF_TYPE", 0xc06, 0xcff, read_write, stored, mtrr_default},
    {Msr::IA32_TSC_DEADLINE, 1, "IA32_TSC_DEADLINE", 0, any, read_write, tsc_deadline},
    {Msr::IA32_X2APIC_FIRST, 0x100, "x2APIC registers", 0, any, read_write, x2apic},
    {Msr::IA32_XSS, 1, "IA32_XSS", 0, 0, read_write, switched, bits, xsaves},
    {Msr::IA32_EFER, 1, "IA32_EFER", 0, isa::efer::SCE | isa::efer::LME | isa::efer::LMA | isa::efer::NXE, read_write,
     efer},
    {Msr::IA32_STAR, 1, "IA32_STAR", 0, any, read_write, switched},
    {Msr::IA32_LSTAR, 2, "IA32_LSTAR, IA32_CSTAR", 0, any, read_write, switched, canonical},
    {Msr::IA32_FMASK, 1, "IA32_FMASK", 0, 0xffff'ffff, read_write, switched},
    {Msr::IA32_FS_BASE, 2, "IA32_FS_BASE, IA32_GS_BASE", 0, any, read_write, vmcs, canonical},
    {Msr::IA32_KERNEL_GS_BASE, 1, "IA32_KERNEL_GS_BASE", 0, any, read_write, switched, canonical},
    {Msr::IA32_TSC_AUX, 1, "IA32_TSC_AUX", 0, 0xffff'ffff, read_write, switched, bits, rdtscp},
};

constexpr std::uint32_t first_of(const MsrRow& row) { return static_cast<std::uint32_t>(row.msr); }
constexpr std::uint32_t last_of(const MsrRow& row) { return first_of(row) + row.count - 1; }

constexpr bool ascending() {
    for (std::size_t i = 1; i < std::size(rows); ++i)
        if (first_of(rows[i]) <= last_of(rows[i - 1])) return false;
    return true;
}
static_assert(ascending(), "found by binary search");

constexpr const MsrRow* find(Msr msr) {
    const auto number = static_cast<std::uint32_t>(msr);
    const MsrRow* const row = std::lower_bound(std::begin(rows), std::end(rows), number,
                                               [](const MsrRow& r, std::uint32_t n) { return last_of(r) < n; });
    return row != std::end(rows) && first_of(*row) <= number ? row : nullptr;
}

}  // namespace msr_table

}  // namespace bulkhead::guest
