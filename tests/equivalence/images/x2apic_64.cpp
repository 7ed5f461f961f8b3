// SPDX-License-Identifier: Apache-2.0
// The local APIC in x2APIC mode (SDM Vol. 3A, 11.12): the registers as MSRs, their legal bits, self-IPI, EOI.
#include "interrupts.hpp"

namespace {

constexpr uint32_t apic_base = 0x1b, base = 0x800;
constexpr uint32_t msr_of(unsigned offset) { return base + offset / 0x10; }
constexpr uint32_t self_ipi = 0x83f;

uint64_t read(unsigned offset) { return read_msr(msr_of(offset)); }
void write(unsigned offset, uint64_t value) { write_msr(msr_of(offset), value); }
void x2_handler(Frame& f) {
    if (deliveries.count < 32) deliveries.vectors[deliveries.count] = static_cast<unsigned>(f.vector & 0xff);
    deliveries.count = deliveries.count + 1;
    write(lapic_eoi, 0);
}
void check_refuses(const char* name, unsigned offset, uint64_t value) {
    check_raises(name, GP, 0, [=] { write(offset, value); });
}
bool in(unsigned first, unsigned vector) { return read(first + vector / 32 * 0x10) >> (vector % 32) & 1; }

}  // namespace

TEST(entering) {
    mask_pics();
    if (!(cpuid(1).c >> 21 & 1)) return skip("x2APIC", "not there");
    write_lapic(lapic_svr, apic_enabled | 0xff);
    const uint64_t before = read_msr(apic_base);
    const uint32_t id = read_lapic(lapic_id) >> 24, version = read_lapic(lapic_version);
    check_quiet("x2APIC mode", [=] { write_msr(apic_base, before | 0x400); });
    check("IA32_APIC_BASE", read_msr(apic_base), before | 0x400);
    check("the ID has 32 bits", read(lapic_id), id);
    check("the version", read(lapic_version) & 0xff00ff, version & 0xff00ff);
    check("SVR is kept", read(lapic_svr), apic_enabled | 0xff);
    check("LDR follows the ID", read(lapic_ldr), (id >> 4) << 16 | 1u << (id & 15));
    check_raises("back to xAPIC mode at once", GP, 0, [=] { write_msr(apic_base, before); });
    check("leaf 0Bh has the ID", cpuid(0x0b).d, id);
}

TEST(legal_accesses) {
    if (!(read_msr(apic_base) & 0x400)) return;
    check_raises("write of the ID", GP, 0, [] { write(lapic_id, 0); });
    check_raises("write of the version", GP, 0, [] { write(lapic_version, 0); });
    check_raises("write of LDR", GP, 0, [] { write(lapic_ldr, 0); });
    check_raises("write of PPR", GP, 0, [] { write(lapic_ppr, 0); });
    check_raises("write of IRR", GP, 0, [] { write(lapic_irr, 0); });
    check_raises("write of ISR", GP, 0, [] { write(lapic_isr, 0); });
    check_raises("read of EOI", GP, 0, [] { read(lapic_eoi); });
    check_raises("read of self-IPI", GP, 0, [] { read_msr(self_ipi); });
    check_raises("DFR is not there", GP, 0, [] { read(lapic_dfr); });
    check_raises("nor is 831h", GP, 0, [] { read_msr(0x831); });
    check_raises("nor is 80Ch", GP, 0, [] { read_msr(0x80c); });
    check_raises("nor is 804h", GP, 0, [] { read_msr(0x804); });
    check_raises("nor is 8FFh", GP, 0, [] { read_msr(0x8ff); });
    check_refuses("EOI of 1", lapic_eoi, 1);
    check_refuses("ESR of 1", lapic_esr, 1);
    check_refuses("TPR of 100h", lapic_tpr, 0x100);
    check_refuses("SVR with bit 10", lapic_svr, apic_enabled | 0xff | 1 << 10);
    check_refuses("LVT timer with bit 8", lapic_lvt_timer, lvt_masked | 1 << 8);
    check_refuses("LVT error with bit 20", lapic_lvt_error, lvt_masked | 1 << 20);
    check_refuses("divide with bit 2", lapic_divide, 4);
    check_refuses("initial count with bit 32", lapic_initial_count, 1ull << 32);
    check_refuses("self-IPI with bit 8", 0x3f0, 0x1f0);
    handlers[0xf0] = x2_handler;  // should it come all the same
    let_in();
    check_quiet("ESR of 0", [] { write(lapic_esr, 0); });
    check_quiet("EOI of 0", [] { write(lapic_eoi, 0); });
    check_quiet("TPR of FFh", [] { write(lapic_tpr, 0xff); });
    check("CR8 is TPR[7:4]", read_cr8(), 15);
    write_cr8(3);
    check("TPR is CR8", read(lapic_tpr), 0x30);
    write(lapic_tpr, 0);
}

TEST(delivery) {
    if (!(read_msr(apic_base) & 0x400)) return;
    for (unsigned v = 0x20; v < 0xff; ++v) handlers[v] = x2_handler;
    handlers[0xff] = [](Frame&) {};
    for (unsigned lvt = lapic_lvt_timer; lvt <= lapic_lvt_error; lvt += 0x10) write(lvt, lvt_masked);
    forget_deliveries();
    write_msr(self_ipi, 0x41);
    check("self-IPI: requested", in(lapic_irr, 0x41));
    let_in();
    check("self-IPI: delivered", deliveries.count, 1);
    check("  vector", deliveries.vectors[0], 0x41);
    check("  ended", !in(lapic_isr, 0x41));
    const auto sent = [](uint64_t value) {
        forget_deliveries();
        write(lapic_icr, value);
        let_in();
        return deliveries.count;
    };
    check("ICR, self", sent(1 << 18 | 1 << 14 | 0x42), 1);
    check("ICR, physical", sent(read(lapic_id) << 32 | 1 << 14 | 0x43), 1);
    check("ICR, logical", sent(read(lapic_ldr) << 32 | 1 << 14 | 1 << 11 | 0x44), 1);
    check("ICR, broadcast", sent(0xffffffffull << 32 | 1 << 14 | 0x45), 1);
    check("ICR, to nobody", sent(7ull << 32 | 1 << 14 | 0x46), 0);
    check("ICR reads back in one", read(lapic_icr), 7ull << 32 | 1 << 14 | 0x46);
    forget_deliveries();
    write(lapic_divide, 0xb);
    write(lapic_lvt_timer, 0x71);
    write(lapic_initial_count, 100000);
    check("the timer", wait_delivery());
    check("  vector", deliveries.vectors[0], 0x71);
    if (cpuid(1).c >> 24 & 1) {
        forget_deliveries();
        write(lapic_lvt_timer, lvt_deadline | 0x72);
        write_msr(0x6e0, rdtsc() + 50000);
        check("the deadline", wait_delivery());
        check("  vector", deliveries.vectors[0], 0x72);
    }
    write(lapic_lvt_timer, lvt_masked);
    write_lapic(lapic_tpr, 0x55);
    check("the page is no longer there", read(lapic_tpr), 0);
}

// A write of TPR makes it deliverable; IF holds it back, whatever else the processor is interrupted by meanwhile.
TEST(masked) {
    if (!(read_msr(apic_base) & 0x400)) return;
    forget_deliveries();
    write(lapic_tpr, 0x50);
    write_msr(self_ipi, 0x41);
    let_in();
    check("TPR holds it back", deliveries.count, 0);
    write(lapic_tpr, 0);
    for (unsigned i = 0; i < 1'000'000; ++i) asm volatile("" ::: "memory");
    check("so does IF", deliveries.count, 0);
    let_in();
    check("it comes", deliveries.count, 1);
}
