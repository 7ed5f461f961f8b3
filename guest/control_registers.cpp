// SPDX-License-Identifier: Apache-2.0
#include "guest/control_registers.hpp"

namespace bulkhead::guest {

using namespace isa;

std::uint64_t offered_cr4(const Cpuid& cpuid) {
    using cpuid_table::feature;
    static constexpr struct {
        cpuid_table::Row shown;
        std::uint64_t bits;
    } rows[] = {
        {feature("VME"), cr4::VME | cr4::PVI}, {feature("TSC"), cr4::TSD},        {feature("DE"), cr4::DE},
        {feature("PSE"), cr4::PSE},            {feature("PAE"), cr4::PAE},        {feature("MCE"), cr4::MCE},
        {feature("PGE"), cr4::PGE},            {feature("FXSR"), cr4::OSFXSR},    {feature("SSE"), cr4::OSXMMEXCPT},
        {feature("PCID"), cr4::PCIDE},         {feature("XSAVE"), cr4::OSXSAVE},  {feature("FSGSBASE"), cr4::FSGSBASE},
        {feature("SMEP"), cr4::SMEP},          {feature("SMAP"), cr4::SMAP},      {feature("UMIP"), cr4::UMIP},
        {feature("PKU"), cr4::PKE},
    };
    std::uint64_t offered = cr4::PCE;  // no feature stands for it, and RDPMC exits whatever it is
    for (const auto& row : rows)
        if (cpuid.shows(row.shown)) offered |= row.bits;
    return offered;
}

std::uint64_t offered_efer(const Cpuid& cpuid) {
    std::uint64_t offered = 0;
    if (cpuid.shows(cpuid_table::feature("LM"))) offered |= efer::SCE | efer::LME | efer::LMA;
    if (cpuid.shows(cpuid_table::feature("NX"))) offered |= efer::NXE;
    return offered;
}

std::optional<std::uint64_t> legal_efer(std::uint64_t before, std::uint64_t value, bool paging, std::uint64_t offered) {
    if ((value & ~offered) != 0) return std::nullopt;
    if (paging && ((value ^ before) & efer::LME) != 0) return std::nullopt;
    return (value & ~efer::LMA) | (before & efer::LMA);
}

bool legal_cr0(const ControlState& now, std::uint64_t value) {
    if ((value >> 32) != 0) return false;
    const bool paging = (value & cr0::PG) != 0;
    if (paging && (value & cr0::PE) == 0) return false;
    if ((value & cr0::NW) != 0 && (value & cr0::CD) == 0) return false;
    const bool turned_on = paging && (now.cr0 & cr0::PG) == 0;
    // IA-32e mode begins with PAE on, outside a code segment whose L is set already, and without a 16-bit TSS.
    if (turned_on && (now.efer & efer::LME) != 0)
        if ((now.cr4 & cr4::PAE) == 0 || now.cs_long || now.tss_16) return false;
    return paging || !(now.mode_64() || (now.cr4 & cr4::PCIDE) != 0);
}

bool legal_cr4(const ControlState& now, std::uint64_t value, std::uint64_t offered) {
    if ((value & ~offered) != 0) return false;
    const bool long_mode = (now.efer & efer::LMA) != 0;
    if (long_mode && (value & cr4::PAE) == 0) return false;
    if (long_mode && ((value ^ now.cr4) & cr4::LA57) != 0) return false;
    const bool pcid_turned_on = (value & cr4::PCIDE) != 0 && (now.cr4 & cr4::PCIDE) == 0;
    return !pcid_turned_on || (long_mode && (now.cr3 & 0xfff) == 0);
}

bool legal_xcr0(std::uint64_t value, std::uint64_t offered) {
    if ((value & ~offered) != 0 || (value & xcr0::X87) == 0) return false;
    if ((value & xcr0::AVX) != 0 && (value & xcr0::SSE) == 0) return false;
    constexpr std::uint64_t avx512 = xcr0::OPMASK | xcr0::ZMM_Hi256 | xcr0::Hi16_ZMM;
    if ((value & avx512) == 0) return true;
    return (value & avx512) == avx512 && (value & xcr0::AVX) != 0;
}

}  // namespace bulkhead::guest
