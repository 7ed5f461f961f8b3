// SPDX-License-Identifier: Apache-2.0
// A part of cpu.cpp: debug exceptions, interrupts, exceptions of exceptions.
#pragma once

#include "cpu.hpp"

namespace {

// ---- debug exceptions

// With TF set, a trap after each instruction: those that exit are no exception.
void single_step() {
    forget();
    asm volatile("pushf; orl $0x100, (%%esp); popf\n"
                 ".globl step_0, step_end\n"
                 "step_0: nop\n"
                 "1: cpuid\n"
                 "2: inb $0x61, %%al\n"
                 "3: movl $0x1b, %%ecx; 4: rdmsr\n"
                 "5: movl %%cr0, %%eax; 6: movl %%eax, %%cr0\n"
                 "7: outb %%al, $0x80\n"
                 "8: movl %%ss, %%eax; 9: movl %%eax, %%ss; cpuid\n"
                 "10: wbinvd\n"
                 "11: pushf; 12: andl $~0x100, (%%esp); 13: popf\n"
                 "step_end: nop" ::
                     : "eax", "ebx", "ecx", "edx", "memory", "cc");
    check_value("single step: traps", last.count, 14);
    check("single step: DR6.BS", shows(last.dr6, 14), last.dr6);
    check("single step: the last one is behind POPF", trail[13] == place(step_end), trail[13]);
    bool ascending = true;
    for (unsigned i = 1; i < 14; ++i) ascending &= trail[i] > trail[i - 1];
    check("single step: one after the other", ascending && trail[0] == place(step_0) + 1, trail[0]);
}

uint32_t stack_selector = 0x10;

void set_dr7(uint32_t value) { asm volatile("mov %0, %%dr7" ::"r"(value)); }

void breakpoints() {
    const uint32_t at_first4 = cr4();
    asm volatile("mov %0, %%dr0" ::"r"(broken));
    set_dr7(0x401);
    forget();
    asm volatile(".globl broken\nbroken: cpuid\nnop" ::"a"(0) : "ebx", "ecx", "edx", "memory", "cc");
    check("breakpoint on CPUID: once, before it",
          last.count == 1 && last.eip == place(broken) && (last.dr6 & 15) == 1, last.count);
    check("breakpoint: pushed without RF", !shows(last.eflags, 16), last.eflags);

    set_cr4(at_first4 | 1 << 3);
    asm volatile("mov %0, %%dr0" ::"r"(0x80));
    set_dr7(0x2'0402);
    forget();
    asm volatile("outb %%al, $0x80\n.globl behind_out\nbehind_out: nop" ::: "memory");
    check("breakpoint on a port: behind OUT",
          last.count == 1 && last.eip == place(behind_out) && (last.dr6 & 15) == 1, last.count);
    forget();
    asm volatile("inb $0x81, %%al" ::: "eax", "memory");
    check("another port: none", last.count == 0, last.count);
    TRY("mov %%dr4, %%eax", ::: "eax", "memory");
    check_fault("DR4 with CR4.DE", UD);
    set_cr4(at_first4 & ~(1u << 3));
    uint32_t dr4, dr6;
    asm volatile("mov %%dr4, %0; mov %%dr6, %1" : "=r"(dr4), "=r"(dr6));
    check("DR4 is DR6 without", dr4 == dr6, dr4);
    set_cr4(at_first4);

    uint32_t watched = 0;
    asm volatile("mov %0, %%dr1" ::"r"(&watched));
    set_dr7(0xd0'0404);
    forget();
    asm volatile("movl $1, %0" : "=m"(watched)::"memory");
    check("breakpoint on data", last.count == 1 && (last.dr6 & 15) == 2, last.count);
    // MOV SS holds the trap of its own access back, over CPUID, which exits.
    asm volatile("mov %0, %%dr1" ::"r"(&stack_selector));
    set_dr7(0xf0'0404);
    forget();
    asm volatile("mov %0, %%ss; cpuid\nbehind_held: nop" ::"m"(stack_selector), "a"(0) : "ebx", "ecx", "edx", "memory");
    check("breakpoint held back by MOV SS",
          last.count == 1 && (last.dr6 & 15) == 2 && last.eip == place(behind_held), last.eip);

    asm volatile("mov %0, %%dr1" ::"r"(0xfee00030));
    set_dr7(0xf0'0404);
    forget();
    asm volatile("movl (%0), %%eax" ::"r"(0xfee00030) : "eax", "memory");
    check("breakpoint on a device's register", last.count == 1 && (last.dr6 & 15) == 2, last.count);

    set_dr7(0x400 | 1 << 13);
    forget();
    asm volatile("mov %%dr0, %%eax" ::: "eax", "memory");
    check("general detect: DR6.BD", last.count == 1 && shows(last.dr6, 13), last.dr6);
    uint32_t dr7;
    asm volatile("mov %%dr7, %0" : "=r"(dr7));
    check("and GD is off in the handler and after", dr7 == 0x400, dr7);
    set_dr7(0x400);
}

void software_exceptions() {
    forget();
    asm volatile(".byte 0xf1\n.globl behind_int1\nbehind_int1: nop" ::: "memory");
    check("INT1", last.count == 1 && last.vector == DB && last.eip == place(behind_int1), last.eip);
    forget();
    asm volatile("int3\n.globl behind_int3\nbehind_int3: nop" ::: "memory");
    check("INT3", last.count == 1 && last.vector == 3 && last.eip == place(behind_int3), last.eip);
    forget();
    asm volatile("movb $0x7f, %%al; addb $1, %%al; into\n"
                 ".globl behind_into\nbehind_into: nop" ::
                     : "eax", "memory", "cc");
    check("INTO", last.count == 1 && last.vector == 4 && last.eip == place(behind_into), last.eip);
}

// SDM volume 3, table 6-2, 6.7.1 and 6.8.3.
void interrupts() {
    out8(0x21, 0xff);  // firmware's timer
    out8(0xa1, 0xff);
    local_apic(0xf0) = 0x1ff;
    nmis_to_send = 1;
    forget();
    send_to_self(nmi_delivery);
    asm volatile("nop; nop" ::: "memory");
    check("NMI: blocked until IRET, and one is kept", last.count == 2 && nmis_in_handler == 1, last.count);
    forget();
    asm volatile("movl %1, (%0); nop\nsti; nop\nbehind_sti: nop; cli" ::"r"(0xfee00300), "r"(1u << 18 | interrupt)
                 : "memory", "cc");
    check("STI: the interrupt comes one instruction later",
          last.count == 1 && last.vector == interrupt && last.eip == place(behind_sti), last.eip);
    forget();
    asm volatile("movl %1, (%0); nop; mov %%ss, %%eax; sti; mov %%eax, %%ss; nop\n"
                 "nop; cli" ::"r"(0xfee00300),
                 "r"(1u << 18 | interrupt)
                 : "eax", "memory", "cc");
    check("MOV SS after STI: another one later", last.count == 1, last.count);
    // A trap comes before an interrupt that arrived with the same instruction, which then finds IF clear.
    forget();
    asm volatile("pushf; orl $0x300, (%%esp); popf\n"
                 "movl %1, (%0)\n"
                 "behind_ipi: pushf; andl $~0x300, (%%esp); popf" ::"r"(0xfee00300),
                 "r"(1u << 18 | interrupt)
                 : "memory", "cc");
    const auto behind = place(behind_ipi);
    check("trap before interrupt", trail_vector[0] == DB && trail[0] == behind, trail[0]);
    check("and then the interrupt, at the same place", trail_vector[1] == interrupt && trail[1] == behind, trail[1]);
    check("and a trap of each instruction", last.count == 5, last.count);
    forget();
    send_to_self(interrupt);
    asm volatile("sti; hlt; cli" ::: "memory", "cc");
    check("HLT ends at once for an interrupt that waits", last.count == 1 && last.vector == interrupt, last.count);
    forget();
    expire_soon(interrupt);
    asm volatile("sti; hlt; cli" ::: "memory", "cc");
    check("HLT ends for an interrupt that comes", last.count == 1 && last.vector == interrupt, last.count);
    forget();
    expire_soon(nmi_delivery);
    asm volatile("cli; hlt" ::: "memory", "cc");
    check("HLT with IF clear ends for an NMI", last.count == 1 && last.vector == NMI, last.count);
    forget();
    nmi_handler_halts = true;
    send_to_self(nmi_delivery);
    asm volatile("nop; nop" ::: "memory");
    check("HLT in an NMI handler ends for an interrupt and not for the next NMI", trail_vector[1] == interrupt);
    check("which comes behind the first IRET", trail_vector[2] == NMI && last.count == 3, last.count);
}

void exceptions_of_exceptions() {
    set_gate(GP, false);
    rdmsr(0xdeadbeef);
    check_fault("#NP while #GP is delivered: double fault", DF);
    set_gate(GP, true);
    set_gate(UD, false);
    TRY("ud2", ::: "memory", "cc");
    check("#NP while #UD is delivered: serial", last.count == 1 && last.vector == 11 && last.error == (UD << 3 | 3),
          last.vector);
    set_gate(UD, true);
    check_value("#GP in real mode", real_mode_fault(), GP);
    lidt();
}

}  // namespace
