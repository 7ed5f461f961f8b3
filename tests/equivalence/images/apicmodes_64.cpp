// SPDX-License-Identifier: Apache-2.0
// The modes of the local APIC and the ways between them (SDM Vol. 3A, 11.4.3, 11.4.4, 11.12.1, 11.12.2, 11.12.5), and
// what each mode shows in the register page and in the MSRs.
#include "interrupts.hpp"

namespace {

constexpr uint32_t apic_base = 0x1b, x2apic = 0x800, self_ipi = 0x83f;
constexpr uint64_t extended = 1 << 10, enabled = 1 << 11, boot_processor = 1 << 8;
constexpr word nothing = 0x50000000;

uint64_t base() { return read_msr(apic_base); }
bool in_x2apic_mode() { return base() & extended; }
uint32_t read_at(word address, unsigned offset) { return *reinterpret_cast<volatile uint32_t*>(address + offset); }
void check_refuses(const char* name, uint64_t value) {
    const uint64_t before = base();
    check_raises(name, GP, 0, [=] { write_msr(apic_base, value); });
    check("  and is as it was", base(), before);
}
uint64_t read(unsigned offset) { return read_msr(x2apic + offset / 0x10); }
void write(unsigned offset, uint64_t value) { write_msr(x2apic + offset / 0x10, value); }
// One bit for each of the 64 registers that can be read; the page of xAPIC mode has them 16 bytes apart.
uint64_t readable() {
    uint64_t map = 0;
    for (uint32_t n = 0; n < 64; ++n)
        if (events_of([=] { read_msr(x2apic + n); }).vector == no_event) map |= 1ull << n;
    return map;
}
void fill(word address, uint8_t value, word count) {
    asm volatile("rep stosb" : "+D"(address), "+c"(count) : "a"(value) : "memory");
}
void handler(Frame& f) {
    if (deliveries.count < 32) deliveries.vectors[deliveries.count] = static_cast<unsigned>(f.vector & 0xff);
    deliveries.count = deliveries.count + 1;
    in_x2apic_mode() ? write(lapic_eoi, 0) : end_of_interrupt();
}
bool apic_shown() { return cpuid(1).d >> 9 & 1; }

}  // namespace

TEST(register_page) {
    start_lapic();
    count_from(0x20, 0xfe);
    check("IA32_APIC_BASE", base(), lapic_base | enabled | boot_processor);
    check("CPUID shows the APIC", apic_shown());
    check("no x2APIC register can be read", readable(), 0);
    check_raises("or written", GP, 0, [] { write_msr(x2apic + 8, 0); });
    check_raises("  the self-IPI", GP, 0, [] { write_msr(self_ipi, 0x40); });
    for (unsigned bit : (const unsigned[12]){0, 1, 2, 3, 4, 5, 6, 7, 9, 48, 52, 63})
        if (events_of([=] { write_msr(apic_base, base() | 1ull << bit); }).vector != GP)
            show("reserved bit taken", bit);
    check_refuses("x2APIC without the APIC", (base() & ~enabled) | extended);
    check_quiet("the value that it has", [] { write_msr(apic_base, base()); });
}

TEST(moved_page) {
    const uint32_t version = read_lapic(lapic_version);
    const uint64_t before = base();
    write_msr(apic_base, nothing | enabled | boot_processor);
    check("the page is elsewhere", read_at(nothing, lapic_version), version);
    check("and no longer where it was", read_lapic(lapic_version), 0xffffffff);
    forget_deliveries();
    *reinterpret_cast<volatile uint32_t*>(nothing + lapic_icr) = 1 << 18 | 1 << 14 | 0x41;
    eoi_in_handler = false;
    let_in();
    *reinterpret_cast<volatile uint32_t*>(nothing + lapic_eoi) = 0;
    eoi_in_handler = true;
    check("an IPI from there", deliveries.count, 1);
    write_msr(apic_base, (nothing + 0x1000) | enabled | boot_processor);
    check("a page on", read_at(nothing + 0x1000, lapic_version), version);
    check("  and not where it was", read_at(nothing, lapic_version), 0xffffffff);
    write_msr(apic_base, before);
    check("back", read_lapic(lapic_version), version);
}

TEST(task_priority_and_requests_survive_the_way_to_x2apic) {
    if (!(cpuid(1).c >> 21 & 1)) return skip("x2APIC", "not there");
    start_lapic();
    write_lapic(lapic_lvt_error, 0xe3);
    write_lapic(lapic_divide, 0xa);
    write_cr8(5);
    forget_deliveries();
    write_lapic(lapic_icr, 1 << 18 | 1 << 14 | 0x42);
    const uint32_t id = read_lapic(lapic_id) >> 24;
    check_quiet("x2APIC mode", [] { write_msr(apic_base, base() | extended); });
    check("the task priority", read(lapic_tpr), 0x50);
    check("LVT error", read(lapic_lvt_error), 0xe3);
    check("the divide register", read(lapic_divide), 0xa);
    check("what was requested", read(lapic_irr + 0x20) >> 2 & 1, 1);
    check("the ID", read(lapic_id), id);
    for (unsigned v = 0x20; v < 0xff; ++v) handlers[v] = handler;
    write_cr8(0);
    let_in();
    check("and is delivered", deliveries.count, 1);
}

TEST(x2apic_mode) {
    if (!in_x2apic_mode()) return;
    const uint64_t before = base();
    check_refuses("to xAPIC mode", before & ~extended);
    check_refuses("to EXTD alone", before & ~enabled);
    check_quiet("the value that it has", [=] { write_msr(apic_base, before); });
    // ID, version, TPR, PPR, LDR, SVR, ISR, TMR, IRR, ESR, ICR, six LVTs, both counts, divide; no LVT CMCI.
    check("the registers that can be read", readable(), 0x43fd01ffffffa50c);
    check("the register page is not there", read_lapic(lapic_version), 0xffffffff);
    write_cr8(6);
    fill(lapic_base, 0, 4096);
    check("  nor can it be written", read(lapic_tpr), 0x60);
    check("  CR8", read_cr8(), 6);
    fill(lapic_base, 0xff, 4096);
    check("  with ones", read(lapic_svr), apic_enabled | 0xff);
    write_cr8(0);
    check_raises("TPR with bit 32", GP, 0, [] { write(lapic_tpr, 1ull << 32); });
    check_raises("EOI with bit 32", GP, 0, [] { write(lapic_eoi, 1ull << 32); });
    check_raises("self-IPI with bit 32", GP, 0, [] { write_msr(self_ipi, 1ull << 32 | 0x41); });
    check_raises("the current count", GP, 0, [] { write(lapic_current_count, 0); });
    check_raises("ICR's upper half", GP, 0, [] { write(lapic_icr_high, 0); });
    check_raises("APR", GP, 0, [] { read(lapic_apr); });
    check_raises("RRR", GP, 0, [] { read(0xc0); });
    check_raises("LVT LINT0 with bit 17", GP, 0, [] { write(lapic_lvt_lint0, lvt_masked | 1 << 17); });
    check_raises("ICR with bit 16", GP, 0, [] { write(lapic_icr, 1 << 18 | 1 << 16 | 0x41); });
    check_raises("ICR with bit 20", GP, 0, [] { write(lapic_icr, 1 << 18 | 1 << 20 | 0x41); });
    let_in();
    // A software disable is the same in both modes.
    write(lapic_lvt_error, 0xe3);
    write(lapic_svr, 0xff);
    check("a software disable masks the LVT", read(lapic_lvt_error), 0x100e3);
    write(lapic_svr, apic_enabled | 0xff);
    forget_deliveries();
    write_msr(self_ipi, 0x51);
    write_msr(self_ipi, 0x31);
    write_msr(self_ipi, 0x61);
    asm volatile("sti; nop; nop; nop; nop; cli" ::: "memory");
    check("three self-IPIs", deliveries.count, 3);
    check("  the highest first", deliveries.vectors[0] == 0x61 && deliveries.vectors[2] == 0x31);
    forget_deliveries();
    write_cr8(4);
    write_msr(self_ipi, 0x4f);
    let_in();
    check("CR8 holds its class back", deliveries.count, 0);
    write(lapic_tpr, 0x30);
    let_in();
    check("and TPR lets it in", deliveries.count, 1);
    write(lapic_tpr, 0);
}

TEST(disabled) {
    const uint64_t before = base();
    write_cr8(0);
    check_quiet("the APIC is switched off", [=] { write_msr(apic_base, before & ~(enabled | extended)); });
    check("  so it says", base(), before & ~(enabled | extended));
    check("CPUID shows it no longer", !apic_shown());
    check("no x2APIC register can be read", readable(), 0);
    check("the register page is not there", read_lapic(lapic_version), 0xffffffff);
    fill(lapic_base, 0xff, 4096);
    check("  nor after writes", read_lapic(lapic_version), 0xffffffff);
    write_cr8(9);
    check("CR8 keeps a value", read_cr8(), 9);
    check("  that no page shows", read_lapic(lapic_tpr), 0xffffffff);
    write_cr8(0);
    check_refuses("off: to x2APIC mode", before | enabled | extended);
    check_refuses("off: to EXTD alone", (before & ~enabled) | extended);
    for (unsigned i = 0; i < 100; ++i) pause();
    check("interrupts on, nothing comes", events_of([] { let_in(); }).vector, no_event);
}

// What an APIC that was off shows when it is on again: what it shows after a reset (11.4.3).
TEST(enabled_again) {
    const uint32_t id = cpuid(1).b >> 24;
    check_quiet("the APIC is switched on again", [] { write_msr(apic_base, (base() & ~extended) | enabled); });
    check("again: so it says", base(), lapic_base | enabled | boot_processor);
    check("again: CPUID shows it", apic_shown());
    check("again: ID", read_lapic(lapic_id), id << 24);
    check("again: SVR", read_lapic(lapic_svr), 0xff);
    check("again: TPR", read_lapic(lapic_tpr), 0);
    check("again: LDR", read_lapic(lapic_ldr), 0);
    check("again: DFR", read_lapic(lapic_dfr), 0xffffffff);
    check("again: divide register", read_lapic(lapic_divide), 0);
    bool masked = true, idle = true;
    for (unsigned lvt = lapic_lvt_timer; lvt <= lapic_lvt_error; lvt += 0x10)
        masked = masked && read_lapic(lvt) == lvt_masked;
    for (unsigned n = 0; n < 8; ++n)
        idle = idle && !read_lapic(lapic_irr + 0x10 * n) && !read_lapic(lapic_isr + 0x10 * n) &&
               !read_lapic(lapic_tmr + 0x10 * n);
    check("again: LVT", masked);
    check("again: nothing requested or in service", idle);
    check("again: initial count", read_lapic(lapic_initial_count), 0);
    count_from(0x20, 0xfe);
    start_lapic();
    forget_deliveries();
    write_lapic(lapic_icr, 1 << 18 | 1 << 14 | 0x43);
    let_in();
    check("again: an IPI", deliveries.count, 1);
    write_lapic(lapic_lvt_timer, 0x71);
    write_lapic(lapic_initial_count, 1000);
    check("again: the timer", wait_delivery(2, 1000000));
    // An interrupt that waits, and a timer that runs, do not outlive the APIC.
    write_lapic(lapic_icr, 1 << 18 | 1 << 14 | 0x44);
    write_lapic(lapic_initial_count, 1000000);
    write_msr(apic_base, base() & ~enabled);
    write_msr(apic_base, base() | enabled);
    start_lapic();
    let_in();
    check("again: what waited is gone", deliveries.count, 2);
    check_quiet("again: to x2APIC mode", [] { write_msr(apic_base, base() | extended); });
    check("again:   so it says", base(), lapic_base | enabled | extended | boot_processor);
}
