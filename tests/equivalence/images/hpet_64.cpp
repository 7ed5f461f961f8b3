// SPDX-License-Identifier: Apache-2.0
// The high precision event timers (IA-PC HPET specification 1.0a) at their usual address: the counter, timer 0 in place
// of the 8254 and through the I/O APIC as a fixed interrupt and as an NMI, once and periodically, edges and levels.
#include "interrupts.hpp"

namespace {

constexpr word hpet = 0xfed00000, config = 0x10, status = 0x20, counter = 0xf0, timer0 = 0x100, comparator0 = 0x108;
constexpr uint32_t on = 1, legacy = 2, level = 1 << 1, enabled = 1 << 2, periodic = 1 << 3, value_set = 1 << 6,
                   narrow = 1 << 8;
constexpr unsigned pin = 20, vector = 0x91;

uint32_t read32(word offset) { return *reinterpret_cast<volatile uint32_t*>(hpet + offset); }
uint64_t read64(word offset) { return *reinterpret_cast<volatile uint64_t*>(hpet + offset); }
void write32(word offset, uint32_t value) { *reinterpret_cast<volatile uint32_t*>(hpet + offset) = value; }
void set(word offset, uint32_t bits) { write32(offset, read32(offset) | bits); }
void clear(word offset, uint32_t bits) { write32(offset, read32(offset) & ~bits); }
uint32_t ticks_of_microseconds(uint32_t n) { return static_cast<uint32_t>(1000000000ull / (read64(0) >> 32) * n); }

void prepare(unsigned interrupt_pin) {
    clear(config, on | legacy);
    write32(timer0, 0);
    write32(status, 7);
    start_lapic();
    count_from(0x20, 0xfe);
    handlers[NMI] = [](Frame&) { deliveries.count = deliveries.count + 1; };
    eoi_in_handler = true;
    write_ioapic(0x10 + 2 * pin, lvt_masked);
    write32(timer0, interrupt_pin << 9);
    write32(counter + 4, 0);
    write32(counter, 0);
    let_in();
    forget_deliveries();
}
void arm(uint32_t mode, uint32_t at) {
    write32(comparator0 + 4, 0);
    set(timer0, enabled | mode);
    write32(comparator0, at);
    set(config, on);
}
void route(uint32_t low) {
    write_ioapic(0x11 + 2 * pin, read_lapic(lapic_id));
    write_ioapic(0x10 + 2 * pin, low);
}
bool wait(unsigned count) { return wait_delivery(count, 20000000); }

}  // namespace

TEST(registers) {
    prepare(pin);
    check("Intel's", read32(0) >> 16, 0x8086);
    check("three timers", read32(0) >> 8 & 0x1f, 2);
    check("64 bits, and the legacy route", read32(0) >> 13 & 5, 5);
    check("the period is at most 100 ns", read32(4) > 0 && read32(4) <= 100000000);
    check("timer 0 can be periodic, and has 64 bits", read32(timer0) >> 4 & 3, 3);
    check("its route", read32(timer0) >> 9 & 0x1f, pin);
    check("pin 20 is among those that it may have", read32(timer0 + 4) >> pin & 1, 1);
    check("the counter stands still", read64(counter) == 0 && read64(counter) == 0);
    set(config, on);
    const uint64_t first = read64(counter);
    for (unsigned i = 0; i < 1000; ++i) pause();
    const uint64_t second = read64(counter);
    check("and counts when it is on", second > first);
    clear(config, on);
    const uint64_t third = read64(counter);
    check("it stops where it is", third >= second && read64(counter) == third);
    write32(counter + 4, 5);
    check("its upper half can be written", read64(counter) >> 32, 5);
    write32(0, 0);
    check("the capabilities cannot", read32(0) >> 16, 0x8086);
}

TEST(legacy_replacement) {
    prepare(0);
    out8(0x20, 0x11), out8(0x21, 0x60), out8(0x21, 4), out8(0x21, 1), out8(0x21, 0xfe);
    write_lapic(lapic_lvt_lint0, 7 << 8);
    out8(0x43, 0x30), out8(0x40, 1), out8(0x40, 0);  // the 8254, whose interrupt has no way
    const auto handler = [](Frame& f) {
        if (deliveries.count < 32) deliveries.vectors[deliveries.count] = static_cast<unsigned>(f.vector & 0xff);
        deliveries.count = deliveries.count + 1;
        out8(0x20, 0x20);
    };
    handlers[0x60] = handler;
    let_in();
    forget_deliveries();
    set(config, legacy);
    arm(0, ticks_of_microseconds(1000));
    check("timer 0 is IRQ 0", wait(1));
    check("  its vector", deliveries.vectors[0], 0x60);
    check("  at its time", read64(counter) >= ticks_of_microseconds(1000));
    check("  once", !wait_delivery(2, 1000000));
    out8(0x21, 0xff);
    clear(config, on | legacy);
    clear(timer0, enabled);
}

TEST(through_the_io_apic) {
    prepare(pin);
    route(vector);
    arm(0, ticks_of_microseconds(1000));
    check("an edge", wait(1));
    check("  its vector", deliveries.vectors[0], vector);
    check("  once", !wait_delivery(2, 1000000));
    check("  no status", read32(status), 0);
    prepare(pin);
    route(4 << 8);
    arm(0, ticks_of_microseconds(1000));
    for (const uint64_t end = rdtsc() + 1000000; rdtsc() < end;) pause();
    check("as an NMI", deliveries.count, 1);
    prepare(pin);
    route(vector);
    arm(periodic | value_set, ticks_of_microseconds(500));
    const bool came = wait(10);
    const uint64_t after = read64(counter);
    check("periodic", came);
    check("  at its pace", after >= 10ull * ticks_of_microseconds(500) && after < 12ull * ticks_of_microseconds(500));
    clear(config, on);
    clear(timer0, enabled);
    prepare(pin);
    route(vector);
    arm(0, ticks_of_microseconds(1000));
    clear(timer0, enabled);
    check("not enabled, it does not come", !wait_delivery(1, 1000000));
    prepare(pin);
    route(vector);
    arm(narrow, ticks_of_microseconds(1000));
    check("in 32 bits", wait(1));
    clear(config, on);
    clear(timer0, enabled);
    prepare(pin);
}
