// SPDX-License-Identifier: Apache-2.0
// Several processors on the bare machine: their start, their local APICs in both modes, and what they do for the first.
#pragma once

#include "program.hpp"

struct CpuidResult {
    uint32_t eax, ebx, ecx, edx;
};
inline CpuidResult cpuid(uint32_t leaf, uint32_t subleaf = 0) {
    CpuidResult r;
    asm volatile("cpuid" : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx) : "a"(leaf), "c"(subleaf));
    return r;
}
inline uint64_t rdmsr(uint32_t msr) {
    uint64_t value;
    asm volatile("rdmsr" : "=A"(value) : "c"(msr));
    return value;
}
inline void wrmsr(uint32_t msr, uint64_t value) { asm volatile("wrmsr" ::"c"(msr), "A"(value)); }

inline constexpr unsigned max_processors = 16;
inline constexpr uint64_t tsc_adjustment = 1ull << 40;

enum class Order : uint32_t {
    none,
    answer,  // an IPI to the first
    hlt,
    hlt_without_interrupts,
    spin_without_interrupts,
    start_timer,
    stop_timer,
    read_tsc,
    adjust_tsc,
    x2apic,
    triple_fault,
    power_off,
    reset,
};

// By APIC ID.
struct Processor {
    volatile uint32_t present, cs, edx, cr0, bootstrap;  // as it started
    volatile Order order;
    volatile uint32_t done, halting;
    volatile uint32_t beats;
    volatile uint32_t fixed, nmis, timer;  // interrupts that it took
    volatile uint64_t tsc;
};
inline Processor processors[max_processors];
inline volatile uint32_t arrivals;

// CPUID knows it in both modes.
inline unsigned own_id() { return cpuid(0xb).edx; }

namespace apic {

inline constexpr uint32_t id_base = 0x1b, base_address = 0xfee00000;
inline constexpr uint32_t fixed = 0 << 8, lowest_priority = 1 << 8, nmi = 4 << 8, init = 5 << 8 | 1 << 14,
                          startup = 6 << 8, init_deassert = 5 << 8 | 1 << 15, logical = 1 << 11;
inline constexpr uint32_t self = 1 << 18, all = 2 << 18, all_but_self = 3 << 18;
inline constexpr uint32_t eoi = 0xb0, ldr = 0xd0, dfr = 0xe0, svr = 0xf0, icr = 0x300, lvt_timer = 0x320,
                          initial_count = 0x380, divide = 0x3e0;

inline uint64_t base() { return rdmsr(id_base); }
inline bool is_bootstrap() { return (base() & 1 << 8) != 0; }
inline bool is_x2apic() { return (base() & 1 << 10) != 0; }
inline void enter_x2apic() { wrmsr(id_base, base() | 1 << 10); }

inline volatile uint32_t& at(uint32_t offset) { return *reinterpret_cast<volatile uint32_t*>(base_address + offset); }
inline void write(uint32_t offset, uint32_t value) {
    if (is_x2apic())
        wrmsr(0x800 + offset / 16, value);
    else
        at(offset) = value;
}
inline void send(uint32_t destination, uint32_t command) {
    if (is_x2apic()) {
        wrmsr(0x800 + icr / 16, static_cast<uint64_t>(destination) << 32 | command);
        return;
    }
    at(icr + 16) = destination << 24;
    at(icr) = command;
}
// Flat mode in xAPIC mode, for eight of them; the only cluster there is in x2APIC mode.
inline uint32_t logical_of(unsigned id) { return is_x2apic() ? 1u << id : 1u << id % 8; }
inline void turn_on() {
    if (!is_x2apic()) {
        at(dfr) = 0xffffffff;
        at(ldr) = logical_of(own_id()) << 24;
    }
    write(svr, 0x1ff);
}
inline void start_timer(uint8_t vector) {
    write(divide, 0xb);
    write(lvt_timer, 1 << 17 | vector);  // periodic
    write(initial_count, 100'000);
}
inline void stop_timer() { write(initial_count, 0); }

}  // namespace apic

// ---- interrupts

struct [[gnu::packed]] TablePointer {
    uint16_t limit;
    uint32_t base;
};
inline uint64_t idt[256];
inline uint8_t the_timer_vector;

extern "C" {
void take_fixed();
void take_timer();
void take_nmi();
void take_nothing();
[[gnu::used]] static void on_fixed() {
    processors[own_id()].fixed = processors[own_id()].fixed + 1;
    apic::write(apic::eoi, 0);
}
[[gnu::used]] static void on_timer() {
    processors[own_id()].timer = processors[own_id()].timer + 1;
    apic::write(apic::eoi, 0);
}
[[gnu::used]] static void on_nmi() { processors[own_id()].nmis = processors[own_id()].nmis + 1; }
}
asm(R"(
        .macro entry name, handler
        .globl \name
\name:  pusha
        cld
        call \handler
        popa
        iret
        .endm
        entry take_fixed, on_fixed
        entry take_timer, on_timer
        entry take_nmi, on_nmi
        .globl take_nothing
take_nothing:
        iret
)");
inline void use_idt() {
    const TablePointer pointer{sizeof idt - 1, reinterpret_cast<uint32_t>(idt)};
    asm volatile("lidt %0" ::"m"(pointer));
}
inline void set_gate(uint8_t vector, void (*handler)()) {
    const auto address = reinterpret_cast<uint32_t>(handler);
    idt[vector] = (address & 0xffff) | 0x0008'0000 | static_cast<uint64_t>(0x8e00 | (address & 0xffff'0000)) << 32;
}
inline void interrupts_on(uint8_t fixed, uint8_t timer) {
    the_timer_vector = timer;
    set_gate(fixed, take_fixed);
    set_gate(timer, take_timer);
    set_gate(2, take_nmi);
    set_gate(0xff, take_nothing);
    use_idt();
    // The 8259A pair has nothing to say.
    out8(0x21, 0xff);
    out8(0xa1, 0xff);
    apic::turn_on();
    asm volatile("sti");
}

// ---- the other processors

extern "C" const uint8_t start_code[], start_code_end[];
extern "C" {
[[gnu::used]] static void processor_main(uint32_t cr0, uint32_t cs, uint32_t edx);
[[gnu::used]] static uint8_t stacks[4 * max_processors][2048] asm("stacks");  // one each time that one starts
[[gnu::used]] static volatile uint32_t stacks_used asm("stacks_used");
}

asm(R"(
        .pushsection .rodata
        .balign 8
start_gdt:
        .quad 0, 0x00cf9b000000ffff, 0x00cf93000000ffff
        .globl start_code, start_code_end
        .code16
start_code:
        cli
        mov %cs, %bp
        mov %cr0, %ebx
        mov %bp, %ds
        lgdtl start_pointer - start_code
        mov %ebx, %eax
        and $0x9fffffff, %eax
        or $1, %eax
        mov %eax, %cr0
        ljmpl $0x08, $processor_entry
start_pointer:
        .word 23
        .long start_gdt
start_code_end:
        .popsection
        .code32
processor_entry:
        mov $0x10, %eax
        mov %eax, %ds
        mov %eax, %es
        mov %eax, %ss
        mov %eax, %fs
        mov %eax, %gs
        mov $1, %eax
        lock xadd %eax, stacks_used
        inc %eax
        shl $11, %eax
        lea stacks(%eax), %esp
        movzwl %bp, %ebp
        push %edx
        push %ebp
        push %ebx
        call processor_main
)");
inline void put_start_code(uint8_t vector) {
    auto* const to = reinterpret_cast<volatile uint8_t*>(static_cast<uint32_t>(vector) << 12);
    for (const uint8_t* from = start_code; from != start_code_end; ++from) to[from - start_code] = *from;
}

inline void obey(Processor& me, Order what) {
    switch (what) {
        case Order::none: return;
        case Order::answer: apic::send(0, apic::fixed | 0x41); break;
        case Order::hlt:
            asm volatile("cli");
            me.halting = 1;
            asm volatile("sti; hlt");
            break;
        case Order::hlt_without_interrupts:
            asm volatile("cli");
            me.halting = 1;
            asm volatile("hlt; sti");
            break;
        case Order::spin_without_interrupts:
            asm volatile("cli");
            me.halting = 1;
            for (;;) me.beats = me.beats + 1;
        case Order::start_timer: apic::start_timer(the_timer_vector); break;
        case Order::stop_timer: apic::stop_timer(); break;
        case Order::read_tsc: me.tsc = rdtsc(); break;
        case Order::adjust_tsc: wrmsr(0x3b, tsc_adjustment); break;
        case Order::x2apic: apic::enter_x2apic(); break;
        case Order::triple_fault: {
            const TablePointer nothing{0, 0};
            asm volatile("lidt %0; int3" ::"m"(nothing));
            break;
        }
        case Order::power_off: asm volatile("outw %w0, %w1" ::"a"(1 << 13), "d"(0x604)); break;
        case Order::reset: out8(0xcf9, 0x06); break;
    }
    me.halting = 0;
    me.order = Order::none;
    me.done = 1;
}

[[gnu::used]] static void processor_main(uint32_t cr0, uint32_t cs, uint32_t edx) {
    use_idt();
    apic::turn_on();
    Processor& me = processors[own_id()];
    me.cs = cs;
    me.edx = edx;
    me.cr0 = cr0;
    me.bootstrap = apic::is_bootstrap();
    me.order = Order::none;
    me.halting = 0;
    me.present = me.present + 1;
    asm volatile("lock incl %0" : "+m"(arrivals));
    asm volatile("sti");
    for (;;) {
        me.beats = me.beats + 1;
        obey(me, me.order);
        asm volatile("pause");
    }
}
