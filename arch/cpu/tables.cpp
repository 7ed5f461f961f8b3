// SPDX-License-Identifier: Apache-2.0
#include "arch/cpu/tables.hpp"

#include <array>

#include "arch/cpu/instructions.hpp"
#include "arch/cpu/layout.hpp"
#include "arch/cpu/percpu.hpp"
#include "arch/isa/control.hpp"
#include "arch/isa/cpuid.hpp"
#include "arch/isa/exception.hpp"

// arch/cpu/traps.S: one stub a vector.
extern "C" const std::byte trap_stubs[];

namespace bulkhead::cpu {
namespace {

constexpr std::size_t trap_stub_size = 16;
constexpr std::size_t vectors = 256;

// SDM volume 3, figure 7-11.
struct [[gnu::packed]] TaskStateSegment {
    std::uint32_t reserved0;
    std::uint64_t rsp[3];
    std::uint64_t reserved1;
    std::uint64_t ist[7];
    std::uint64_t reserved2;
    std::uint16_t reserved3;
    std::uint16_t io_map_base;
};
static_assert(sizeof(TaskStateSegment) == 104);

// SDM volume 3, figure 6-8.
struct Gate {
    std::uint16_t offset_low;
    std::uint16_t selector;
    std::uint8_t ist;
    std::uint8_t type;
    std::uint16_t offset_middle;
    std::uint32_t offset_high;
    std::uint32_t reserved;
};
static_assert(sizeof(Gate) == 16);
constexpr std::uint8_t interrupt_gate = 0x8e;  // present, DPL 0: IF is cleared on the way in

constexpr std::uint64_t code_descriptor = 0x00af9b000000ffff;  // 64-bit, accessed
constexpr std::uint64_t data_descriptor = 0x00cf93000000ffff;
constexpr std::uint64_t tss_available = 0x89;

constexpr std::uint64_t pat_reset = 0x0007040600070406;  // SDM volume 3, table 11-12

BULKHEAD_PER_CPU constinit std::array<std::uint64_t, 5> gdt{0, code_descriptor, data_descriptor, 0, 0};
BULKHEAD_PER_CPU alignas(16) constinit std::array<Gate, vectors> idt{};
BULKHEAD_PER_CPU alignas(16) constinit TaskStateSegment tss{};

HostVirt address_of(const void* object) { return HostVirt{reinterpret_cast<std::uint64_t>(object)}; }

// An exception of these can come when the stack is not to be trusted.
std::uint8_t stack_of(std::size_t vector) {
    switch (static_cast<isa::Exception>(vector)) {
        case isa::Exception::NMI: return static_cast<std::uint8_t>(layout::Stack::nmi);
        case isa::Exception::DF: return static_cast<std::uint8_t>(layout::Stack::double_fault);
        case isa::Exception::MC: return static_cast<std::uint8_t>(layout::Stack::machine_check);
        default: return 0;
    }
}

void fill_idt() {
    for (std::size_t vector = 0; vector < vectors; ++vector) {
        const std::uint64_t stub = address_of(trap_stubs + vector * trap_stub_size).value;
        idt[vector] = {static_cast<std::uint16_t>(stub),       code_selector,
                       stack_of(vector),                       interrupt_gate,
                       static_cast<std::uint16_t>(stub >> 16), static_cast<std::uint32_t>(stub >> 32),
                       0};
    }
}

void fill_tss() {
    // The IST numbers from 1; the order of the stacks makes a stack's number its IST index.
    for (unsigned i = 1; i < layout::stack_count; ++i)
        tss.ist[i - 1] = layout::stack_top(static_cast<layout::Stack>(i)).value;
    tss.io_map_base = sizeof tss;  // none

    const std::uint64_t base = tss_base().value;
    gdt[tss_selector / 8] =
        (sizeof tss - 1) | (base & 0xff'ffff) << 16 | tss_available << 40 | (base >> 24 & 0xff) << 56;
    gdt[tss_selector / 8 + 1] = base >> 32;
}

void load_segments() {
    asm volatile(
        "pushq %q0\n\t"
        "leaq 1f(%%rip), %%rax\n\t"
        "pushq %%rax\n\t"
        "lretq\n"
        "1: mov %1, %%ds\n\t"
        "mov %1, %%es\n\t"
        "mov %1, %%ss\n\t"
        "mov %2, %%fs\n\t"
        "mov %2, %%gs"
        :
        : "r"(std::uint64_t{code_selector}), "r"(std::uint32_t{data_selector}), "r"(0)
        : "rax", "memory");
}

}  // namespace

HostVirt gdt_base() { return address_of(&gdt); }
HostVirt idt_base() { return address_of(&idt); }
HostVirt tss_base() { return address_of(&tss); }

void load_tables() {
    fill_idt();
    fill_tss();
    lgdt({sizeof gdt - 1, gdt_base().value});
    lidt({sizeof idt - 1, idt_base().value});
    load_segments();
    lldt(0);
    ltr(tss_selector);
}

void set_control_registers() {
    using namespace isa;
    constexpr std::uint32_t leaf7_ebx_smep = 1u << 7, leaf7_ebx_smap = 1u << 20, leaf7_ecx_umip = 1u << 2;
    const CpuidResult leaf1 = cpuid(1);
    const CpuidResult leaf7 = cpuid(0).eax >= 7 ? cpuid(7) : CpuidResult{};

    std::uint64_t cr4 = cr4::PAE | cr4::PGE | cr4::OSFXSR | cr4::OSXMMEXCPT;
    if (leaf1.edx & cpuid::leaf1_edx::MCE) cr4 |= cr4::MCE;
    if (leaf1.ecx & cpuid::leaf1_ecx::XSAVE) cr4 |= cr4::OSXSAVE;
    if (leaf7.ebx & leaf7_ebx_smep) cr4 |= cr4::SMEP;
    if (leaf7.ebx & leaf7_ebx_smap) cr4 |= cr4::SMAP;
    if (leaf7.ecx & leaf7_ecx_umip) cr4 |= cr4::UMIP;
    wrmsr(Msr::IA32_EFER, efer::LME | efer::LMA | efer::NXE);
    // As out of reset, which is what the page tables' entries count on.
    if (leaf1.edx & cpuid::leaf1_edx::PAT) wrmsr(Msr::IA32_PAT, pat_reset);
    write_cr0(cr0::PE | cr0::MP | cr0::ET | cr0::NE | cr0::WP | cr0::PG);
    write_cr4(cr4);
}

}  // namespace bulkhead::cpu
