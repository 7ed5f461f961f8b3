// SPDX-License-Identifier: Apache-2.0
// Events whose delivery faults: gates that are absent, pages of the IDT and of stacks that are not there, for
// exceptions, software events, interrupts and NMIs (SDM Vol. 3A, 6.13, 6.15 and table 6-5); NMIs and IRET (6.7.1).
#include "interrupts.hpp"
#include "rings.hpp"

extern "C" {
extern uint64_t page_directories[];
extern uint64_t event_stubs[];
extern uint8_t kernel_stack_end[];
}

namespace {

constexpr word window = 0x40000000;
constexpr uint32_t own = 1 << 18, asserted = 1 << 14, nmi_mode = 4 << 8;
constexpr uint32_t unknown_msr = 0x4b564d00;
alignas(4096) uint64_t table[512];
alignas(4096) uint8_t pages[3][4096];
alignas(16) uint8_t ist_stack[4096];

word page_at(unsigned n) { return reinterpret_cast<word>(pages[n]); }
void map(unsigned n, bool present) {
    page_directories[window >> 21] = reinterpret_cast<word>(table) | 7;
    table[n] = present ? page_at(n) | 7 : 0;
    asm volatile("invlpg (%0)" ::"r"(window + n * 0x1000ul) : "memory");
}
uint64_t gate(unsigned vector, unsigned ist) {
    const word stub = reinterpret_cast<word>(&event_stubs[vector]);
    return (stub & 0xffff) | 8ull << 16 | (0x8e00ull | ist) << 32 | static_cast<uint64_t>(stub & 0xffff0000) << 32;
}
constexpr uint64_t present = 1ull << 47;
void set_ist(unsigned n, word stack) {
    auto* entry = reinterpret_cast<uint32_t*>(tss + 28 + 8 * n);
    entry[0] = static_cast<uint32_t>(stack);
    entry[1] = static_cast<uint32_t>(stack >> 32);
}
void set_rsp0(word stack) {
    auto* entry = reinterpret_cast<uint32_t*>(tss + 4);
    entry[0] = static_cast<uint32_t>(stack);
    entry[1] = static_cast<uint32_t>(stack >> 32);
}
// IST1 is good, IST2 is in a page that is not there.
void prepare() {
    start_lapic();
    map(0, false);
    set_ist(1, reinterpret_cast<word>(ist_stack + sizeof ist_stack));
    set_ist(2, window + 0x1000);
    set_gate(PF, gate(PF, 1));
    set_gate(DF, gate(DF, 1));
}
void tidy() {
    for (unsigned v = 0; v < 256; ++v) restore_gate(v);
    // An NMI that never had its IRET has it now.
    asm volatile("push $0; mov %%rsp, %%rax; push $0x10; push %%rax; push $2; push $8; push $1f; iretq\n"
                 "1: pop %%rax" ::: "rax", "memory", "cc");
}
void wait_a_little() {
    for (unsigned i = 0; i < 2000; ++i) pause();
}
void send_nmi() {
    write_lapic(lapic_icr_high, read_lapic(lapic_id));
    write_lapic(lapic_icr, asserted | nmi_mode);
}
void interrupt_self(unsigned vector) {
    write_lapic(lapic_icr, own | asserted | vector);
    enable_interrupts();
    wait_a_little();
    disable_interrupts();
}
void bad_wrmsr() { asm volatile("wrmsr" ::"c"(unknown_msr), "a"(0), "d"(0)); }
// A #DB that is a trap, by an instruction that is a VM exit in a guest.
void step_over_cpuid() {
    asm volatile("pushf; orl $0x100, (%%rsp); popf; cpuid; nop; pushf; andl $~0x100, (%%rsp); popf" ::
                     : "rax", "rbx", "rcx", "rdx", "cc", "memory");
}

volatile unsigned order[16], count;
void note(Frame& f) {
    if (count < 16) order[count] = static_cast<unsigned>(f.vector & 0xff);
    count = count + 1;
}

}  // namespace

TEST(absent_gates) {
    prepare();
    set_gate(0x61, 0);
    check_raises("an interrupt whose gate is none", GP, 0x61 * 8 + 3, [] { interrupt_self(0x61); });
    disable_interrupts();
    check("  it is in service", lapic_bit(lapic_isr, 0x61));
    end_of_interrupt();
    set_gate(0x62, gate(0x62, 0) & ~present);
    check_raises("an interrupt whose gate is not present", NP, 0x62 * 8 + 3, [] { interrupt_self(0x62); });
    disable_interrupts();
    end_of_interrupt();
    set_gate(0x63, (gate(0x63, 0) & ~(0xffffull << 16)) | 0x10ull << 16);
    check_raises("an interrupt whose gate leads to data", GP, 0x10 + 1, [] { interrupt_self(0x63); });
    disable_interrupts();
    end_of_interrupt();
    check_raises("INT of a gate to data", GP, 0x10, [] { asm volatile("int $0x63"); });
    check_raises("INT of a gate that is not present", NP, 0x62 * 8 + 2, [] { asm volatile("int $0x62"); });
    set_gate(BP, gate(BP, 0) & ~present);
    check_raises("INT3", NP, BP * 8 + 2, [] { asm volatile("int3"); });
    set_gate(NMI, gate(NMI, 0) & ~present);
    check_raises("an NMI", NP, NMI * 8 + 3, [] {
        send_nmi();
        wait_a_little();
    });
    tidy();
    prepare();
    set_gate(DB, gate(DB, 0) & ~present);
    check_raises("a single-step trap", NP, DB * 8 + 3, step_over_cpuid);
    set_gate(GP, gate(GP, 0) & ~present);
    check_raises("#GP by WRMSR", DF, 0, bad_wrmsr);
    set_gate(UD, gate(UD, 0) & ~present);
    check_raises("#UD by an instruction that VMX is off for", NP, UD * 8 + 3, [] { asm volatile("vmcall"); });
    tidy();
}

TEST(stacks_that_are_not_there) {
    prepare();
    set_gate(0x61, gate(0x61, 2));
    check_raises("an interrupt", PF, 2, [] { interrupt_self(0x61); });
    disable_interrupts();
    check("  CR2", last_event.cr2 >> 12, window >> 12);
    check("  it is in service", lapic_bit(lapic_isr, 0x61));
    end_of_interrupt();
    check_raises("INT", PF, 2, [] { asm volatile("int $0x61"); });
    set_gate(NMI, gate(NMI, 2));
    check_raises("an NMI", PF, 2, [] {
        send_nmi();
        wait_a_little();
    });
    tidy();
    prepare();
    set_gate(GP, gate(GP, 2));
    check_raises("#GP by WRMSR, then the page fault", PF, 2, bad_wrmsr);
    set_gate(DB, gate(DB, 2));
    check_raises("a single-step trap", PF, 2, step_over_cpuid);
    set_gate(PF, gate(PF, 2));
    check_raises("a page fault: double fault", DF, 0, [] { asm volatile("movb $0, (%0)" ::"r"(window) : "memory"); });
    tidy();
    prepare();
    // The page comes in the page fault's handler, and the event is taken again.
    handlers[PF] = [](Frame& f) {
        note(f);
        map(0, true);
    };
    handlers[0x64] = handlers[GP] = [](Frame& f) {
        note(f);
        if (f.vector == GP) f.ip += 2;  // of WRMSR
    };
    count = 0;
    set_gate(0x64, gate(0x64, 2));
    asm volatile("int $0x64" ::: "memory");
    check("INT comes again when the stack is there", count == 2 && order[0] == PF && order[1] == 0x64);
    map(0, false);
    count = 0;
    set_gate(GP, gate(GP, 2));
    bad_wrmsr();
    check("#GP, too", count == 2 && order[0] == PF && order[1] == GP);
    handlers[PF] = handlers[0x64] = handlers[GP] = nullptr;
    tidy();
}

// The IDT lies across two pages: vectors to 12 are in the first, and the second comes and goes.
TEST(idt_that_is_not_there) {
    prepare();
    struct [[gnu::packed]] {
        uint16_t limit;
        word base;
    } usual, split{0xfff, 0};
    asm volatile("sidt %0" : "=m"(usual));
    map(1, true);
    map(2, true);
    split.base = window + 0x2000 - 13 * 16;
    auto* copy = reinterpret_cast<uint8_t*>(split.base);
    for (unsigned i = 0; i < 0x80 * 16; ++i) copy[i] = reinterpret_cast<const uint8_t*>(usual.base)[i];
    split.limit = 0x80 * 16 - 1;
    map(2, false);
    asm volatile("lidt %0" ::"m"(split));
    const Event ud = events_of([] { asm volatile("ud2"); });
    const Event gp = events_of(bad_wrmsr);
    const Event software = events_of([] { asm volatile("int $0x61"); });
    const Event beyond = events_of([] { asm volatile("int $0x90"); });
    const Event external = events_of([] { interrupt_self(0x61); });
    disable_interrupts();
    asm volatile("lidt %0" ::"m"(usual));
    end_of_interrupt();
    check("#UD, of the page that is there", ud.vector, UD);
    check("#GP, of the other: double fault", gp.vector, DF);
    check("  CR2 is the page fault's gate", gp.cr2, split.base + PF * 16);
    check("INT: double fault", software.vector, DF);
    check("INT beyond the limit: double fault", beyond.vector, DF);
    check("an interrupt: double fault", external.vector, DF);
    tidy();
}

TEST(from_ring3) {
    prepare();
    for (unsigned i = 0; i < 4; ++i) page_directories[i] |= 4;
    asm volatile("mov %%cr3, %%rax; mov %%rax, %%cr3" ::: "rax", "memory");
    restore_gate(PF);
    set_gate(PF, gate(PF, 1));
    set_rsp0(window + 0x1000);
    check_event("INT without a stack for ring 0", RING3(2, "nop"), PF, 2);
    check_event("#GP without it: the page fault", RING3(2, "cli"), PF, 2);
    check_event("CPUID and #UD without it: the page fault", RING3(2, "cpuid; ud2"), PF, 2);
    set_rsp0(1ul << 47);
    check_event("INT with a stack that is not canonical", RING3(2, "int $0x80"), DF, 0);
    set_rsp0(reinterpret_cast<word>(kernel_stack_end));
    check_event("INT of a gate for ring 0", RING3(2, "int $0x90"), GP, 0x90 * 8 + 2);
    check_event("INT3", RING3(2, "int3"), BP);
    check_event("INT1", RING3(2, ".byte 0xf1"), DB);
    check_event("single step", RING3(0x102, "cpuid"), DB);
    check_raises("IRET to a null stack segment", GP, 0, [] {
        asm volatile("push $3; push $0; push $2; push $0x2b; push $0; iretq" ::: "memory");
    });
    check_raises("IRET to a stack segment of another ring", GP, 0x10, [] {
        asm volatile("push $0x10; push $0; push $2; push $0x2b; push $0; iretq" ::: "memory");
    });
    gdt[12] = 0x00cf73000000ffff;  // 60h: data of ring 3, not present
    const Event absent = events_of([] {
        asm volatile("push $0x63; push $0; push $2; push $0x2b; push $0; iretq" ::: "memory");
    });
    show("IRET to one that is not present", absent.vector);  // #SS by the SDM, #NP by the emulator, in a guest, too
    check("  error code", absent.error, 0x60);
    gdt[13] = 0x00af7b000000ffff;  // 68h: code of ring 3, not present
    check_raises("IRET to code that is not present", NP, 0x68, [] {
        asm volatile("push $0x23; push $0; push $2; push $0x6b; push $0; iretq" ::: "memory");
    });
    tidy();
}

TEST(nmis) {
    prepare();
    static volatile bool held;
    count = 0;
    handlers[BP] = note;
    handlers[NMI] = [](Frame& f) {
        note(f);
        if (count != 1) return;
        send_nmi();
        send_nmi();
        wait_a_little();
        held = count == 1;
        asm volatile("int3" ::: "memory");  // its IRET ends the blocking
        wait_a_little();
    };
    send_nmi();
    wait_a_little();
    check("an NMI waits for the handler of the one before", held);
    check("  or for any IRET", count == 3 && order[1] == BP && order[2] == NMI);
    // IRET that faults unblocks NMIs, too.
    count = 0;
    static volatile unsigned before;
    handlers[GP] = [](Frame& f) {
        before = count;
        note(f);
        f.ip += 2;  // of IRETQ
    };
    handlers[NMI] = [](Frame& f) {
        note(f);
        if (count != 1) return;
        send_nmi();
        wait_a_little();
        word stack;
        asm volatile("mov %%rsp, %0; push $3; push $0; push $2; push $0x2b; push $0; iretq; mov %0, %%rsp"
                     : "=&r"(stack)::"memory");
        wait_a_little();
    };
    send_nmi();
    wait_a_little();
    check("one is taken after an IRET that faults", count, 3);
    show("  at its first instruction", before);
    handlers[NMI] = handlers[GP] = handlers[BP] = nullptr;
    tidy();
}

TEST(pending_together) {
    prepare();
    handlers[NMI] = note;
    count_from(0x30, 0xfe);
    handlers[0x71] = handlers[0x72] = [](Frame& f) {
        note(f);
        end_of_interrupt();
    };
    handlers[DB] = [](Frame& f) {
        note(f);
        f.flags &= ~0x100ul;
    };
    count = 0;
    write_lapic(lapic_icr, own | asserted | 0x71);
    write_lapic(lapic_icr, own | asserted | 0x72);
    wait_a_little();
    asm volatile("sti; cpuid; nop; cli" ::: "rax", "rbx", "rcx", "rdx", "memory");
    check("two interrupts after STI and CPUID", count == 2 && (order[0] == 0x71 || order[0] == 0x72));
    show("  the first", order[0]);
    count = 0;
    write_lapic(lapic_icr, own | asserted | 0x71);
    wait_a_little();
    asm volatile("pushf; orl $0x300, (%%rsp); popf; cpuid; nop; nop; cli" ::
                     : "rax", "rbx", "rcx", "rdx", "cc", "memory");
    check("an interrupt and a trap", count == 2);
    show("  the first", order[0]);
    show("  the second", order[1]);
    count = 0;
    write_lapic(lapic_icr, own | asserted | 0x71);
    wait_a_little();
    handlers[0x80] = [](Frame& f) {
        note(f);
        f.flags |= 0x200;
    };
    asm volatile("int $0x80; nop; nop; cli" ::: "memory");
    check("an interrupt after the IRET that lets it in", count == 2 && order[0] == 0x80 && order[1] == 0x71);
    count = 0;
    handlers[UD] = [](Frame& f) {
        note(f);
        f.ip += 2;
        f.flags |= 0x200;
    };
    write_lapic(lapic_icr, own | asserted | 0x71);
    wait_a_little();
    asm volatile("ud2; nop; nop; cli" ::: "memory");
    check("after a fault's IRET, too", count == 2 && order[0] == UD && order[1] == 0x71);
    for (unsigned v = 0; v < 256; ++v) handlers[v] = nullptr;
}
