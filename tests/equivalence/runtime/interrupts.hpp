// SPDX-License-Identifier: Apache-2.0
// The interrupt controllers, for the images that test them.
#pragma once

#include "runtime.hpp"

inline constexpr word lapic_base = 0xfee00000, ioapic_base = 0xfec00000;

// Local APIC registers by their offset in the page (SDM Vol. 3A, table 11-1).
enum Lapic : unsigned {
    lapic_id = 0x20,
    lapic_version = 0x30,
    lapic_tpr = 0x80,
    lapic_apr = 0x90,
    lapic_ppr = 0xa0,
    lapic_eoi = 0xb0,
    lapic_ldr = 0xd0,
    lapic_dfr = 0xe0,
    lapic_svr = 0xf0,
    lapic_isr = 0x100,
    lapic_tmr = 0x180,
    lapic_irr = 0x200,
    lapic_esr = 0x280,
    lapic_cmci = 0x2f0,
    lapic_icr = 0x300,
    lapic_icr_high = 0x310,
    lapic_lvt_timer = 0x320,
    lapic_lvt_thermal = 0x330,
    lapic_lvt_perf = 0x340,
    lapic_lvt_lint0 = 0x350,
    lapic_lvt_lint1 = 0x360,
    lapic_lvt_error = 0x370,
    lapic_initial_count = 0x380,
    lapic_current_count = 0x390,
    lapic_divide = 0x3e0
};
inline constexpr uint32_t lvt_masked = 1 << 16, lvt_periodic = 1 << 17, lvt_deadline = 2 << 17, apic_enabled = 1 << 8;

inline uint32_t read_lapic(unsigned offset) { return *reinterpret_cast<volatile uint32_t*>(lapic_base + offset); }
inline void write_lapic(unsigned offset, uint32_t value) {
    *reinterpret_cast<volatile uint32_t*>(lapic_base + offset) = value;
}
inline bool lapic_bit(unsigned base, unsigned vector) {
    return read_lapic(base + vector / 32 * 0x10) >> (vector % 32) & 1;
}
inline void end_of_interrupt() { write_lapic(lapic_eoi, 0); }

inline uint32_t read_ioapic(unsigned index) {
    *reinterpret_cast<volatile uint32_t*>(ioapic_base) = index;
    return *reinterpret_cast<volatile uint32_t*>(ioapic_base + 0x10);
}
inline void write_ioapic(unsigned index, uint32_t value) {
    *reinterpret_cast<volatile uint32_t*>(ioapic_base) = index;
    *reinterpret_cast<volatile uint32_t*>(ioapic_base + 0x10) = value;
}

inline void enable_interrupts() { asm volatile("sti; nop" ::: "memory"); }
inline void disable_interrupts() { asm volatile("cli" ::: "memory"); }
// Lets everything in that is pending.
inline void let_in() { asm volatile("sti; nop; nop; cli" ::: "memory"); }

// What was delivered, in order.
struct Deliveries {
    unsigned count;
    unsigned vectors[32];
};
inline volatile Deliveries deliveries;
inline bool eoi_in_handler = true;
inline void count_delivery(Frame& f) {
    if (deliveries.count < 32) deliveries.vectors[deliveries.count] = static_cast<unsigned>(f.vector & 0xff);
    deliveries.count = deliveries.count + 1;
    if (eoi_in_handler) end_of_interrupt();
}
inline void count_from(unsigned first, unsigned last) {
    for (unsigned v = first; v <= last; ++v) handlers[v] = count_delivery;
}
inline void forget_deliveries() { deliveries.count = 0; }

// Waits with interrupts on, for at most so many ticks of the TSC, until something was delivered.
inline bool wait_delivery(unsigned count = 1, uint64_t ticks = 200000000) {
    const uint64_t end = rdtsc() + ticks;
    enable_interrupts();
    while (deliveries.count < count && rdtsc() < end) pause();
    disable_interrupts();
    return deliveries.count >= count;
}

inline void mask_pics() {
    out8(0x21, 0xff);
    out8(0xa1, 0xff);
}
// The state in which a check begins: enabled, all local interrupts masked, nothing pending.
inline void start_lapic() {
    mask_pics();
    handlers[0xff] = [](Frame&) {};  // spurious
    write_lapic(lapic_svr, apic_enabled | 0xff);
    for (unsigned lvt = lapic_lvt_timer; lvt <= lapic_lvt_error; lvt += 0x10) write_lapic(lvt, lvt_masked);
    write_lapic(lapic_tpr, 0);
    write_lapic(lapic_initial_count, 0);
    write_lapic(lapic_esr, 0);
}
