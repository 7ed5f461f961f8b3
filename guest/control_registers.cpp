// SPDX-License-Identifier: Apache-2.0
#include "guest/control_registers.hpp"

namespace bulkhead::guest {
namespace {

using namespace isa;

constexpr std::uint64_t bit(unsigned n) { return 1ull << n; }

}  // namespace

std::uint64_t offered_cr4(const Cpuid& cpuid) {
    const isa::CpuidResult leaf1 = cpuid.get(1, 0, CpuidDynamic{});
    const isa::CpuidResult leaf7 = cpuid.get(7, 0, CpuidDynamic{});
    // RDPMC exits whatever PCE is; the rest of this line has no bit in CPUID that could be missing on a processor with VMX.
    std::uint64_t offered = cr4::TSD | cr4::DE | cr4::PSE | cr4::PAE | cr4::MCE | cr4::PGE | cr4::PCE | cr4::OSFXSR |
        cr4::OSXMMEXCPT;
    const auto add = [&](std::uint32_t word, unsigned n, std::uint64_t bits) {
        if ((word & bit(n)) != 0) offered |= bits;
    };
    add(leaf1.edx, 1, cr4::VME | cr4::PVI);
    add(leaf1.ecx, 17, cr4::PCIDE);
    add(leaf1.ecx, 26, cr4::OSXSAVE);
    add(leaf7.ebx, 0, cr4::FSGSBASE);
    add(leaf7.ebx, 7, cr4::SMEP);
    add(leaf7.ebx, 20, cr4::SMAP);
    add(leaf7.ecx, 2, cr4::UMIP);
    add(leaf7.ecx, 3, cr4::PKE);
    add(leaf7.ecx, 16, cr4::LA57);
    return offered;
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
