// SPDX-License-Identifier: Apache-2.0
#include "vmx/switch.hpp"

#include <cstring>
#include <new>
#include <utility>

#include "arch/cpu/instructions.hpp"

namespace bulkhead::vmx {

namespace {

constexpr SwitchedMsr msr_table[] = {
    {isa::Msr::IA32_STAR, &ProcessorState::star, nullptr},
    {isa::Msr::IA32_LSTAR, &ProcessorState::lstar, nullptr},
    {isa::Msr::IA32_CSTAR, &ProcessorState::cstar, nullptr},
    {isa::Msr::IA32_FMASK, &ProcessorState::fmask, nullptr},
    {isa::Msr::IA32_KERNEL_GS_BASE, &ProcessorState::kernel_gs_base, nullptr},
    {isa::Msr::IA32_TSC_AUX, &ProcessorState::tsc_aux, &StateFeatures::rdtscp},
    {isa::Msr::IA32_SPEC_CTRL, &ProcessorState::spec_ctrl, &StateFeatures::spec_ctrl},
};

// Offsets in the XSAVE area (SDM volume 1, table 10-2 and 13.4.2).
constexpr std::size_t fcw_offset = 0;
constexpr std::size_t ftw_offset = 4;
constexpr std::size_t mxcsr_offset = 24;
constexpr std::size_t xstate_bv_offset = 512;

template <class T, std::size_t size>
void store(std::array<std::byte, size>& area, std::size_t offset, T value) {
    std::memcpy(area.data() + offset, &value, sizeof value);
}

void fxsave(std::byte* area) { asm volatile("fxsave64 (%0)" ::"r"(area) : "memory"); }
void fxrstor(const std::byte* area) { asm volatile("fxrstor64 (%0)" ::"r"(area) : "memory"); }

template <unsigned number>
void store_xmm(std::uint64_t* to) {
    asm volatile("movups %%xmm%c1, (%0)" ::"r"(to), "i"(number) : "memory");
}
template <unsigned number>
void load_xmm(const std::uint64_t* from) {
    asm volatile("movups (%0), %%xmm%c1" ::"r"(from), "i"(number) : "memory");
}

struct RegisterAccess {
    void (*store)(std::uint64_t*);
    void (*load)(const std::uint64_t*);
};
template <std::size_t... numbers>
constexpr std::array<RegisterAccess, sizeof...(numbers)> xmm_table(std::index_sequence<numbers...>) {
    return {RegisterAccess{&store_xmm<numbers>, &load_xmm<numbers>}...};
}
constexpr auto xmm_registers = xmm_table(std::make_index_sequence<16>{});

template <unsigned number>
void store_mm(std::uint64_t* to) {
    asm volatile("movq %%mm%c1, (%0)" ::"r"(to), "i"(number) : "memory");
}
template <unsigned number>
void load_mm(const std::uint64_t* from) {
    asm volatile("movq (%0), %%mm%c1" ::"r"(from), "i"(number) : "memory");
}
template <std::size_t... numbers>
constexpr std::array<RegisterAccess, sizeof...(numbers)> mm_table(std::index_sequence<numbers...>) {
    return {RegisterAccess{&store_mm<numbers>, &load_mm<numbers>}...};
}
constexpr auto mm_registers = mm_table(std::make_index_sequence<8>{});

}  // namespace

std::span<const SwitchedMsr> switched_msrs() { return msr_table; }

void ProcessorState::reset() {
    new (this) ProcessorState;  // in place: a frame's worth is too much for the stack
    store(area_, fcw_offset, std::uint16_t{0x40});
    store(area_, ftw_offset, std::uint8_t{0xff});  // abridged: every register is in use, as tag word 5555h says
    store(area_, mxcsr_offset, std::uint32_t{0x1f80});
    // x87 differs from its initial configuration (FCW 37Fh), the others are in it (SDM volume 1, 13.6).
    store(area_, xstate_bv_offset, isa::xcr0::X87);
}

void ProcessorState::init() {
    cpu::write_dr<0>(0);
    cpu::write_dr<1>(0);
    cpu::write_dr<2>(0);
    cpu::write_dr<3>(0);
    cpu::write_dr<6>(isa::dr6::reset);
    cpu::write_cr2(0);
}

void ProcessorState::save(const StateFeatures& features) {
    cr2 = cpu::read_cr2();
    dr = {cpu::read_dr<0>(), cpu::read_dr<1>(), cpu::read_dr<2>(), cpu::read_dr<3>()};
    dr6 = cpu::read_dr<6>();
    for (const SwitchedMsr& m : msr_table)
        if (m.exists(features)) this->*m.value = cpu::rdmsr(m.msr);
    if (features.xsave) {
        // All components, whatever the guest has enabled now: it may have used the others before.
        if (xcr0_ != features.xcr0) cpu::xsetbv(0, features.xcr0);
        cpu::xsave(area_.data(), features.xcr0);
    } else {
        fxsave(area_.data());
    }
}

void ProcessorState::load(const StateFeatures& features) {
    if (features.xsave) {
        cpu::xsetbv(0, features.xcr0);
        cpu::xrstor(area_.data(), features.xcr0);
        if (xcr0_ != features.xcr0) cpu::xsetbv(0, xcr0_);
    } else {
        fxrstor(area_.data());
    }
    for (const SwitchedMsr& m : msr_table)
        if (m.exists(features)) cpu::wrmsr(m.msr, this->*m.value);
    cpu::write_dr<0>(dr[0]);
    cpu::write_dr<1>(dr[1]);
    cpu::write_dr<2>(dr[2]);
    cpu::write_dr<3>(dr[3]);
    cpu::write_dr<6>(dr6);
    cpu::write_cr2(cr2);
}

void ProcessorState::set_xcr0(std::uint64_t value) {
    xcr0_ = value;
    cpu::xsetbv(0, value);
}

std::array<std::uint64_t, 2> read_xmm(unsigned number) {
    std::array<std::uint64_t, 2> value;
    xmm_registers[number & 15].store(value.data());
    return value;
}

void write_xmm(unsigned number, const std::array<std::uint64_t, 2>& value) {
    xmm_registers[number & 15].load(value.data());
}

std::uint64_t read_mm(unsigned number) {
    std::uint64_t value;
    mm_registers[number & 7].store(&value);
    return value;
}

void write_mm(unsigned number, std::uint64_t value) { mm_registers[number & 7].load(&value); }

// The exception summary bit (SDM volume 1, 8.1.3).
bool x87_exception_pending() {
    std::uint16_t status;
    asm volatile("fnstsw %0" : "=m"(status));
    return (status & 0x80) != 0;
}

// RDPKRU wants CR4.PKE, which the hypervisor, without user pages, does not set.
std::uint32_t read_pkru() {
    const std::uint64_t cr4 = cpu::read_cr4();
    cpu::write_cr4(cr4 | isa::cr4::PKE);
    std::uint32_t pkru;
    asm volatile("rdpkru" : "=a"(pkru) : "c"(0) : "edx");
    cpu::write_cr4(cr4);
    return pkru;
}

}  // namespace bulkhead::vmx
