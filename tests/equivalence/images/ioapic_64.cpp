// SPDX-License-Identifier: Apache-2.0
// The I/O APIC (82093AA data sheet, 3.2; SDM Vol. 3A, 11.6.2 and 11.8): destinations, delivery modes, masks, edges and
// levels. Its pin 4 is driven by the first serial port: the line is up while the transmitter-empty interrupt is enabled
// and nobody has read the interrupt identification.
#include "interrupts.hpp"

namespace {

constexpr uint16_t com1 = 0x3f8;
constexpr unsigned pin = 4, vector = 0x91;
constexpr uint32_t level = 1 << 15, remote_irr = 1 << 14, logical = 1 << 11, lowest = 1 << 8, nmi = 4 << 8,
                   masked = 1 << 16;

void line_down() { out8(com1 + 1, 0); }
void line_up() {
    while (!(in8(com1 + 5) & 0x40)) pause();
    out8(com1 + 1, 2);
}
void pulse() {
    line_up();
    in8(com1 + 2);
    line_down();
}
void set_entry(uint32_t low, uint32_t destination = read_lapic(lapic_id)) {
    write_ioapic(0x10 + 2 * pin, masked);
    write_ioapic(0x11 + 2 * pin, destination);
    write_ioapic(0x10 + 2 * pin, low);
}
uint32_t entry() { return read_ioapic(0x10 + 2 * pin); }
// What arrives within a little while.
unsigned delivered() {
    enable_interrupts();
    for (unsigned i = 0; i < 300; ++i) pause();
    disable_interrupts();
    return deliveries.count;
}
void prepare() {
    line_down();
    in8(com1 + 2);
    start_lapic();
    write_lapic(lapic_dfr, 0xffffffff);
    write_lapic(lapic_ldr, 0x04000000);
    count_from(0x20, 0xfe);
    eoi_in_handler = true;
    out8(com1 + 4, 0x0b);  // OUT2: the interrupt is let through
    write_ioapic(0x10 + 2 * pin, masked);
    delivered();
    forget_deliveries();
}
unsigned pulsed(uint32_t low, uint32_t destination) {
    prepare();
    set_entry(low, destination);
    pulse();
    const unsigned count = delivered();
    write_ioapic(0x10 + 2 * pin, masked);
    return count;
}
void finish() {
    line_down();
    write_ioapic(0x10 + 2 * pin, masked);
    out8(com1 + 4, 3);
}

}  // namespace

TEST(registers) {
    prepare();
    const uint32_t id = read_ioapic(0);
    write_ioapic(0, 0xffffffff);
    check("the ID has four bits", read_ioapic(0), 0x0f000000);
    write_ioapic(0, id);
    const uint32_t version = read_ioapic(1);
    write_ioapic(1, 0);
    check("the version cannot be written", read_ioapic(1), version);
    check("  24 pins", version >> 16 & 0xff, 23);
    for (unsigned n = 0; n < 24; ++n)
        if (!(read_ioapic(0x10 + 2 * n) & masked)) show("not masked", n);
    write_ioapic(0x10 + 2 * 23, masked | 0x5a);
    check("the last entry", read_ioapic(0x10 + 2 * 23) & 0xff, 0x5a);
    write_ioapic(0x10 + 2 * 23, masked);
    *reinterpret_cast<volatile uint32_t*>(ioapic_base) = 0x12;
    check("the index register", *reinterpret_cast<volatile uint32_t*>(ioapic_base) & 0xff, 0x12);
    finish();
}

TEST(edges) {
    prepare();
    set_entry(vector);
    line_up();
    // Nothing is printed while the line is up: the console is the same port.
    const unsigned first = delivered(), then = delivered(), irr = entry() & remote_irr;
    line_down();
    const unsigned down = delivered();
    line_up();
    const unsigned second = delivered();
    line_down();
    check("an edge", first, 1);
    check("  its vector", deliveries.vectors[0], vector);
    check("  while the line stays up, no more", then, 1);
    check("  no remote IRR", irr, 0);
    check("its end is none", down, 1);
    check("another one", second, 2);
    prepare();
    set_entry(vector);
    pulse();
    pulse();
    check("two before the first is delivered are one", delivered(), 1);
    check("  edge in TMR", lapic_bit(lapic_tmr, vector), false);
    prepare();
    eoi_in_handler = false;
    set_entry(vector);
    pulse();
    check("one in service", delivered(), 1);
    pulse();
    check("  another one waits in IRR", lapic_bit(lapic_irr, vector));
    end_of_interrupt();
    check("  for the end of the first", delivered(), 2);
    end_of_interrupt();
    prepare();
    write_lapic(lapic_tpr, 0xa0);
    set_entry(vector);
    pulse();
    check("held back by the task priority", delivered(), 0);
    check("  in IRR", lapic_bit(lapic_irr, vector));
    write_lapic(lapic_tpr, 0);
    check("  and let in", delivered(), 1);
    prepare();
    set_entry(vector | masked);
    line_up();
    const unsigned while_masked = delivered();
    line_down();
    set_entry(vector);
    check("masked", while_masked, 0);
    check("  unmasked when the line is down again", delivered(), 0);
    prepare();
    set_entry(vector | masked);
    line_up();
    delivered();
    set_entry(vector);
    const unsigned unmasked = delivered();
    line_down();
    check("  unmasked while it is up: the edge was before", unmasked, 0);
    finish();
}

TEST(levels) {
    prepare();
    eoi_in_handler = false;
    set_entry(vector | level);
    line_up();
    const unsigned up = delivered(), irr = entry() & remote_irr;
    const bool tmr = lapic_bit(lapic_tmr, vector);
    line_down();
    end_of_interrupt();
    const unsigned ended = delivered(), irr_ended = entry() & remote_irr;
    line_up();
    const unsigned again = delivered();
    end_of_interrupt();
    const unsigned still_up = delivered();
    line_down();
    end_of_interrupt();
    const unsigned over = delivered();
    end_of_interrupt();
    check("a level", up, 1);
    check("  level in TMR", tmr);
    check("  remote IRR", irr, remote_irr);
    check("down before its end: no more", ended, 1);
    check("  remote IRR is clear", irr_ended, 0);
    check("up again", again, 2);
    check("its end while it is up: again", still_up, 3);
    check("  and no more when it is down", over, 3);
    prepare();
    eoi_in_handler = false;
    set_entry(vector | level | masked);
    line_up();
    const unsigned while_masked = delivered();
    write_ioapic(0x10 + 2 * pin, vector | level);
    const unsigned unmasked = delivered();
    line_down();
    end_of_interrupt();
    check("up while masked", while_masked, 0);
    check("  unmasked", unmasked, 1);
    prepare();
    set_entry(vector | level | masked);
    line_up();
    line_down();
    write_ioapic(0x10 + 2 * pin, vector | level);
    check("up and down while masked", delivered(), 0);
    // A vector that was a level is an edge again.
    eoi_in_handler = true;
    set_entry(vector);
    pulse();
    check("an edge of the same vector", delivered(), 1);
    check("  edge in TMR", lapic_bit(lapic_tmr, vector), false);
    finish();
}

TEST(destinations) {
    const uint32_t id = read_lapic(lapic_id);
    check("physical", pulsed(vector, id), 1);
    check("physical, broadcast", pulsed(vector, 0xff000000), 1);
    check("physical, nobody", pulsed(vector, 0x0e000000), 0);
    check("flat", pulsed(vector | logical, 0x04000000), 1);
    check("flat, one of several bits", pulsed(vector | logical, 0x0c000000), 1);
    check("flat, broadcast", pulsed(vector | logical, 0xff000000), 1);
    check("flat, nobody", pulsed(vector | logical, 0x03000000), 0);
    check("lowest priority, flat", pulsed(vector | lowest | logical, 0x05000000), 1);
    check("lowest priority, flat, nobody", pulsed(vector | lowest | logical, 0x02000000), 0);
    const auto cluster = [](uint32_t own, uint32_t destination) {
        prepare();
        write_lapic(lapic_dfr, 0x0fffffff);
        write_lapic(lapic_ldr, own);
        set_entry(vector | logical, destination);
        pulse();
        const unsigned count = delivered();
        write_lapic(lapic_dfr, 0xffffffff);
        return count;
    };
    check("cluster", cluster(0x24000000, 0x24000000), 1);
    check("cluster, one of several bits", cluster(0x24000000, 0x2c000000), 1);
    check("cluster, another one's bit", cluster(0x24000000, 0x23000000), 0);
    check("cluster, another cluster", cluster(0x24000000, 0x14000000), 0);
    check("cluster, broadcast", cluster(0x24000000, 0xff000000), 1);
    finish();
}

TEST(delivery_modes) {
    handlers[NMI] = [](Frame&) { deliveries.count = deliveries.count + 1; };
    const uint32_t id = read_lapic(lapic_id);
    check("NMI", pulsed(nmi, id), 1);
    check("NMI with a vector", pulsed(nmi | vector, id), 1);
    handlers[NMI] = nullptr;
    check("SMI: not to be seen", pulsed(2 << 8, id), 0);
    prepare();
    write_lapic(lapic_svr, 0xff);
    set_entry(vector);
    pulse();
    const unsigned count = delivered();
    write_lapic(lapic_svr, apic_enabled | 0xff);
    check("nothing comes to a local APIC that SVR disables", count + delivered(), 0);
    finish();
}
