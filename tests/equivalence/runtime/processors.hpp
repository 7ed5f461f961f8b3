// SPDX-License-Identifier: Apache-2.0
// Starting the other processors: they come from real mode to processor_main() in long mode, each on a stack of its own,
// and leave what they found at their first instruction.
#pragma once

#include "runtime.hpp"

extern "C" {
extern uint8_t trampoline[], trampoline_end[];
extern uint64_t pml4[];
void processor_main(uint64_t number);
[[gnu::used]] inline volatile uint32_t arrived asm("arrived");
[[gnu::used]] inline volatile word next_stack asm("next_stack");
[[gnu::used]] alignas(16) inline uint8_t stacks[32][4096] asm("stacks");  // for a first start, and for a second
}

// At this offset of the trampoline's page.
struct FirstState {
    uint32_t eax, edx, flags, cr0, cr2, cr3, cr4, dr0, dr6, dr7, efer, cs;
    uint16_t gdt_limit, gdt_base[2], idt_limit, idt_base[2];
};
inline constexpr unsigned first_state_offset = 0x100;

// Puts the trampoline at a page below 1 MiB, the vector of a start-up IPI.
inline volatile FirstState* place_trampoline(word page_number) {
    auto* low = reinterpret_cast<volatile uint8_t*>(page_number << 12);
    asm volatile("" : "+r"(low));
    for (unsigned i = 0; trampoline + i < trampoline_end; ++i) low[i] = trampoline[i];
    asm volatile("sidt idt_pointer_of_all" ::: "memory");
    return reinterpret_cast<volatile FirstState*>(low + first_state_offset);
}

asm(R"(
        .text
        .globl trampoline, trampoline_end
        .code16
trampoline:
        cli
        mov %eax, %ebp
        mov %cs, %ax
        mov %ax, %ds
        mov %ebp, 0x100
        mov %edx, 0x104
        pushfl
        popl 0x108
        mov %cr0, %eax
        mov %eax, 0x10c
        mov %cr2, %eax
        mov %eax, 0x110
        mov %cr3, %eax
        mov %eax, 0x114
        mov %cr4, %eax
        mov %eax, 0x118
        mov %dr0, %eax
        mov %eax, 0x11c
        mov %dr6, %eax
        mov %eax, 0x120
        mov %dr7, %eax
        mov %eax, 0x124
        mov $0xc0000080, %ecx
        rdmsr
        mov %eax, 0x128
        mov %cs, 0x12c
        sgdtl 0x130
        sidtl 0x136
        lgdtl 1f - trampoline
        mov %cr0, %eax
        or $1, %eax
        mov %eax, %cr0
        ljmpl $0x40, $processor_32
1:      .word 0xff
        .long gdt
trampoline_end:
        .code32
processor_32:
        mov $0x10, %eax
        mov %eax, %ds
        mov %eax, %es
        mov %eax, %ss
        mov %cr4, %eax
        or $0x620, %eax
        mov %eax, %cr4
        mov $pml4, %eax
        mov %eax, %cr3
        mov $0xc0000080, %ecx
        rdmsr
        or $0x100, %eax
        wrmsr
        mov %cr0, %eax
        and $~0x6000000e, %eax          # CD, NW: off; EM, TS, MP
        or $0x80000022, %eax
        mov %eax, %cr0
        ljmp $0x08, $processor_64
        .code64
processor_64:
        mov $4096, %eax
        lock xadd %rax, next_stack
        lea stacks + 4096(%rax), %rsp
        lidt idt_pointer_of_all
        mov %rax, %rdi
        shr $12, %rdi
        call processor_main
        ud2
        .data
        .globl idt_pointer_of_all
idt_pointer_of_all:
        .skip 10
        .text
)");
