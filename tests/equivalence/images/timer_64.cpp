// SPDX-License-Identifier: Apache-2.0
// The timer of the local APIC (SDM Vol. 3A, 11.5.4): all divisors, changes of mode while it counts, deadlines; what the
// LVT's mask does; interrupts that wait behind CR8, TPR, STI and a HLT.
#include "interrupts.hpp"

namespace {

constexpr uint32_t deadline_msr = 0x6e0;
constexpr unsigned vector = 0x71;

uint64_t ticks_of(uint32_t count) {
    write_lapic(lapic_lvt_timer, lvt_masked | vector);
    const uint64_t start = rdtsc();
    write_lapic(lapic_initial_count, count);
    while (read_lapic(lapic_current_count)) {}
    return rdtsc() - start;
}
void prepare() {
    start_lapic();
    write_lapic(lapic_divide, 0xb);
    count_from(0x20, 0xfe);
    eoi_in_handler = true;
    let_in();
    forget_deliveries();
}
bool deadline_there() { return cpuid(1).c >> 24 & 1; }

}  // namespace

TEST(divisors) {
    prepare();
    // 1, 2, 4 to 128: bits 3, 1 and 0 of the register.
    const uint32_t code[] = {0xb, 0x0, 0x1, 0x2, 0x3, 0x8, 0x9, 0xa};
    write_lapic(lapic_divide, code[0]);
    const uint64_t unit = ticks_of(2000000);
    for (unsigned i = 1; i < 8; ++i) {
        write_lapic(lapic_divide, code[i]);
        const uint64_t took = ticks_of(2000000 >> i);
        show("divided by 2 to the", i);
        check("  it takes as long", took * 100 > unit * 95 && took * 100 < unit * 105);
        check("  reads back", read_lapic(lapic_divide), code[i]);
    }
}

TEST(modes) {
    prepare();
    constexpr uint32_t count = 400000;
    write_lapic(lapic_lvt_timer, vector);
    write_lapic(lapic_initial_count, count);
    while (read_lapic(lapic_current_count) > count / 2) {}
    write_lapic(lapic_lvt_timer, lvt_periodic | vector);
    const uint32_t after = read_lapic(lapic_current_count);
    check("one-shot to periodic: the initial count stays", read_lapic(lapic_initial_count), count);
    check("  it goes on from where it was", after > 0 && after < count / 2);
    check("  and is loaded again at the end", wait_delivery(3));
    while (read_lapic(lapic_current_count) > count / 2) {}
    write_lapic(lapic_lvt_timer, vector);
    const uint32_t last = read_lapic(lapic_current_count);
    check("periodic to one-shot: it goes on", last > 0 && last < count / 2);
    forget_deliveries();
    check("  to the end", wait_delivery());
    check("  once", !wait_delivery(2, 2 * count));
    check("  the count stays 0", read_lapic(lapic_current_count), 0);
    write_lapic(lapic_lvt_timer, lvt_periodic | vector);
    check("periodic after the end: nothing until it is written", !wait_delivery(2, 2 * count));
    write_lapic(lapic_initial_count, count);
    const uint32_t loaded = read_lapic(lapic_current_count);
    check("a write starts it", loaded > count / 2 && loaded <= count);
    write_lapic(lapic_initial_count, count / 4);
    check("a write while it counts starts it anew", read_lapic(lapic_current_count) <= count / 4);
    write_lapic(lapic_initial_count, 0);
    let_in();
    // Masked, it counts, and does not tell.
    forget_deliveries();
    write_lapic(lapic_lvt_timer, lvt_masked | vector);
    write_lapic(lapic_initial_count, 10000);
    while (read_lapic(lapic_current_count)) {}
    write_lapic(lapic_lvt_timer, vector);
    check("an end while masked is lost", !wait_delivery(1, 100000));
    write_lapic(lapic_lvt_timer, lvt_periodic | vector);
    write_lapic(lapic_initial_count, 10000);
    check("another vector while it runs", wait_delivery());
    write_lapic(lapic_lvt_timer, lvt_periodic | (vector + 1));
    let_in();
    forget_deliveries();
    check("  is the one that comes", wait_delivery() && deliveries.vectors[0] == vector + 1);
    // Disabled by SVR, the mask is set, and stays.
    write_lapic(lapic_svr, 0xff);
    write_lapic(lapic_svr, apic_enabled | 0xff);
    check("SVR's disable masks it", read_lapic(lapic_lvt_timer), lvt_masked | lvt_periodic | (vector + 1));
    let_in();
    forget_deliveries();
    check("  nothing comes", !wait_delivery(1, 100000));
    write_lapic(lapic_initial_count, 0);
}

TEST(deadlines) {
    if (!deadline_there()) return skip("deadlines", "not there");
    prepare();
    write_lapic(lapic_lvt_timer, lvt_deadline | vector);
    write_msr(deadline_msr, rdtsc());
    enable_interrupts();
    asm volatile("nop");
    disable_interrupts();
    check("the present: it is there at the next instruction", deliveries.count, 1);
    write_msr(deadline_msr, 1);
    let_in();
    check("the past, too", deliveries.count, 2);
    const uint64_t at = rdtsc() + 200000;
    write_msr(deadline_msr, at);
    check("the future: reads back", read_msr(deadline_msr), at);
    check("  comes", wait_delivery(3));
    check("  not before", rdtsc() >= at);
    write_msr(deadline_msr, rdtsc() + 100000);
    write_msr(deadline_msr, rdtsc() + (1ull << 40));
    check("put off", !wait_delivery(4, 300000));
    write_msr(deadline_msr, rdtsc() + 10000);
    check("and brought forward", wait_delivery(4));
    write_msr(deadline_msr, rdtsc() + 50000);
    asm volatile("sti; hlt; cli" ::: "memory");
    check("it ends a HLT", deliveries.count, 5);
    write_lapic(lapic_lvt_timer, lvt_masked | lvt_deadline | vector);
    write_msr(deadline_msr, 1);
    write_lapic(lapic_lvt_timer, lvt_deadline | vector);
    check("one while masked is lost", !wait_delivery(6, 100000));
    write_lapic(lapic_initial_count, 100000);
    check("the initial count starts nothing", read_lapic(lapic_current_count), 0);
    write_msr(deadline_msr, rdtsc() + 100000);
    write_lapic(lapic_lvt_timer, vector);
    write_lapic(lapic_lvt_timer, lvt_deadline | vector);
    check("a change of mode disarms it", !wait_delivery(6, 300000));
    check("  so it says", read_msr(deadline_msr), 0);
    write_lapic(lapic_lvt_timer, vector);
    write_lapic(lapic_initial_count, 100000);
    write_lapic(lapic_lvt_timer, lvt_deadline | vector);
    check("and stops a count", !wait_delivery(6, 300000));
    if (!(cpuid(7).b >> 1 & 1)) return;
    // Moving the clock moves the deadline.
    const uint64_t adjust = read_msr(0x3b);
    write_msr(deadline_msr, rdtsc() + 1000000000);
    write_msr(0x3b, adjust + 1000000000);
    check("TSC_ADJUST brings it nearer", wait_delivery(6, 300000));
    write_msr(0x3b, adjust);
    write_lapic(lapic_lvt_timer, lvt_masked);
}

TEST(held_back) {
    prepare();
    for (unsigned v = 0x20; v < 0xf0; v += 0x10) write_lapic(lapic_icr, 1 << 18 | 1 << 14 | v);
    bool right = true;
    for (unsigned priority = 15; priority-- > 1;) {
        write_cr8(priority);
        enable_interrupts();
        asm volatile("nop; nop");
        disable_interrupts();
        // All of the classes above the priority have come, from the top.
        right = right && deliveries.count == 14 - priority;
    }
    check("CR8 lets in one class after the other", right);
    write_cr8(0);
    prepare();
    for (unsigned v = 0x20; v < 0xf0; v += 0x10) write_lapic(lapic_icr, 1 << 18 | 1 << 14 | v);
    right = true;
    for (unsigned priority = 15; priority-- > 1;) {
        write_lapic(lapic_tpr, priority << 4);
        enable_interrupts();
        asm volatile("nop; nop");
        disable_interrupts();
        right = right && deliveries.count == 14 - priority;
    }
    check("the task priority register, too", right);
    write_lapic(lapic_tpr, 0);
    // What a handler sees of itself.
    prepare();
    static uint32_t irr, isr, ppr, tpr;
    handlers[0x65] = [](Frame&) {
        irr = lapic_bit(lapic_irr, 0x65), isr = lapic_bit(lapic_isr, 0x65);
        ppr = read_lapic(lapic_ppr), tpr = static_cast<uint32_t>(read_cr8());
        end_of_interrupt();
    };
    write_cr8(3);
    write_lapic(lapic_icr, 1 << 18 | 1 << 14 | 0x65);
    let_in();
    check("in a handler: IRR", irr, 0);
    check("  ISR", isr, 1);
    check("  PPR", ppr, 0x60);
    check("  CR8", tpr, 3);
    check("behind it: PPR", read_lapic(lapic_ppr), 0x30);
    write_cr8(0);
    // Nested: a handler lets higher ones in.
    prepare();
    static unsigned depth, deepest;
    const auto nested = [](Frame& f) {
        if (++depth > deepest) deepest = depth;
        if (f.vector < 0xa0) {
            write_lapic(lapic_icr, 1 << 18 | 1 << 14 | (static_cast<uint32_t>(f.vector) + 0x10));
            enable_interrupts();
            asm volatile("nop; nop; nop" ::: "memory");
            disable_interrupts();
        }
        end_of_interrupt();
        --depth;
    };
    for (unsigned v = 0x33; v < 0xb0; v += 0x10) handlers[v] = nested;
    write_lapic(lapic_icr, 1 << 18 | 1 << 14 | 0x33);
    let_in();
    check("eight handlers, one in the other", deepest, 8);
    check("  nothing is in service behind them", read_lapic(lapic_ppr), 0);
    // EOI with nothing in service.
    end_of_interrupt();
    write_lapic(lapic_icr, 1 << 18 | 1 << 14 | 0x41);
    forget_deliveries();
    let_in();
    check("an EOI of nothing harms nothing", deliveries.count, 1);
}

TEST(waiting) {
    prepare();
    write_lapic(lapic_lvt_timer, vector);
    write_lapic(lapic_initial_count, 100);
    while (read_lapic(lapic_current_count)) {}
    asm volatile("sti; hlt; cli" ::: "memory");
    check("STI and HLT with an interrupt that waits", deliveries.count, 1);
    // HLT ends for an NMI with interrupts off.
    forget_deliveries();
    handlers[vector] = [](Frame&) {
        end_of_interrupt();
        write_lapic(lapic_icr_high, read_lapic(lapic_id));
        write_lapic(lapic_icr, 1 << 14 | 4 << 8);
    };
    static unsigned nmis;
    handlers[NMI] = [](Frame&) { ++nmis; };
    write_lapic(lapic_initial_count, 1000);
    asm volatile("sti; hlt; cli" ::: "memory");
    for (unsigned i = 0; i < 100; ++i) pause();
    check("an NMI sent from a handler", nmis, 1);
    // HLT with the task priority above what waits sleeps on until the timer, which is above it.
    prepare();
    write_cr8(8);
    write_lapic(lapic_icr, 1 << 18 | 1 << 14 | 0x45);
    write_lapic(lapic_lvt_timer, 0xa1);
    write_lapic(lapic_initial_count, 50000);
    asm volatile("sti; hlt; cli" ::: "memory");
    check("HLT is not ended by what CR8 holds back", deliveries.count == 1 && deliveries.vectors[0] == 0xa1);
    write_cr8(0);
    let_in();
    check("  which comes after", deliveries.count, 2);
    // A timer that runs into a CLI waits in IRR, once.
    prepare();
    write_lapic(lapic_lvt_timer, lvt_periodic | vector);
    write_lapic(lapic_initial_count, 5000);
    for (const uint64_t end = rdtsc() + 200000; rdtsc() < end;) pause();
    write_lapic(lapic_lvt_timer, lvt_masked | vector);
    let_in();
    let_in();
    check("many ends while interrupts are off are one", deliveries.count, 1);
    write_lapic(lapic_initial_count, 0);
}

TEST(error_status) {
    prepare();
    const auto errors = [] {
        write_lapic(lapic_esr, 0);
        return read_lapic(lapic_esr);
    };
    errors();
    check("ESR shows nothing before it is written", read_lapic(lapic_esr), 0);
    *reinterpret_cast<volatile uint32_t*>(lapic_base + 0x40);
    show("a read of a reserved register", errors());
    *reinterpret_cast<volatile uint32_t*>(lapic_base + 0x40) = 1;
    show("a write of one", errors());
    errors();
    write_lapic(lapic_icr, 1 << 18 | 1 << 14 | 0x03);
    const uint32_t before = read_lapic(lapic_esr);
    check("a vector below 16: not before ESR is written", before, 0);
    check("  then", errors() & 0x20, 0x20);
    check("  and no more", errors(), 0);
    // A request whose vector is legal changes nothing.
    write_lapic(lapic_icr, 1 << 18 | 1 << 14 | 0x31);
    check("a legal one", errors(), 0);
    let_in();
    write_lapic(lapic_lvt_timer, 0x05);
    write_lapic(lapic_initial_count, 100);
    while (read_lapic(lapic_current_count)) {}
    check("the timer's vector below 16", errors() & 0x40, 0x40);
    start_lapic();
}

TEST(spurious) {
    prepare();
    // Requested, then held back by the task priority before it is taken. (There may be a spurious interrupt: 11.9.)
    write_lapic(lapic_icr, 1 << 18 | 1 << 14 | 0x41);
    write_lapic(lapic_tpr, 0x50);
    let_in();
    check("raised in time, the task priority leaves nothing", deliveries.count, 0);
    write_lapic(lapic_tpr, 0);
    let_in();
    check("lowered, it comes", deliveries.count, 1);
    write_lapic(lapic_svr, apic_enabled | 0x0f);
    check("SVR's low bits can be written", read_lapic(lapic_svr), apic_enabled | 0x0f);
    write_lapic(lapic_svr, apic_enabled | 0xff);
    write_lapic(lapic_icr, 1 << 18 | 1 << 14 | 0xff);
    let_in();
    show("an IPI of the spurious vector: in service", lapic_bit(lapic_isr, 0xff));
    end_of_interrupt();
}
