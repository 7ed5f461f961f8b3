// SPDX-License-Identifier: Apache-2.0
// The local APIC in xAPIC mode (SDM Vol. 3A, chapter 11): registers, priorities, delivery, ICR, LVT, timer, errors.
#include "interrupts.hpp"

namespace {

constexpr uint32_t self = 1 << 18, all = 2 << 18, others = 3 << 18, asserted = 1 << 14, logical = 1 << 11,
                   pending = 1 << 12;

void send_self(unsigned vector) { write_lapic(lapic_icr, self | asserted | vector); }
void nmi_handler(Frame&) { deliveries.count = deliveries.count + 1; }
uint32_t errors() {
    write_lapic(lapic_esr, 0);
    return read_lapic(lapic_esr);
}

}  // namespace

TEST(registers) {
    start_lapic();
    show("ID", read_lapic(lapic_id) >> 24);
    const uint32_t version = read_lapic(lapic_version);
    check("version: integrated", (version & 0xf0) == 0x10);
    check("version: LVT entries", (version >> 16 & 0xff) >= 5);
    write_lapic(lapic_version, 0);
    check("version cannot be written", read_lapic(lapic_version), version);
    write_lapic(lapic_ldr, 0xffffffff);
    check("LDR keeps bits 31:24", read_lapic(lapic_ldr), 0xff000000);
    write_lapic(lapic_ldr, 1 << 24);
    write_lapic(lapic_dfr, 0);
    check("DFR's bits 27:0 are ones", read_lapic(lapic_dfr), 0x0fffffff);
    write_lapic(lapic_dfr, 0xffffffff);
    check("DFR of the flat model", read_lapic(lapic_dfr), 0xffffffff);
    write_lapic(lapic_tpr, 0xffffffff);
    check("TPR keeps 8 bits", read_lapic(lapic_tpr), 0xff);
    check("PPR follows TPR", read_lapic(lapic_ppr), 0xff);
    check("CR8 is TPR[7:4]", read_cr8(), 15);
    write_lapic(lapic_tpr, 0x25);
    check("CR8 is TPR[7:4] again", read_cr8(), 2);
    write_cr8(9);
    check("CR8 goes to TPR", read_lapic(lapic_tpr), 0x90);
    write_cr8(0);
    check("and clears it", read_lapic(lapic_tpr), 0);
    write_lapic(lapic_icr_high, 0xffffffff);
    check("ICR's destination", read_lapic(lapic_icr_high), 0xff000000);
    write_lapic(lapic_icr_high, 0);
    write_lapic(lapic_divide, 0xffffffff);
    check("divide register", read_lapic(lapic_divide), 0xb);
    write_lapic(lapic_lvt_timer, 0xffffffff);
    show("LVT timer of all ones, delivery status apart", read_lapic(lapic_lvt_timer) & ~0x1000u);
    write_lapic(lapic_lvt_timer, lvt_masked);
    write_lapic(lapic_lvt_lint0, 0xffffffff & ~(1 << 14));
    check("LVT LINT0 of all ones", read_lapic(lapic_lvt_lint0) & ~0x5000u, 0x1a7ff);
    write_lapic(lapic_lvt_lint0, lvt_masked);
    write_lapic(lapic_lvt_error, 0xffffffff);
    check("LVT error of all ones", read_lapic(lapic_lvt_error) & ~0x1000u, 0x100ff);
    write_lapic(lapic_lvt_error, lvt_masked);
    check("no error was noted", errors() & ~0x40u, 0);
}

TEST(software_disable) {
    start_lapic();
    write_lapic(lapic_lvt_error, 0xe0);
    write_lapic(lapic_svr, 0xff);
    check("disabling masks the LVT", read_lapic(lapic_lvt_error), 0x100e0);
    write_lapic(lapic_lvt_error, 0xe0);
    check("and it stays so", read_lapic(lapic_lvt_error), 0x100e0);
    write_lapic(lapic_svr, apic_enabled | 0xff);
    check("after enabling, too", read_lapic(lapic_lvt_error), 0x100e0);
    write_lapic(lapic_lvt_error, 0xe0);
    check("until it is written", read_lapic(lapic_lvt_error), 0xe0);
    start_lapic();
}

TEST(self_delivery) {
    start_lapic();
    count_from(0x20, 0xfe);
    forget_deliveries();
    eoi_in_handler = false;
    send_self(0x41);
    check("requested: IRR", lapic_bit(lapic_irr, 0x41));
    check("not in service", !lapic_bit(lapic_isr, 0x41));
    check("delivery status is idle", read_lapic(lapic_icr) & pending, 0);
    let_in();
    check("delivered", deliveries.count, 1);
    check("  its vector", deliveries.vectors[0], 0x41);
    check("in service: ISR", lapic_bit(lapic_isr, 0x41));
    check("no longer requested", !lapic_bit(lapic_irr, 0x41));
    check("TMR: edge", !lapic_bit(lapic_tmr, 0x41));
    check("PPR is its class", read_lapic(lapic_ppr), 0x40);
    send_self(0x4f);
    let_in();
    check("the same class is held back", deliveries.count, 1);
    check("  in IRR", lapic_bit(lapic_irr, 0x4f));
    send_self(0x51);
    let_in();
    check("a higher class comes in", deliveries.vectors[1], 0x51);
    check("PPR is that class", read_lapic(lapic_ppr), 0x50);
    end_of_interrupt();
    check("EOI ends the highest", lapic_bit(lapic_isr, 0x41) && !lapic_bit(lapic_isr, 0x51));
    let_in();
    check("the held one waits still", deliveries.count, 2);
    end_of_interrupt();
    let_in();
    check("and comes after the other's EOI", deliveries.vectors[2], 0x4f);
    end_of_interrupt();
    check("PPR is 0 again", read_lapic(lapic_ppr), 0);
    send_self(0x60);
    send_self(0x60);
    send_self(0x60);
    let_in();
    end_of_interrupt();
    let_in();
    check("requests of one vector merge", deliveries.count, 4);
    eoi_in_handler = true;
}

TEST(priorities) {
    start_lapic();
    forget_deliveries();
    send_self(0x31);
    send_self(0xe1);
    send_self(0x81);
    send_self(0x82);
    enable_interrupts();
    asm volatile("nop; nop; nop; nop");
    disable_interrupts();
    check("all come", deliveries.count, 4);
    check("the highest first", deliveries.vectors[0], 0xe1);
    check("then", deliveries.vectors[1], 0x82);
    check("then", deliveries.vectors[2], 0x81);
    check("the lowest last", deliveries.vectors[3], 0x31);
    forget_deliveries();
    write_lapic(lapic_tpr, 0x80);
    send_self(0x8f);
    send_self(0x90);
    let_in();
    check("TPR holds its class back", deliveries.count, 1);
    check("  and lets the next one in", deliveries.vectors[0], 0x90);
    check("PPR is TPR", read_lapic(lapic_ppr), 0x80);
    write_cr8(7);
    let_in();
    check("lowering CR8 lets it in", deliveries.vectors[1], 0x8f);
    write_cr8(15);
    send_self(0xfe);
    let_in();
    check("CR8 of 15 holds all back", deliveries.count, 2);
    enable_interrupts();
    write_cr8(0);
    asm volatile("nop");
    disable_interrupts();
    check("lowered with interrupts on, it comes at once", deliveries.count, 3);
}

TEST(shorthands_and_destinations) {
    start_lapic();
    const uint32_t id = read_lapic(lapic_id);
    forget_deliveries();
    write_lapic(lapic_icr, all | asserted | 0x42);
    let_in();
    check("all including self", deliveries.count, 1);
    write_lapic(lapic_icr, others | asserted | 0x43);
    let_in();
    check("all excluding self", deliveries.count, 1);
    write_lapic(lapic_icr_high, id);
    write_lapic(lapic_icr, asserted | 0x44);
    let_in();
    check("physical, to itself", deliveries.count, 2);
    write_lapic(lapic_icr_high, 0xff000000);
    write_lapic(lapic_icr, asserted | 0x45);
    let_in();
    check("physical, broadcast", deliveries.count, 3);
    write_lapic(lapic_icr_high, 0x0e000000);
    write_lapic(lapic_icr, asserted | 0x46);
    let_in();
    check("physical, to nobody", deliveries.count, 3);
    write_lapic(lapic_dfr, 0xffffffff);
    write_lapic(lapic_ldr, 0x04000000);
    write_lapic(lapic_icr_high, 0x06000000);
    write_lapic(lapic_icr, logical | asserted | 0x47);
    let_in();
    check("flat logical, a bit in common", deliveries.count, 4);
    write_lapic(lapic_icr_high, 0x0b000000);
    write_lapic(lapic_icr, logical | asserted | 0x48);
    let_in();
    check("flat logical, none in common", deliveries.count, 4);
    write_lapic(lapic_dfr, 0x0fffffff);
    write_lapic(lapic_ldr, 0x24000000);
    write_lapic(lapic_icr_high, 0x26000000);
    write_lapic(lapic_icr, logical | asserted | 0x49);
    let_in();
    check("cluster logical, its cluster", deliveries.count, 5);
    write_lapic(lapic_icr_high, 0x16000000);
    write_lapic(lapic_icr, logical | asserted | 0x4a);
    let_in();
    check("cluster logical, another cluster", deliveries.count, 5);
    write_lapic(lapic_dfr, 0xffffffff);
    write_lapic(lapic_ldr, 0x01000000);
    write_lapic(lapic_icr_high, 0x01000000);
    write_lapic(lapic_icr, logical | asserted | 1 << 8 | 0x4b);
    let_in();
    check("lowest priority", deliveries.count, 6);
    handlers[NMI] = nmi_handler;
    forget_deliveries();
    write_lapic(lapic_icr_high, id);
    write_lapic(lapic_icr, asserted | 4 << 8);
    asm volatile("nop; nop");
    check("an NMI to itself, with interrupts off", deliveries.count, 1);
    handlers[NMI] = nullptr;
}

TEST(errors_noted) {
    start_lapic();
    forget_deliveries();
    errors();
    check("none at first", errors(), 0);
    send_self(0x0f);
    check("an illegal vector sent", errors() & 0x20, 0x20);
    check("ESR is cleared by a write", errors(), 0);
    write_lapic(lapic_lvt_error, 0xe5);
    send_self(0x05);
    let_in();
    check("an error interrupt", deliveries.count, 1);
    check("  its vector", deliveries.vectors[0], 0xe5);
    write_lapic(lapic_lvt_error, lvt_masked);
    errors();
    write_lapic(lapic_lvt_timer, lvt_masked | 0x05);
    show("an illegal vector in the LVT, masked", errors());
    start_lapic();
}

TEST(timer) {
    start_lapic();
    forget_deliveries();
    write_lapic(lapic_divide, 0xb);
    write_lapic(lapic_lvt_timer, 0x71);
    write_lapic(lapic_initial_count, 100000);
    const uint32_t first = read_lapic(lapic_current_count);
    for (unsigned i = 0; i < 100; ++i) pause();
    const uint32_t second = read_lapic(lapic_current_count);
    check("it counts down", first <= 100000 && second < first);
    check("one-shot: comes", wait_delivery());
    check("  its vector", deliveries.vectors[0], 0x71);
    check("  the count stays 0", read_lapic(lapic_current_count), 0);
    check("  once", !wait_delivery(2, 1000000));
    forget_deliveries();
    write_lapic(lapic_lvt_timer, lvt_periodic | 0x72);
    write_lapic(lapic_initial_count, 50000);
    check("periodic: comes again and again", wait_delivery(5));
    check("  the count goes on", read_lapic(lapic_current_count) != 0);
    write_lapic(lapic_lvt_timer, lvt_periodic | lvt_masked | 0x72);
    let_in();
    forget_deliveries();
    check("masked: does not come", !wait_delivery(1, 1000000));
    write_lapic(lapic_initial_count, 0);
    check("stopped by 0", read_lapic(lapic_current_count), 0);
    write_lapic(lapic_lvt_timer, 0x73);
    write_lapic(lapic_initial_count, 1000000);
    check("not yet", !wait_delivery(1, 10000));
    write_lapic(lapic_initial_count, 0);
    check("and never after it was stopped", !wait_delivery(1, 3000000));
    forget_deliveries();
    disable_interrupts();
    write_lapic(lapic_lvt_timer, 0x74);
    write_lapic(lapic_initial_count, 100000);
    asm volatile("sti; hlt; cli");
    check("it ends a HLT", deliveries.count, 1);

    // The divide register, by the time that a count takes.
    uint64_t took[3];
    const uint32_t divides[] = {0xb, 0x0, 0x3};  // 1, 2, 16
    for (unsigned i = 0; i < 3; ++i) {
        write_lapic(lapic_divide, divides[i]);
        write_lapic(lapic_lvt_timer, lvt_masked | 0x74);
        const uint64_t start = rdtsc();
        write_lapic(lapic_initial_count, 400000);
        while (read_lapic(lapic_current_count)) pause();
        took[i] = rdtsc() - start;
    }
    check("divided by 2 takes twice as long", took[1] * 10 > took[0] * 17 && took[1] * 10 < took[0] * 23);
    check("divided by 16, eight times that", took[2] > took[1] * 7 && took[2] < took[1] * 9);
    start_lapic();
}

TEST(deadline) {
    if (!(cpuid(1).c >> 24 & 1)) return skip("TSC deadline", "not there");
    start_lapic();
    forget_deliveries();
    write_lapic(lapic_lvt_timer, lvt_deadline | 0x75);
    write_msr(0x6e0, rdtsc() + 100000);
    check("armed", read_msr(0x6e0) != 0);
    check("comes", wait_delivery());
    check("disarmed by that", read_msr(0x6e0), 0);
    write_lapic(lapic_initial_count, 1000);
    check("the initial count does nothing in this mode", read_lapic(lapic_current_count), 0);
    forget_deliveries();
    write_msr(0x6e0, 1);
    check("one in the past comes at once", wait_delivery(1, 100000));
    forget_deliveries();
    write_msr(0x6e0, rdtsc() + 1000000);
    write_msr(0x6e0, 0);
    check("disarmed by 0", !wait_delivery(1, 2000000));
    write_msr(0x6e0, rdtsc() + 1000000);
    write_lapic(lapic_lvt_timer, 0x75);
    check("disarmed by another mode", read_msr(0x6e0), 0);
    write_msr(0x6e0, rdtsc() + 1000000);
    check("in another mode a write is ignored", read_msr(0x6e0), 0);
    start_lapic();
}

TEST(spurious_and_shadow) {
    start_lapic();
    forget_deliveries();
    // An interrupt that becomes pending under STI's shadow waits for one instruction.
    static word at;
    handlers[0x77] = [](Frame& f) { at = f.ip, end_of_interrupt(); };
    word after_next;
    send_self(0x77);
    asm volatile("sti; nop; 1: cli; lea 1b(%%rip), %0" : "=r"(after_next)::"memory");
    check("STI's shadow is one instruction", at, after_next);
    at = 0;
    send_self(0x77);
    asm volatile("sti; cli; nop" ::: "memory");
    check("STI and CLI let nothing in", at, 0);
    word after_move;
    asm volatile("mov %%ss, %%eax; sti; mov %%eax, %%ss; nop; 1: cli; lea 1b(%%rip), %0"
                 : "=r"(after_move)::"rax", "memory");
    show("STI, MOV SS, NOP: how far it got before", after_move - at);
    count_from(0x77, 0x77);
    let_in();
}
