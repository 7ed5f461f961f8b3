// SPDX-License-Identifier: Apache-2.0
// What cpu.cpp and its parts share: the traps that they watch, and access to control registers and MSRs.
#pragma once

#include "traps.hpp"

Trap last;
uint32_t recovery, trail[64];
uint8_t trail_vector[64];
alignas(16) uint64_t interrupt_table[256];
alignas(16) uint64_t segments[8];
uint32_t passed, failed;

extern "C" {
extern char trap_stubs[], leave_user[];
// Labels within asm statements below.
extern char step_0[], step_end[], broken[], behind_out[], behind_held[], behind_int1[], behind_int3[], behind_into[],
    behind_sti[], behind_ipi[];
extern uint32_t task_state[26];
void enter_user(void (*code)(), void* stack);
void enter_v86();
uint32_t real_mode_fault();
}

namespace {

alignas(16) uint8_t user_stack[4096];

constexpr uint32_t interrupt = 31, nmi_delivery = 4 << 8;
uint32_t nmis_to_send, nmis_in_handler;
volatile bool nmi_handler_halts;

uint32_t place(const char* label) { return reinterpret_cast<uint32_t>(label); }
volatile uint32_t& local_apic(uint32_t offset) { return *reinterpret_cast<volatile uint32_t*>(0xfee0'0000 + offset); }
// By its ID: the shorthand is for fixed interrupts alone (SDM volume 3, table 10-3).
void send_to_self(uint32_t command) {
    local_apic(0x310) = local_apic(0x20);
    local_apic(0x300) = command;
}

void lidt() {
    const struct [[gnu::packed]] {
        uint16_t limit;
        const void* base;
    } table{sizeof interrupt_table - 1, interrupt_table};
    asm volatile("lidt %0" ::"m"(table));
}

uint64_t gate(const char* handler, uint32_t dpl) {
    const auto address = reinterpret_cast<uint32_t>(handler);
    return uint64_t{address & 0xffff'0000} << 32 | uint64_t{0x8e00u | dpl << 13} << 32 | 8u << 16 | (address & 0xffff);
}

// The timer, a millisecond from now, through the I/O APIC.
void expire_soon(uint32_t redirection) {
    volatile uint32_t* const io_apic = reinterpret_cast<volatile uint32_t*>(0xfec0'0000);
    io_apic[0] = 0x10 + 2 * 2 + 1;
    io_apic[4] = local_apic(0x20);
    io_apic[0] = 0x10 + 2 * 2;
    io_apic[4] = redirection;
    out8(0x43, 0x30);
    out8(0x40, 1193 & 0xff);
    out8(0x40, 1193 >> 8);
}

}  // namespace

void set_gate(unsigned vector, bool present) {
    const uint64_t bit = uint64_t{1} << 47;
    interrupt_table[vector] = present ? interrupt_table[vector] | bit : interrupt_table[vector] & ~bit;
}

void start_traps() {
    for (unsigned i = 0; i < 32; ++i) interrupt_table[i] = gate(trap_stubs + 16 * i, i == 3 || i == 4 ? 3 : 0);
    interrupt_table[0x80] = gate(leave_user, 3);
    lidt();
    const auto tss = reinterpret_cast<uint32_t>(task_state);
    segments[1] = 0x00cf9b000000ffff;
    segments[2] = 0x00cf93000000ffff;
    segments[3] = 0x00cffb000000ffff;
    segments[4] = 0x00cff3000000ffff;
    segments[5] = uint64_t{tss & 0xff00'0000} << 32 | 0x8900ull << 32 | uint64_t{tss & 0xff'ffff} << 16 | 103;
    task_state[2] = 0x10;           // SS0
    task_state[25] = 104u << 16;    // no I/O permission bitmap
    const struct [[gnu::packed]] {
        uint16_t limit;
        const void* base;
    } table{sizeof segments - 1, segments};
    asm volatile("lgdt %0; ltr %1" ::"m"(table), "r"(uint16_t{0x28}));
}

void run_as_user(void (*code)()) { enter_user(code, user_stack + sizeof user_stack); }

extern "C" void trap(TrapFrame* frame) {
    uint32_t cr2, dr6;
    asm volatile("mov %%cr2, %0; mov %%dr6, %1" : "=r"(cr2), "=r"(dr6));
    if (last.count < 64) {
        trail[last.count] = frame->eip;
        trail_vector[last.count] = static_cast<uint8_t>(frame->vector);
    }
    last = {last.count + 1, frame->vector, frame->error, frame->eip, frame->eflags, frame->cs, cr2, dr6};
    if (frame->vector == DB) {
        frame->eflags |= 1 << 16;  // past an instruction breakpoint
        asm volatile("mov %0, %%dr6" ::"r"(0xffff0ff0));
        return;
    }
    if (frame->vector == 3 || frame->vector == 4) return;
    if (frame->vector == NMI) {
        if (nmi_handler_halts) {
            nmi_handler_halts = false;
            send_to_self(nmi_delivery);
            expire_soon(interrupt);
            asm volatile("sti; hlt; cli" ::: "memory");
            return;
        }
        if (nmis_to_send != 0) {
            --nmis_to_send;
            send_to_self(nmi_delivery);
            send_to_self(nmi_delivery);  // one is kept, not two
            nmis_in_handler = last.count;
        }
        return;
    }
    if (frame->vector == interrupt) {
        local_apic(0xb0) = 0;
        return;
    }
    if (recovery != 0) {
        frame->eip = recovery;
        recovery = 0;
        return;
    }
    check("an exception that nobody expected", false, frame->vector);
    emulator_off();
    for (;;) asm volatile("cli; hlt");
}

namespace {

uint32_t cr0() {
    uint32_t value;
    asm volatile("mov %%cr0, %0" : "=r"(value));
    return value;
}
uint32_t cr4() {
    uint32_t value;
    asm volatile("mov %%cr4, %0" : "=r"(value));
    return value;
}
void set_cr0(uint32_t value) { TRY("mov %0, %%cr0", ::"r"(value) : "memory", "cc"); }
void set_cr4(uint32_t value) { TRY("mov %0, %%cr4", ::"r"(value) : "memory", "cc"); }
void set_cr3(uint32_t value) { TRY("mov %0, %%cr3", ::"r"(value) : "memory", "cc"); }
bool shows(uint32_t word, unsigned bit) { return word >> bit & 1; }

void check_refused(const char* name, uint32_t msr, uint64_t value) {
    wrmsr(msr, value);
    check_fault(name, GP);
}
void check_kept(const char* name, uint32_t msr, uint64_t value) {
    const uint64_t before = rdmsr(msr);
    wrmsr(msr, value);
    const bool took = last.count == 0;
    const uint64_t found = rdmsr(msr);
    wrmsr(msr, before);
    check(name, took && found == value, found);
}

}  // namespace
