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
    efer,     // the VMCS, with the checks of `legal_efer`
    vmcs,     // a guest-state field of the VMCS
    direct,   // in the VMCS, or switched with the vCPU: the guest reaches it without an exit, and the processor checks
    checked,  // as `direct`, but for writes, which an emulator is known not to check
    command,  // a write is done on the processor
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

// The feature that CPUID must show for the MSR to be there.
enum class MsrShown : std::uint8_t {
    always,
    apic,
    x2apic,
    tsc_deadline,
    tsc_adjust,
    sep,
    mtrr,
    pat,
    mca,
    spec_ctrl,
    ibpb,
    l1d_flush,
    arch_capabilities,
    xsaves,
    long_mode,
    rdtscp,
    count
};

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
using MsrHome::apic_base, MsrHome::checked, MsrHome::command, MsrHome::constant, MsrHome::direct, MsrHome::efer,
    MsrHome::stored, MsrHome::tsc, MsrHome::vmcs;
using enum MsrCheck;
using MsrShown::apic, MsrShown::arch_capabilities, MsrShown::ibpb, MsrShown::l1d_flush, MsrShown::long_mode,
    MsrShown::mca, MsrShown::mtrr, MsrShown::pat, MsrShown::rdtscp, MsrShown::sep, MsrShown::spec_ctrl,
    MsrShown::xsaves;

inline constexpr std::uint64_t any = ~0ull;
inline constexpr std::uint64_t write_back_8 = 0x0606'0606'0606'0606;
inline constexpr unsigned variable_mtrrs = 8;

// IA32_MISC_ENABLE: fast strings on; no branch trace storage, no precise event sampling.
inline constexpr std::uint64_t misc_enable_reset = 1u << 0 | 1u << 11 | 1u << 12;
inline constexpr std::uint64_t misc_enable_read_only = 1u << 7 | 1u << 11 | 1u << 12;

// In ascending order. Reset values of the MTRRs and of IA32_PAT are as firmware leaves them: see msr.cpp for the
// others. What no feature of CPUID stands for is here because systems are known to read it on a processor of Intel.
inline constexpr MsrRow rows[] = {
    {Msr::IA32_P5_MC_ADDR, 2, "IA32_P5_MC_ADDR, IA32_P5_MC_TYPE", 0, 0, read, constant},
    {Msr::IA32_TIME_STAMP_COUNTER, 1, "IA32_TIME_STAMP_COUNTER", 0, any, read_write, tsc},
    {Msr::IA32_PLATFORM_ID, 1, "IA32_PLATFORM_ID", 0, 0, read, constant},
    {Msr::IA32_APIC_BASE, 1, "IA32_APIC_BASE", 0, any, read_write, apic_base, bits, apic},
    {Msr::MSR_EBL_CR_POWERON, 1, "MSR_EBL_CR_POWERON", 0, 0, read, constant},
    {Msr::MSR_SMI_COUNT, 1, "MSR_SMI_COUNT", 0, 0, read, constant},
    {Msr::IA32_FEATURE_CONTROL, 1, "IA32_FEATURE_CONTROL", isa::feature_control::LOCK, 0, read, constant},
    {Msr::IA32_TSC_ADJUST, 1, "IA32_TSC_ADJUST", 0, any, read_write, MsrHome::tsc_adjust, bits, MsrShown::tsc_adjust},
    {Msr::IA32_SPEC_CTRL, 1, "IA32_SPEC_CTRL", 0, 0x7, read_write, direct, bits, spec_ctrl},
    {Msr::IA32_PRED_CMD, 1, "IA32_PRED_CMD", 0, 0x1, write, command, bits, ibpb},
    // No update is ever loaded; the revision is one that no erratum check of a known system takes offence at.
    {Msr::IA32_BIOS_UPDT_TRIG, 1, "IA32_BIOS_UPDT_TRIG", 0, any, write, constant, canonical},
    {Msr::IA32_BIOS_SIGN_ID, 1, "IA32_BIOS_SIGN_ID", 1ull << 32, any, read_write, constant},
    {Msr::MSR_PLATFORM_INFO, 1, "MSR_PLATFORM_INFO", 0, 0, read, constant},
    // Eight variable ranges, the fixed ranges, and write combining.
    {Msr::IA32_MTRRCAP, 1, "IA32_MTRRCAP", variable_mtrrs | 1u << 8 | 1u << 10, 0, read, constant, bits, mtrr},
    {Msr::IA32_ARCH_CAPABILITIES, 1, "IA32_ARCH_CAPABILITIES", 0, 0, read, constant, bits, arch_capabilities},
    {Msr::IA32_FLUSH_CMD, 1, "IA32_FLUSH_CMD", 0, 0x1, write, command, bits, l1d_flush},
    // The L2 cache is there and on.
    {Msr::MSR_BBL_CR_CTL3, 1, "MSR_BBL_CR_CTL3", 0x101, 0x101, read_write, constant},
    {Msr::IA32_SYSENTER_CS, 1, "IA32_SYSENTER_CS", 0, 0xffff'ffff, read_write, direct, bits, sep},
    {Msr::IA32_SYSENTER_ESP, 2, "IA32_SYSENTER_ESP, IA32_SYSENTER_EIP", 0, any, read_write, direct, canonical, sep},
    // No machine-check banks, and no control MSR of them.
    {Msr::IA32_MCG_CAP, 1, "IA32_MCG_CAP", 0, 0, read, constant, bits, mca},
    {Msr::IA32_MCG_STATUS, 1, "IA32_MCG_STATUS", 0, 0x7, read_write, stored, bits, mca},
    {Msr::IA32_PERF_STATUS, 1, "IA32_PERF_STATUS", 0, 0, read, constant},
    {Msr::IA32_MISC_ENABLE, 1, "IA32_MISC_ENABLE", misc_enable_reset, 1u << 0 | misc_enable_read_only, read_write,
     stored, misc_enable},
    {Msr::IA32_DEBUGCTL, 1, "IA32_DEBUGCTL", 0, 1u << 1, read_write, vmcs},
    {Msr::IA32_MTRR_PHYSBASE0, 2 * variable_mtrrs, "IA32_MTRR_PHYSBASE, IA32_MTRR_PHYSMASK", 0, any, read_write, stored,
     mtrr_variable, mtrr},
    {Msr::IA32_MTRR_FIX64K_00000, 1, "IA32_MTRR_FIX64K_00000", write_back_8, any, read_write, stored, memory_types,
     mtrr},
    {Msr::IA32_MTRR_FIX16K_80000, 1, "IA32_MTRR_FIX16K_80000", write_back_8, any, read_write, stored, memory_types,
     mtrr},
    {Msr::IA32_MTRR_FIX16K_A0000, 1, "IA32_MTRR_FIX16K_A0000", 0, any, read_write, stored, memory_types, mtrr},
    {Msr::IA32_MTRR_FIX4K_C0000, 8, "IA32_MTRR_FIX4K_C0000 to F8000", 0, any, read_write, stored, memory_types, mtrr},
    {Msr::IA32_PAT, 1, "IA32_PAT", 0x0007'0406'0007'0406, any, read_write, vmcs, pat_types, pat},
    {Msr::IA32_MTRR_DEF_TYPE, 1, "IA32_MTRR_DEF_TYPE", 0xc06, 0xcff, read_write, stored, mtrr_default, mtrr},
    {Msr::IA32_TSC_DEADLINE, 1, "IA32_TSC_DEADLINE", 0, any, read_write, MsrHome::tsc_deadline, bits,
     MsrShown::tsc_deadline},
    {Msr::IA32_X2APIC_FIRST, 0x100, "x2APIC registers", 0, any, read_write, MsrHome::x2apic, bits, MsrShown::x2apic},
    // No supervisor state is offered: XSAVES has what XSAVEC has.
    {Msr::IA32_XSS, 1, "IA32_XSS", 0, 0, read_write, stored, bits, xsaves},
    {Msr::IA32_EFER, 1, "IA32_EFER", 0, any, read_write, efer},
    {Msr::IA32_STAR, 1, "IA32_STAR", 0, any, read_write, direct, bits, long_mode},
    {Msr::IA32_LSTAR, 2, "IA32_LSTAR, IA32_CSTAR", 0, any, read_write, direct, canonical, long_mode},
    {Msr::IA32_FMASK, 1, "IA32_FMASK", 0, 0xffff'ffff, read_write, direct, bits, long_mode},
    {Msr::IA32_FS_BASE, 2, "IA32_FS_BASE, IA32_GS_BASE", 0, any, read_write, direct, canonical, long_mode},
    {Msr::IA32_KERNEL_GS_BASE, 1, "IA32_KERNEL_GS_BASE", 0, any, read_write, direct, canonical, long_mode},
    {Msr::IA32_TSC_AUX, 1, "IA32_TSC_AUX", 0, 0xffff'ffff, read_write, checked, bits, rdtscp},
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
