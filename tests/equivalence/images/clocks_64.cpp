// SPDX-License-Identifier: Apache-2.0
// The PC's interrupt controllers and clocks: 8259A pair, 8254, MC146818, I/O APIC. Their lines are driven by the
// clocks.
#include "interrupts.hpp"

namespace {

constexpr uint16_t master = 0x20, slave = 0xa0, pit = 0x40, cmos = 0x70;

void start_pics(uint8_t icw4 = 0x01) {
    out8(master, 0x11), out8(slave, 0x11);
    out8(master + 1, 0x60), out8(slave + 1, 0x68);
    out8(master + 1, 4), out8(slave + 1, 2);
    out8(master + 1, icw4), out8(slave + 1, icw4);
    out8(master + 1, 0xff), out8(slave + 1, 0xff);
}
uint8_t pic_irr(uint16_t port) {
    out8(port, 0x0a);
    return in8(port);
}
uint8_t pic_isr(uint16_t port) {
    out8(port, 0x0b);
    return in8(port);
}
void pic_to_cpu() {
    start_lapic();
    write_lapic(lapic_lvt_lint0, 7 << 8);
}
void pic_handler(Frame& f) {
    if (deliveries.count < 32) deliveries.vectors[deliveries.count] = static_cast<unsigned>(f.vector & 0xff);
    deliveries.count = deliveries.count + 1;
    if (!eoi_in_handler) return;
    if (f.vector >= 0x68) out8(slave, 0x20);
    out8(master, 0x20);
}
void pic_handlers() {
    for (unsigned v = 0x60; v < 0x70; ++v) handlers[v] = pic_handler;
    forget_deliveries();
    eoi_in_handler = true;
}
void load_pit(unsigned channel, unsigned mode, uint16_t count) {
    out8(pit + 3, static_cast<uint8_t>(channel << 6 | 3 << 4 | mode << 1));
    out8(static_cast<uint16_t>(pit + channel), static_cast<uint8_t>(count));
    out8(static_cast<uint16_t>(pit + channel), static_cast<uint8_t>(count >> 8));
}
unsigned latched(unsigned channel) {
    out8(pit + 3, static_cast<uint8_t>(channel << 6));
    const unsigned low = in8(static_cast<uint16_t>(pit + channel));
    return low | in8(static_cast<uint16_t>(pit + channel)) << 8;
}
uint8_t pit_status(unsigned channel) {
    out8(pit + 3, static_cast<uint8_t>(0xe0 | 2u << channel));
    return in8(static_cast<uint16_t>(pit + channel));
}
uint8_t rtc(uint8_t index) {
    out8(cmos, index);
    return in8(cmos + 1);
}
void set_rtc(uint8_t index, uint8_t value) {
    out8(cmos, index);
    out8(cmos + 1, value);
}
bool until(auto condition, uint64_t ticks = 20000000) {
    for (const uint64_t end = rdtsc() + ticks; rdtsc() < end;)
        if (condition()) return true;
    return false;
}
bool channel2_out() { return in8(0x61) & 0x20; }

}  // namespace

TEST(pic_registers) {
    mask_pics();
    start_pics();
    check("masks read back", in8(master + 1) == 0xff && in8(slave + 1) == 0xff);
    out8(master + 1, 0xa5);
    check("a mask reads back", in8(master + 1), 0xa5);
    out8(master + 1, 0xff);
    check("nothing is in service", pic_isr(master) | pic_isr(slave), 0);
    const uint8_t edges[] = {in8(0x4d0), in8(0x4d1)};
    out8(0x4d0, 0xff);
    check("ELCR's fixed bits, master", in8(0x4d0), 0xf8);
    out8(0x4d0, edges[0]);
    out8(0x4d1, 0xff);
    check("ELCR's fixed bits, slave", in8(0x4d1), 0xde);
    out8(0x4d1, edges[1]);
}

TEST(pic_delivery) {
    pic_to_cpu();
    start_pics();
    pic_handlers();
    load_pit(0, 2, 20000);
    check("masked, it is requested", until([] { return pic_irr(master) & 1; }));
    out8(master + 1, 0xfe);
    check("unmasked, it comes", wait_delivery());
    check("  vector", deliveries.vectors[0], 0x60);
    check("and again", wait_delivery(3));
    eoi_in_handler = false;
    forget_deliveries();
    wait_delivery();
    check("in service", pic_isr(master), 1);
    check("no more without EOI", !wait_delivery(2, 5000000));
    out8(master, 0x20);
    check("EOI", pic_isr(master), 0);
    check("the next", wait_delivery(2));
    out8(master, 0x60);
    check("specific EOI", pic_isr(master), 0);
    out8(master + 1, 0xff);
    out8(master, 0x20);
    load_pit(0, 4, 20000);
    until([] { return pic_irr(master) & 1; }, 10000000);
    eoi_in_handler = true;
}

TEST(pic_auto_eoi_and_poll) {
    pic_to_cpu();
    start_pics(0x03);
    pic_handlers();
    eoi_in_handler = false;
    load_pit(0, 2, 20000);
    out8(master + 1, 0xfe);
    check("automatic EOI: comes again and again", wait_delivery(3));
    check("  nothing in service", pic_isr(master), 0);
    out8(master + 1, 0xff);
    start_pics();
    out8(master + 1, 0xfe);
    until([] { return pic_irr(master) & 1; });
    out8(master, 0x0c);
    check("poll says which", in8(master), 0x80);
    check("  and takes it", pic_isr(master), 1);
    out8(master, 0x20);
    out8(master + 1, 0xff);
    eoi_in_handler = true;
}

TEST(pic_special_mask_and_cascade) {
    pic_to_cpu();
    start_pics();
    pic_handlers();
    eoi_in_handler = false;
    load_pit(0, 2, 20000);
    // The RTC's line by its periodic interrupt.
    set_rtc(0x0a, 0x26);
    set_rtc(0x0b, static_cast<uint8_t>((rtc(0x0b) & 0x0f) | 0x40));
    rtc(0x0c);
    out8(slave + 1, 0xfe);
    out8(master + 1, 0xfb);
    check("the RTC comes through the cascade", wait_delivery());
    check("  vector", deliveries.vectors[0], 0x68);
    check("  in service in both", pic_isr(master) == 4 && pic_isr(slave) == 1);
    out8(master + 1, 0xfa);
    forget_deliveries();
    check("a higher line interrupts it", wait_delivery());
    check("  vector", deliveries.vectors[0], 0x60);
    out8(master, 0x20);
    out8(slave, 0x20);
    out8(master, 0x20);
    check("all ended", pic_isr(master) | pic_isr(slave), 0);
    // In service line 0 holds line 2 back; with the special mask it does not.
    forget_deliveries();
    out8(master + 1, 0xfe);
    wait_delivery();
    out8(master + 1, 0xfb);
    rtc(0x0c);
    forget_deliveries();
    check("a lower line is held back", !wait_delivery(1, 3000000));
    out8(master + 1, 0xfb | 1);
    out8(master, 0x68);
    check("but not in special mask mode", wait_delivery());
    check("  vector", deliveries.vectors[0], 0x68);
    out8(master, 0x48);
    out8(master, 0x60), out8(master, 0x62), out8(slave, 0x60);
    set_rtc(0x0b, rtc(0x0b) & 0x0f);
    rtc(0x0c);
    out8(master + 1, 0xff), out8(slave + 1, 0xff);
    eoi_in_handler = true;
}

TEST(pit_modes) {
    mask_pics();
    out8(0x61, (in8(0x61) & ~2) | 1);  // gate of channel 2, no sound
    load_pit(2, 0, 60000);
    const bool low = !channel2_out();
    const unsigned first = latched(2);
    for (unsigned i = 0; i < 100; ++i) pause();
    const unsigned second = latched(2);
    const uint8_t status = pit_status(2);
    check("mode 0: output low while it counts", low);
    check("  it counts down", first <= 60000 && second < first);
    check("  status: low, both bytes, mode 0", status & 0xbf, 0x30);
    check("  output high at the end", until(channel2_out));
    check("  status: high", pit_status(2) & 0xbf, 0xb0);
    out8(0x61, in8(0x61) & ~1);
    load_pit(2, 0, 5000);
    const unsigned held = latched(2);
    for (unsigned i = 0; i < 100; ++i) pause();
    check("  the gate holds it", latched(2), held);
    out8(0x61, in8(0x61) | 1);
    check("  and lets it go", until(channel2_out));

    out8(0x61, in8(0x61) & ~1);
    load_pit(2, 1, 5000);
    check("mode 1: output high before the trigger", channel2_out());
    out8(0x61, in8(0x61) | 1);
    check("  low after it", until([] { return !channel2_out(); }, 1000000));
    check("  high at the end", until(channel2_out));

    load_pit(2, 2, 1000);
    check("mode 2: output high", until(channel2_out, 1000000));
    unsigned wraps = 0, last = latched(2);
    until([&] {
        const unsigned now = latched(2);
        wraps += now > last;
        last = now;
        return wraps >= 3;
    });
    check("  it reloads", wraps, 3);

    load_pit(2, 3, 10000);
    check("mode 3: output goes low", until([] { return !channel2_out(); }));
    check("  and high", until(channel2_out));
    check("  and low", until([] { return !channel2_out(); }));
    bool even = true;
    for (unsigned i = 0; i < 20; ++i) even = even && latched(2) % 2 == 0;
    check("  it counts by two", even);

    load_pit(2, 4, 2000);
    check("mode 4: output high", channel2_out());
    out8(0x61, in8(0x61) & ~1);
    load_pit(2, 5, 2000);
    check("mode 5: output high", channel2_out());
    check("  mode in the status", pit_status(2) & 0x0e, 0x0a);

    out8(0x61, in8(0x61) | 1);
    out8(pit + 3, 0x90);  // channel 2, low byte only, mode 0
    out8(pit + 2, 200);
    check("low byte alone: counts from it", in8(pit + 2) <= 200);
    out8(pit + 3, 0xb1);  // both bytes, mode 0, BCD
    out8(pit + 2, 0x00), out8(pit + 2, 0x50);
    bool decimal = true;
    for (unsigned i = 0; i < 20; ++i) {
        const unsigned value = latched(2);
        for (unsigned digit = 0; digit < 16; digit += 4) decimal = decimal && (value >> digit & 15) <= 9;
    }
    check("BCD: digits are decimal", decimal);
    load_pit(2, 0, 0xffff);
    out8(pit + 3, 0x80);
    for (unsigned i = 0; i < 100; ++i) pause();
    out8(pit + 3, 0x80);  // a second latch is ignored
    const unsigned byte = in8(pit + 2), latch = byte | in8(pit + 2) << 8;
    check("the first latch counts", latch > latched(2));
    out8(0x61, in8(0x61) & ~1);
}

TEST(rtc_registers) {
    set_rtc(0x0a, 0x26);
    show("register B", rtc(0x0b));
    check("register D: valid", rtc(0x0d), 0x80);
    set_rtc(0x0d, 0);
    check("  cannot be written", rtc(0x0d), 0x80);
    rtc(0x0c);
    check("update in progress is not always set", until([] { return !(rtc(0x0a) & 0x80); }));
    const uint8_t kept = rtc(0x70);
    set_rtc(0x70, 0x5a);
    check("NVRAM keeps a byte", rtc(0x70), 0x5a);
    set_rtc(0x70, kept);
    // Periodic flag by polling: register C is cleared by reading it.
    set_rtc(0x0a, 0x26);
    set_rtc(0x0b, rtc(0x0b) & 0x0f);
    rtc(0x0c);
    check("the periodic flag comes without its interrupt", until([] { return rtc(0x0c) & 0x40; }, 2000000));
    set_rtc(0x0b, static_cast<uint8_t>((rtc(0x0b) & 0x0f) | 0x40));
    check("and with it", until([] { return rtc(0x0c) & 0x40; }, 2000000));
    until([] { return rtc(0x0c) & 0x40; });
    until([] { return rtc(0x0c) & 0x40; });
    const uint64_t start = rdtsc();
    for (unsigned i = 0; i < 8; ++i) until([] { return rtc(0x0c) & 0x40; });
    const uint64_t eight = rdtsc() - start;
    set_rtc(0x0a, 0x28);
    until([] { return rtc(0x0c) & 0x40; });
    const uint64_t again = rdtsc();
    for (unsigned i = 0; i < 8; ++i) until([] { return rtc(0x0c) & 0x40; });
    const uint64_t slower = rdtsc() - again;
    check("a rate of 8 is four times as slow as 6", slower * 10 > 35 * eight && slower * 10 < 45 * eight);
    set_rtc(0x0a, 0x26);
    set_rtc(0x0b, rtc(0x0b) & 0x0f);
    // Set the time with updates inhibited.
    const uint8_t b = rtc(0x0b);
    const auto bcd = [=](uint8_t v) { return b & 4 ? static_cast<uint8_t>((v >> 4) * 10 + (v & 15)) : v; };
    set_rtc(0x0b, b | 0x80);
    set_rtc(0x00, bcd(0x58)), set_rtc(0x02, bcd(0x59)), set_rtc(0x04, bcd(0x23));
    check("seconds read back", rtc(0), bcd(0x58));
    check("minutes", rtc(2), bcd(0x59));
    check("hours", rtc(4), bcd(0x23));
    set_rtc(0x0b, b & ~0x80);
    check("it goes on", until([=] { return rtc(0) == bcd(0x59); }, 200000000));
}

TEST(io_apic) {
    start_lapic();
    mask_pics();
    count_from(0x20, 0xfe);
    eoi_in_handler = true;
    check("23 is the last pin", read_ioapic(1) >> 16 & 0xff, 23);
    write_ioapic(0x10 + 2 * 9, 0xffffffff);
    check("an entry keeps its bits, delivery status and remote IRR apart", read_ioapic(0x10 + 2 * 9) & ~0x5000u,
          0x1afff);
    write_ioapic(0x11 + 2 * 9, 0xffffffff);
    check("its upper half keeps the destination", read_ioapic(0x11 + 2 * 9), 0xff000000);
    write_ioapic(0x10 + 2 * 9, lvt_masked);

    // The PIT on pin 2, an edge.
    forget_deliveries();
    write_ioapic(0x11 + 2 * 2, read_lapic(lapic_id));
    write_ioapic(0x10 + 2 * 2, 0x91);
    load_pit(0, 2, 20000);
    check("an edge comes", wait_delivery());
    check("  vector", deliveries.vectors[0], 0x91);
    check("  TMR: edge", !lapic_bit(lapic_tmr, 0x91));
    check("and again", wait_delivery(3));
    write_ioapic(0x10 + 2 * 2, lvt_masked | 0x91);
    forget_deliveries();
    check("masked it does not", !wait_delivery(1, 5000000));
    // A logical destination, lowest priority.
    write_lapic(lapic_dfr, 0xffffffff);
    write_lapic(lapic_ldr, 0x01000000);
    write_ioapic(0x11 + 2 * 2, 0x01000000);
    write_ioapic(0x10 + 2 * 2, 1 << 11 | 1 << 8 | 0x92);
    check("logical destination, lowest priority", wait_delivery());
    check("  vector", deliveries.vectors[0], 0x92);
    write_ioapic(0x10 + 2 * 2, lvt_masked);
    let_in();

    // The RTC on pin 8 as a level: its line stays up until register C is read.
    forget_deliveries();
    eoi_in_handler = false;
    set_rtc(0x0a, 0x26);
    set_rtc(0x0b, static_cast<uint8_t>((rtc(0x0b) & 0x0f) | 0x40));
    rtc(0x0c);
    write_ioapic(0x11 + 2 * 8, read_lapic(lapic_id));
    write_ioapic(0x10 + 2 * 8, 1 << 15 | 0xa1);
    check("a level comes", wait_delivery());
    check("  TMR: level", lapic_bit(lapic_tmr, 0xa1));
    check("  remote IRR", read_ioapic(0x10 + 2 * 8) >> 14 & 1, 1);
    end_of_interrupt();
    forget_deliveries();
    check("after EOI, still up, it comes again", wait_delivery(1, 100000));
    set_rtc(0x0b, rtc(0x0b) & 0x0f);
    rtc(0x0c);
    end_of_interrupt();
    check("  remote IRR is clear", read_ioapic(0x10 + 2 * 8) >> 14 & 1, 0);
    forget_deliveries();
    check("down, it does not come", !wait_delivery(1, 5000000));
    write_ioapic(0x10 + 2 * 8, lvt_masked);
    load_pit(0, 4, 1000);
    eoi_in_handler = true;
}

TEST(power_management_timer) {
    // Its port stands in the FADT, found by the root pointer in the BIOS area (ACPI 5.2.5).
    const char* pointer = nullptr;
    for (word at = 0xe0000; at < 0x100000 && !pointer; at += 16)
        if (*reinterpret_cast<const uint64_t*>(at) == 0x2052545020445352) pointer = reinterpret_cast<const char*>(at);
    check("there is an ACPI root pointer", pointer != nullptr);
    if (!pointer) return;
    uint8_t sum = 0;
    for (unsigned i = 0; i < 20; ++i) sum = static_cast<uint8_t>(sum + pointer[i]);
    check("its checksum", sum, 0);
    const word rsdt = *reinterpret_cast<const uint32_t*>(pointer + 16);
    const unsigned tables = (*reinterpret_cast<const uint32_t*>(rsdt + 4) - 36) / 4;
    word fadt = 0, madt = 0;
    bool good = true;
    for (unsigned i = 0; i < tables; ++i) {
        const word t = *reinterpret_cast<const uint32_t*>(rsdt + 36 + 4 * i);
        const uint32_t signature = *reinterpret_cast<const uint32_t*>(t),
                       length = *reinterpret_cast<const uint32_t*>(t + 4);
        uint8_t s = 0;
        for (unsigned k = 0; k < length; ++k) s = static_cast<uint8_t>(s + *reinterpret_cast<const uint8_t*>(t + k));
        good = good && s == 0;
        if (signature == 0x50434146) fadt = t;
        if (signature == 0x43495041) madt = t;
    }
    check("every table's checksum", good);
    check("FADT and MADT are there", fadt && madt);
    if (!fadt || !madt) return;
    unsigned cpus = 0, ioapics = 0;
    const word end = madt + *reinterpret_cast<const uint32_t*>(madt + 4);
    for (word entry = madt + 44; entry < end; entry += *reinterpret_cast<const uint8_t*>(entry + 1)) {
        const uint8_t type = *reinterpret_cast<const uint8_t*>(entry);
        cpus += type == 0 && (*reinterpret_cast<const uint32_t*>(entry + 4) & 1);
        ioapics += type == 1;
    }
    check("MADT: enabled CPUs", cpus, 1);
    check("MADT: I/O APICs", ioapics, 1);
    check("MADT: the local APICs' address", *reinterpret_cast<const uint32_t*>(madt + 36), lapic_base);
    const auto timer = static_cast<uint16_t>(*reinterpret_cast<const uint32_t*>(fadt + 76));
    const uint32_t mask = *reinterpret_cast<const uint32_t*>(fadt + 112) >> 8 & 1 ? 0xffffffff : 0xffffff;
    const uint32_t start = in32(timer);
    check("the timer is within its width", (start & ~mask) == 0);
    check("it goes forward", until([=] { return ((in32(timer) - start) & mask) > 1000; }));
    // 3.579545 MHz against the PIT's 1.193182 MHz: three to one.
    out8(0x61, (in8(0x61) & ~2) | 1);
    load_pit(2, 0, 20000);
    const uint32_t before = in32(timer);
    until(channel2_out);
    const uint32_t took = (in32(timer) - before) & mask;
    check("it counts three for one of the PIT", took > 59500 && took < 60500);
    out8(0x61, in8(0x61) & ~1);
}
