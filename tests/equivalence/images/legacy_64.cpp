// SPDX-License-Identifier: Apache-2.0
// The 8259A pair's way to the processor: ExtINT through LINT0 and the I/O APIC, LINT0 as a fixed interrupt and as
// an NMI (SDM Vol. 3A, 11.5.1), with a local APIC that is switched off (11.4.3), and together with other interrupts.
#include "interrupts.hpp"

namespace {

constexpr uint16_t master = 0x20, slave = 0xa0, pit = 0x40;
constexpr uint32_t extint = 7 << 8, nmi = 4 << 8, self = 1 << 18, all = 2 << 18, others = 3 << 18, asserted = 1 << 14;
constexpr unsigned base = 0x30;

void start_pics() {
    out8(master, 0x11), out8(slave, 0x11);
    out8(master + 1, base), out8(slave + 1, base + 8);
    out8(master + 1, 4), out8(slave + 1, 2);
    out8(master + 1, 1), out8(slave + 1, 1);
    out8(master + 1, 0xff), out8(slave + 1, 0xff);
}
uint8_t pic_register(uint8_t command) {
    out8(master, command);
    return in8(master);
}
bool requested() { return pic_register(0x0a) & 1; }
bool in_service() { return pic_register(0x0b) & 1; }
// One edge of the timer's output, about 100 of its clocks from now.
void arm(uint16_t count = 100) {
    out8(pit + 3, 0x30);
    out8(pit, static_cast<uint8_t>(count));
    out8(pit, static_cast<uint8_t>(count >> 8));
}
void note(Frame& f) {
    if (deliveries.count < 32) deliveries.vectors[deliveries.count] = static_cast<unsigned>(f.vector & 0xff);
    deliveries.count = deliveries.count + 1;
}
void prepare() {
    start_lapic();
    start_pics();
    for (unsigned v = 0x20; v < 0xff; ++v) handlers[v] = note;
    handlers[NMI] = note;
    for (unsigned pin = 0; pin < 24; ++pin) write_ioapic(0x10 + 2 * pin, lvt_masked);
    arm(1);
    for (unsigned i = 0; i < 5000; ++i) pause();
    out8(master + 1, 0xfe);
    write_lapic(lapic_lvt_lint0, extint);
    let_in();
    out8(master, 0x20);
    out8(master + 1, 0xff);
    write_lapic(lapic_lvt_lint0, lvt_masked);
    let_in();
    forget_deliveries();
}
bool wait(unsigned count, uint64_t ticks = 5000000) { return wait_delivery(count, ticks); }
void until_requested() {
    for (const uint64_t end = rdtsc() + 5000000; !requested() && rdtsc() < end;) {}
}

}  // namespace

TEST(through_lint0) {
    prepare();
    write_lapic(lapic_lvt_lint0, extint);
    out8(master + 1, 0xfe);
    arm();
    check("ExtINT", wait(1));
    check("  the vector is the 8259A's", deliveries.vectors[0], base);
    check("  in service there", in_service());
    check("  and not in the local APIC", lapic_bit(lapic_isr, base), false);
    check("  no more than one", !wait(2, 300000));
    out8(master, 0x20);
    check("ended", !in_service() && !requested());
    arm();
    asm volatile("sti; hlt; cli" ::: "memory");
    check("it ends a HLT", deliveries.count, 2);
    out8(master, 0x20);
    write_cr8(15);
    arm();
    check("the task priority does not hold it back", wait(3));
    write_cr8(0);
    out8(master, 0x20);
    // Both at once, and one in the other's handler.
    arm();
    until_requested();
    write_lapic(lapic_icr, self | asserted | 0xf1);
    asm volatile("sti; nop; nop; nop; cli" ::: "memory");
    check("together with a fixed interrupt, both come", deliveries.count, 5);
    out8(master, 0x20);
    end_of_interrupt();
    forget_deliveries();
    handlers[0xf1] = [](Frame& f) {
        note(f);
        arm();
        until_requested();
        asm volatile("sti; hlt; cli" ::: "memory");
    };
    write_lapic(lapic_icr, self | asserted | 0xf1);
    let_in();
    check("in a fixed interrupt's handler", deliveries.count == 2 && deliveries.vectors[1] == base);
    out8(master, 0x20);
    end_of_interrupt();
    handlers[0xf1] = note;
    forget_deliveries();
    handlers[base] = [](Frame& f) {
        note(f);
        write_lapic(lapic_icr, self | asserted | 0xf1);
        asm volatile("sti; hlt; cli" ::: "memory");
    };
    arm();
    until_requested();
    let_in();
    check("a fixed interrupt in its handler", deliveries.count == 2 && deliveries.vectors[1] == 0xf1);
    handlers[base] = note;
    out8(master, 0x20);
    end_of_interrupt();
}

TEST(lint0_masked) {
    prepare();
    out8(master + 1, 0xfe);
    arm();
    check("LINT0: masked, nothing comes", !wait(1, 300000));
    prepare();
    write_lapic(lapic_lvt_lint0, 0x91);
    out8(master + 1, 0xfe);
    arm();
    check("LINT0: fixed", wait(1));
    check("LINT0:   its own vector", deliveries.vectors[0], 0x91);
    check("LINT0:   nothing was acknowledged", requested());
    check("LINT0:   in service in the local APIC", lapic_bit(lapic_isr, 0x91));
    end_of_interrupt();
    prepare();
    write_lapic(lapic_lvt_lint0, nmi);
    out8(master + 1, 0xfe);
    arm();
    for (const uint64_t end = rdtsc() + 500000; rdtsc() < end;) pause();
    check("LINT0: as an NMI, with interrupts off", deliveries.count == 1 && deliveries.vectors[0] == NMI);
}

TEST(through_io_apic) {
    prepare();
    write_ioapic(0x11, read_lapic(lapic_id));
    write_ioapic(0x10, extint);
    out8(master + 1, 0xfe);
    arm();
    check("pin 0, ExtINT", wait(1));
    check("  the vector is the 8259A's", deliveries.vectors[0], base);
    out8(master, 0x20);
    write_ioapic(0x10, lvt_masked);
}

TEST(ipis_that_are_not) {
    prepare();
    write_lapic(lapic_icr, self | asserted | nmi);
    for (unsigned i = 0; i < 300; ++i) pause();
    check("an NMI by the shorthand for itself", deliveries.count, 0);
    forget_deliveries();
    write_lapic(lapic_icr, all | asserted | nmi);
    for (unsigned i = 0; i < 300; ++i) pause();
    show("an NMI by the shorthand for all", deliveries.count);
    forget_deliveries();
    write_lapic(lapic_icr, others | asserted | nmi);
    for (unsigned i = 0; i < 300; ++i) pause();
    check("by the one for all others", deliveries.count, 0);
    let_in();
    forget_deliveries();
    write_lapic(lapic_icr_high, read_lapic(lapic_id));
    write_lapic(lapic_icr, asserted | 6 << 8 | 0x79);
    let_in();
    check("a start-up IPI for itself", deliveries.count, 0);
    write_lapic(lapic_icr, asserted | 2 << 8);
    let_in();
    check("an SMI is not to be seen", deliveries.count, 0);
}

TEST(deadlines_and_counts) {
    if (!(cpuid(1).c >> 24 & 1)) return skip("deadlines", "not there");
    prepare();
    // How long a count takes, and how long a deadline, as a program sees it.
    bool longer = true;
    write_lapic(lapic_divide, 0xb);
    for (unsigned i = 0; i < 20; ++i) {
        forget_deliveries();
        static uint64_t finished;
        handlers[0xf2] = [](Frame& f) {
            finished = rdtsc();
            note(f);
            end_of_interrupt();
        };
        write_lapic(lapic_lvt_timer, 0xf2);
        enable_interrupts();
        write_lapic(lapic_initial_count, 131072);
        uint64_t started = rdtsc();
        while (!deliveries.count) {}
        const uint64_t counted = finished - started;
        disable_interrupts();
        forget_deliveries();
        write_lapic(lapic_lvt_timer, lvt_deadline | 0xf2);
        enable_interrupts();
        write_msr(0x6e0, rdtsc() + 131072);
        started = rdtsc();
        while (!deliveries.count) {}
        const uint64_t awaited = finished - started;
        disable_interrupts();
        longer = longer && counted >= awaited;
    }
    check("a count takes no less time than a deadline", longer);
}

TEST(memory_types) {
    constexpr uint32_t fixed[] = {0x250, 0x258, 0x259, 0x268, 0x269, 0x26a, 0x26b, 0x26c, 0x26d, 0x26e, 0x26f};
    for (const uint32_t msr : fixed) {
        put_hex(msr);
        show("", read_msr(msr));
    }
    show("MTRRCAP", read_msr(0xfe));
    show("MTRR_DEF_TYPE", read_msr(0x2ff));
    for (unsigned i = 0; i < (read_msr(0xfe) & 0xff); ++i) {
        show("base", read_msr(0x200 + 2 * i));
        show("mask", read_msr(0x201 + 2 * i));
    }
}

// The last, as the emulator's local APIC stays off.
TEST(without_a_local_apic) {
    prepare();
    write_msr(0x1b, read_msr(0x1b) & ~(1ul << 11));
    out8(master + 1, 0xfe);
    arm();
    asm volatile("sti; hlt; cli" ::: "memory");
    check("the 8259A's interrupt ends a HLT", deliveries.count, 1);
    check("  the vector is the 8259A's", deliveries.vectors[0], base);
    check("  in service there", in_service());
    out8(master, 0x20);
    arm();
    check("it comes into a loop", wait(2));
    out8(master, 0x20);
    check("ended", !in_service() && !requested());
    arm();
    for (const uint64_t end = rdtsc() + 300000; rdtsc() < end;) pause();
    check("with interrupts off it waits", deliveries.count, 2);
    let_in();
    check("  and comes", deliveries.count, 3);
    out8(master, 0x20);
    out8(master + 1, 0xff);
}
