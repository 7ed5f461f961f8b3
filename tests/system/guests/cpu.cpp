// SPDX-License-Identifier: Apache-2.0
// The processor's corners, one line a check: what must fault does, and traps come where the SDM puts them. It runs as a
// guest and bare, and checks only what both must do; what CPUID hides must not be there.
#include "traps.hpp"

Trap last;
uint32_t recovery, trail[64];
uint8_t trail_vector[64];
alignas(16) uint64_t interrupt_table[256];
alignas(16) uint64_t segments[8];
uint32_t passed, failed;

extern "C" {
extern char trap_stubs[], leave_user[];
// Labels within asm statements below.
extern char step_0[], step_end[], broken[], behind_out[], behind_held[], behind_int1[], behind_int3[], behind_into[],
    behind_sti[], behind_ipi[];
extern uint32_t task_state[26];
void enter_user(void (*code)(), void* stack);
void enter_v86();
uint32_t real_mode_fault();
}

namespace {

alignas(16) uint8_t user_stack[4096];

constexpr uint32_t interrupt = 31, nmi_delivery = 4 << 8;
uint32_t nmis_to_send, nmis_in_handler;
volatile bool nmi_handler_halts;

volatile uint32_t& local_apic(uint32_t offset) { return *reinterpret_cast<volatile uint32_t*>(0xfee0'0000 + offset); }
// By its ID: the shorthand is for fixed interrupts alone (SDM volume 3, table 10-3).
void send_to_self(uint32_t command) {
    local_apic(0x310) = local_apic(0x20);
    local_apic(0x300) = command;
}

void lidt() {
    const struct [[gnu::packed]] {
        uint16_t limit;
        const void* base;
    } table{sizeof interrupt_table - 1, interrupt_table};
    asm volatile("lidt %0" ::"m"(table));
}

uint64_t gate(const char* handler, uint32_t dpl) {
    const auto address = reinterpret_cast<uint32_t>(handler);
    return uint64_t{address & 0xffff'0000} << 32 | uint64_t{0x8e00u | dpl << 13} << 32 | 8u << 16 | (address & 0xffff);
}

// The timer, a millisecond from now, through the I/O APIC.
void expire_soon(uint32_t redirection) {
    volatile uint32_t* const io_apic = reinterpret_cast<volatile uint32_t*>(0xfec0'0000);
    io_apic[0] = 0x10 + 2 * 2 + 1;
    io_apic[4] = local_apic(0x20);
    io_apic[0] = 0x10 + 2 * 2;
    io_apic[4] = redirection;
    out8(0x43, 0x30);
    out8(0x40, 1193 & 0xff);
    out8(0x40, 1193 >> 8);
}

}  // namespace

void set_gate(unsigned vector, bool present) {
    const uint64_t bit = uint64_t{1} << 47;
    interrupt_table[vector] = present ? interrupt_table[vector] | bit : interrupt_table[vector] & ~bit;
}

void start_traps() {
    for (unsigned i = 0; i < 32; ++i) interrupt_table[i] = gate(trap_stubs + 16 * i, i == 3 || i == 4 ? 3 : 0);
    interrupt_table[0x80] = gate(leave_user, 3);
    lidt();
    const auto tss = reinterpret_cast<uint32_t>(task_state);
    segments[1] = 0x00cf9b000000ffff;
    segments[2] = 0x00cf93000000ffff;
    segments[3] = 0x00cffb000000ffff;
    segments[4] = 0x00cff3000000ffff;
    segments[5] = uint64_t{tss & 0xff00'0000} << 32 | 0x8900ull << 32 | uint64_t{tss & 0xff'ffff} << 16 | 103;
    task_state[2] = 0x10;           // SS0
    task_state[25] = 104u << 16;    // no I/O permission bitmap
    const struct [[gnu::packed]] {
        uint16_t limit;
        const void* base;
    } table{sizeof segments - 1, segments};
    asm volatile("lgdt %0; ltr %1" ::"m"(table), "r"(uint16_t{0x28}));
}

void run_as_user(void (*code)()) { enter_user(code, user_stack + sizeof user_stack); }

extern "C" void trap(TrapFrame* frame) {
    uint32_t cr2, dr6;
    asm volatile("mov %%cr2, %0; mov %%dr6, %1" : "=r"(cr2), "=r"(dr6));
    if (last.count < 64) {
        trail[last.count] = frame->eip;
        trail_vector[last.count] = static_cast<uint8_t>(frame->vector);
    }
    last = {last.count + 1, frame->vector, frame->error, frame->eip, frame->eflags, frame->cs, cr2, dr6};
    if (frame->vector == DB) {
        frame->eflags |= 1 << 16;  // past an instruction breakpoint
        asm volatile("mov %0, %%dr6" ::"r"(0xffff0ff0));
        return;
    }
    if (frame->vector == 3 || frame->vector == 4) return;
    if (frame->vector == NMI) {
        if (nmi_handler_halts) {
            nmi_handler_halts = false;
            send_to_self(nmi_delivery);
            expire_soon(interrupt);
            asm volatile("sti; hlt; cli" ::: "memory");
            return;
        }
        if (nmis_to_send != 0) {
            --nmis_to_send;
            send_to_self(nmi_delivery);
            send_to_self(nmi_delivery);  // one is kept, not two
            nmis_in_handler = last.count;
        }
        return;
    }
    if (frame->vector == interrupt) {
        local_apic(0xb0) = 0;
        return;
    }
    if (recovery != 0) {
        frame->eip = recovery;
        recovery = 0;
        return;
    }
    check("an exception that nobody expected", false, frame->vector);
    emulator_off();
    for (;;) asm volatile("cli; hlt");
}

namespace {

uint32_t cr0() {
    uint32_t value;
    asm volatile("mov %%cr0, %0" : "=r"(value));
    return value;
}
uint32_t cr4() {
    uint32_t value;
    asm volatile("mov %%cr4, %0" : "=r"(value));
    return value;
}
void set_cr0(uint32_t value) { TRY("mov %0, %%cr0", ::"r"(value) : "memory", "cc"); }
void set_cr4(uint32_t value) { TRY("mov %0, %%cr4", ::"r"(value) : "memory", "cc"); }
void set_cr3(uint32_t value) { TRY("mov %0, %%cr3", ::"r"(value) : "memory", "cc"); }
bool shows(uint32_t word, unsigned bit) { return word >> bit & 1; }

void check_refused(const char* name, uint32_t msr, uint64_t value) {
    wrmsr(msr, value);
    check_fault(name, GP);
}
void check_kept(const char* name, uint32_t msr, uint64_t value) {
    const uint64_t before = rdmsr(msr);
    wrmsr(msr, value);
    const bool took = last.count == 0;
    const uint64_t found = rdmsr(msr);
    wrmsr(msr, before);
    check(name, took && found == value, found);
}

// ---- MSRs

void model_specific_registers() {
    const uint32_t nowhere[] = {0xdeadbeef, 0x40000000, 0x1fff, 0xc0001fff, 0x2};
    for (const uint32_t n : nowhere) {
        rdmsr(n);
        check_fault("rdmsr of an MSR that is not there", GP);
        check_refused("wrmsr of an MSR that is not there", n, 0);
    }
    rdmsr(0xdeadbeef);
    check("a fault is pushed with RF", shows(last.eflags, 16), last.eflags);

    check_refused("PAT: type 2", 0x277, 0x0002040600070406);
    check_refused("PAT: type 8", 0x277, 0x0007040600070408);
    check_kept("PAT: write combining", 0x277, 0x0107040600070406);
    check_refused("MTRRCAP is read-only", 0xfe, 0);
    check_refused("MTRR base: type 2", 0x202, 2);
    check_refused("MTRR base: reserved bit 8", 0x202, 0x106);
    check_refused("MTRR base: beyond the address width", 0x202, 1ull << (cpuid(0x80000008).eax & 0xff));
    check_refused("MTRR mask: reserved bit 0", 0x203, 1);
    check_kept("MTRR base", 0x202, 0x80000006);
    check_refused("fixed MTRR: type 7", 0x250, 7);
    check_kept("fixed MTRR", 0x268, 0x0606050501010000);
    check_refused("MTRR default type: type 3", 0x2ff, 0x803);
    check_refused("MTRR default type: reserved bit 12", 0x2ff, 0x1006);

    check_refused("SYSENTER_ESP: not canonical", 0x175, 0x8000'0000'0000);
    check_refused("SYSENTER_EIP: not canonical", 0x176, 0xffff'0000'0000'0000);
    check_kept("SYSENTER_EIP", 0x176, 0xffff'8000'1234'5678);
    check_refused("LSTAR: not canonical", 0xc0000082, 0x8000'0000'0000);
    check_kept("CSTAR", 0xc0000083, 0xffff'ffff'8100'0000);
    check_kept("KERNEL_GS_BASE", 0xc0000102, 0x7fff'ffff'f000);

    check_refused("EFER: bit 1", 0xc0000080, 2);
    check_refused("EFER: bit 63", 0xc0000080, 1ull << 63);
    check_kept("EFER: NXE, SCE and LME without paging", 0xc0000080, 0x901);
}

void time_stamp_counter() {
    const uint64_t adjust = rdmsr(0x3b);
    const uint64_t before = rdtsc();
    wrmsr(0x10, before + 0x10'0000'0000);
    const uint64_t after = rdtsc();
    check("a write of the TSC takes", after >= before + 0x10'0000'0000 && after < before + 0x10'1000'0000, after - before);
    const uint64_t moved = rdmsr(0x3b) - adjust;
    check("and shows in TSC_ADJUST", moved > 0xf'f000'0000 && moved <= 0x10'0000'0000, moved);
    wrmsr(0x3b, adjust);
    const uint64_t back = rdtsc();
    check("TSC_ADJUST takes it back", back >= before && back < before + 0x1000'0000, back - before);
    uint64_t then = rdtsc();
    bool monotonic = true;
    for (unsigned i = 0; i < 2000; ++i) {
        if (i % 16 == 0) cpuid(1);
        const uint64_t now = i % 8 == 0 ? rdmsr(0x10) : rdtsc();
        monotonic &= now > then;
        then = now;
    }
    check("the TSC never goes back", monotonic);
}

void apic_base() {
    constexpr uint32_t msr = 0x1b, EN = 1 << 11, EXTD = 1 << 10;
    const uint64_t at_first = rdmsr(msr);
    check("local APIC on, bootstrap processor", (at_first & (EN | EXTD | 1 << 8)) == (EN | 1 << 8), at_first);
    check_refused("x2APIC without EN", msr, (at_first & ~uint64_t{EN}) | EXTD);
    check_refused("a reserved bit", msr, at_first | 1);
    check_refused("beyond the address width", msr, at_first | 1ull << (cpuid(0x80000008).eax & 0xff));
    wrmsr(msr, at_first | EXTD);
    check_none("to x2APIC mode");
    check_value("its ID is CPUID's", rdmsr(0x802), cpuid(0xb).edx);
    check_refused("x2APIC to xAPIC", msr, at_first);
    wrmsr(0x838, 1ull << 32);
    check_fault("reserved bits of an x2APIC register", GP);
    rdmsr(0x80e);
    check_fault("no DFR in x2APIC mode", GP);
}

// The bare emulator cannot turn a local APIC on again, nor does it check TSC_AUX: for guests alone.
void apic_off() {
    constexpr uint32_t msr = 0x1b, EN = 1 << 11, EXTD = 1 << 10;
    const uint64_t base = rdmsr(msr) & ~uint64_t{EN | EXTD};
    wrmsr(msr, base);
    check_none("local APIC off");
    check("CPUID shows it", !shows(cpuid(1).edx, 9), cpuid(1).edx);
    check_refused("off to x2APIC", msr, base | EN | EXTD);
    wrmsr(msr, base | EN);
    check_none("local APIC on again");
    check("CPUID shows it again", shows(cpuid(1).edx, 9), cpuid(1).edx);
    rdmsr(0x802);
    check_fault("x2APIC registers are not there in xAPIC mode", GP);
    wrmsr(msr, 0xd000'0000 | EN | (base & 1 << 8));
    check_none("moved");
    check("its version is at the new place", (*reinterpret_cast<volatile uint32_t*>(0xd000'0030) & 0xf0) == 0x10);
    check("and nothing at the old one", *reinterpret_cast<volatile uint32_t*>(0xfee0'0030) == 0xffff'ffff);
    wrmsr(msr, base | EN);
}

// Nor does it wake from a HLT by the trap that follows it (SDM volume 2, HLT: a debug exception ends it).
void halt_and_trap() {
    forget();
    asm volatile("pushf; orl $0x100, (%%esp); popf; hlt; pushf; andl $~0x100, (%%esp); popf" ::: "memory", "cc");
    check("the trap after HLT ends it", last.count == 4, last.count);
}

// ---- control registers

void control_registers() {
    const uint32_t at_first = cr0(), at_first4 = cr4();
    set_cr0((at_first | 1u << 31) & ~1u);
    check_fault("CR0: PG without PE", GP);
    set_cr0((at_first & ~(1u << 30)) | 1u << 29);
    check_fault("CR0: NW without CD", GP);
    set_cr0(at_first | 3u << 29);
    check("CR0: CD and NW", last.count == 0 && (cr0() & 3u << 29) == 3u << 29, cr0());
    set_cr0((at_first & ~(3u << 29)) | 1u << 5 | 1u << 16);
    check("CR0: NE and WP", last.count == 0 && (cr0() & (1u << 16 | 1u << 5)) == (1u << 16 | 1u << 5), cr0());
    set_cr0((at_first & ~(1u << 5)) | 1u << 7);
    check("CR0: bit 7 does not exist, NE is off", last.count == 0 && (cr0() & (1u << 5 | 1u << 7)) == 0, cr0());
    set_cr0(at_first);
    uint32_t word;
    asm volatile("mov $0x0b, %%eax; lmsw %%ax; smsw %0" : "=r"(word)::"eax");
    check("LMSW sets MP and TS", (word & 0xf) == 0xb, word);
    asm volatile("xor %%eax, %%eax; lmsw %%ax; smsw %0" : "=r"(word)::"eax");
    check("LMSW does not clear PE", (word & 0xf) == 1, word);
    asm volatile("mov $9, %%eax; lmsw %%ax; clts; smsw %0" : "=r"(word)::"eax");
    check("CLTS", (word & 0xf) == 1, word);
    set_cr0(at_first);
    const unsigned reserved[] = {15, 19, 23, 24, 25, 31};
    for (const unsigned bit : reserved) {
        set_cr4(at_first4 | 1u << bit);
        check_fault("CR4: a reserved bit", GP);
    }
    if (!shows(cpuid(1).ecx, 5)) {
        set_cr4(at_first4 | 1u << 13);
        check_fault("CR4: VMXE where CPUID has no VMX", GP);
    }
    set_cr4(at_first4 | 1u << 17);
    check_fault("CR4: PCIDE outside IA-32e mode", GP);
    set_cr4(at_first4 | 1u << 6);
    check("CR4: MCE reads as written", last.count == 0 && (cr4() & 1u << 6) != 0, cr4());
    set_cr4(at_first4 & ~(1u << 6));
    check("CR4: and cleared", last.count == 0 && (cr4() & 1u << 6) == 0, cr4());
    set_cr4(at_first4);
}

alignas(4096) uint64_t directory[512], tables[3][4];

// PAE paging, identical over the first 4 MiB and the devices near 4 GiB.
void pae_paging() {
    directory[0] = 0x83;
    directory[1] = 0x20'0083;
    auto* const good = tables[0];
    good[0] = reinterpret_cast<uint32_t>(directory) | 1;
    tables[1][0] = good[0];
    tables[1][3] = 1ull << 5 | 1;   // a reserved bit
    tables[2][0] = good[0];
    tables[2][2] = 1ull << 63 | 2;  // not present: anything goes
    const uint32_t at_first = cr0(), at_first4 = cr4();
    set_cr4(at_first4 | 1u << 5);
    set_cr3(reinterpret_cast<uint32_t>(tables[1]));
    check_none("PAE: CR3 takes anything while paging is off");
    set_cr0(at_first | 1u << 31);
    check_fault("PAE: a reserved bit of a PDPTE when paging begins", GP);
    check("PAE: paging is still off", (cr0() >> 31) == 0, cr0());
    set_cr3(reinterpret_cast<uint32_t>(good));
    set_cr0(at_first | 1u << 31);
    check_none("PAE: paging begins");
    set_cr3(reinterpret_cast<uint32_t>(tables[1]));
    check_fault("PAE: a reserved bit of a PDPTE in MOV to CR3", GP);
    set_cr3(reinterpret_cast<uint32_t>(tables[2]));
    check_none("PAE: one that is not present");
    set_cr3(reinterpret_cast<uint32_t>(good));
    good[3] = 1ull << 7 | 1;
    set_cr4(cr4() | 1u << 3);
    check_none("PAE: CR4.DE does not load PDPTEs");
    set_cr4(cr4() | 1u << 7);
    check_fault("PAE: CR4.PGE does", GP);
    set_cr0(cr0() | 3u << 29);
    check_fault("PAE: CR0.CD does", GP);
    good[3] = 0;
    const uint64_t efer = rdmsr(0xc0000080);
    check_refused("EFER: LME while paging", 0xc0000080, efer | 1 << 8);
    set_cr0(at_first);
    check_none("PAE: paging ends");
    set_cr4(at_first4);
}

// ---- extended state

void xsetbv(uint32_t index, uint64_t value) { TRY("xsetbv", ::"c"(index), "A"(value) : "memory", "cc"); }

void extended_state() {
    if (!shows(cpuid(1).ecx, 26)) return;
    const uint32_t at_first4 = cr4();
    set_cr4(at_first4 & ~(1u << 18));
    check("OSXSAVE is off in CPUID", !shows(cpuid(1).ecx, 27));
    xsetbv(0, 1);
    check_fault("XSETBV without CR4.OSXSAVE", UD);
    set_cr4(at_first4 | 1u << 18 | 1u << 9);
    check("OSXSAVE is on in CPUID", last.count == 0 && shows(cpuid(1).ecx, 27));
    const uint64_t bad[] = {0, 2, 5, 0x23, 1ull << 63 | 1};
    for (const uint64_t value : bad) {
        xsetbv(0, value);
        check_fault("XSETBV of an impossible value", GP);
    }
    xsetbv(1, 1);
    check_fault("XSETBV of XCR1", GP);
    xsetbv(0, 3);
    check("XCR0 = 3: 576 bytes", last.count == 0 && cpuid(0xd).ebx == 576, cpuid(0xd).ebx);
    if (shows(cpuid(0xd).eax, 2)) {
        xsetbv(0, 7);
        check("XCR0 = 7: 832 bytes", last.count == 0 && cpuid(0xd).ebx == 832, cpuid(0xd).ebx);
    }
    xsetbv(0, 1);
    set_cr4(at_first4);
}

// ---- debug exceptions

// With TF set, a trap after each instruction: those that exit are no exception.
void single_step() {
    forget();
    asm volatile("pushf; orl $0x100, (%%esp); popf\n"
                 ".globl step_0, step_end\n"
                 "step_0: nop\n"
                 "1: cpuid\n"
                 "2: inb $0x61, %%al\n"
                 "3: movl $0x1b, %%ecx; 4: rdmsr\n"
                 "5: movl %%cr0, %%eax; 6: movl %%eax, %%cr0\n"
                 "7: outb %%al, $0x80\n"
                 "8: movl %%ss, %%eax; 9: movl %%eax, %%ss; cpuid\n"
                 "10: wbinvd\n"
                 "11: pushf; 12: andl $~0x100, (%%esp); 13: popf\n"
                 "step_end: nop" ::
                     : "eax", "ebx", "ecx", "edx", "memory", "cc");
    check_value("single step: traps", last.count, 14);
    check("single step: DR6.BS", shows(last.dr6, 14), last.dr6);
    check("single step: the last one is behind POPF", trail[13] == reinterpret_cast<uint32_t>(step_end), trail[13]);
    bool ascending = true;
    for (unsigned i = 1; i < 14; ++i) ascending &= trail[i] > trail[i - 1];
    check("single step: one after the other", ascending && trail[0] == reinterpret_cast<uint32_t>(step_0) + 1, trail[0]);
}

uint32_t stack_selector = 0x10;

void set_dr7(uint32_t value) { asm volatile("mov %0, %%dr7" ::"r"(value)); }

void breakpoints() {
    const uint32_t at_first4 = cr4();
    asm volatile("mov %0, %%dr0" ::"r"(broken));
    set_dr7(0x401);
    forget();
    asm volatile(".globl broken\nbroken: cpuid\nnop" ::"a"(0) : "ebx", "ecx", "edx", "memory", "cc");
    check("breakpoint on CPUID: once, before it",
          last.count == 1 && last.eip == reinterpret_cast<uint32_t>(broken) && (last.dr6 & 15) == 1, last.count);
    check("breakpoint: pushed without RF", !shows(last.eflags, 16), last.eflags);

    set_cr4(at_first4 | 1 << 3);
    asm volatile("mov %0, %%dr0" ::"r"(0x80));
    set_dr7(0x2'0402);
    forget();
    asm volatile("outb %%al, $0x80\n.globl behind_out\nbehind_out: nop" ::: "memory");
    check("breakpoint on a port: behind OUT",
          last.count == 1 && last.eip == reinterpret_cast<uint32_t>(behind_out) && (last.dr6 & 15) == 1, last.count);
    forget();
    asm volatile("inb $0x81, %%al" ::: "eax", "memory");
    check("another port: none", last.count == 0, last.count);
    TRY("mov %%dr4, %%eax", ::: "eax", "memory");
    check_fault("DR4 with CR4.DE", UD);
    set_cr4(at_first4 & ~(1u << 3));
    uint32_t dr4, dr6;
    asm volatile("mov %%dr4, %0; mov %%dr6, %1" : "=r"(dr4), "=r"(dr6));
    check("DR4 is DR6 without", dr4 == dr6, dr4);
    set_cr4(at_first4);

    uint32_t watched = 0;
    asm volatile("mov %0, %%dr1" ::"r"(&watched));
    set_dr7(0xd0'0404);
    forget();
    asm volatile("movl $1, %0" : "=m"(watched)::"memory");
    check("breakpoint on data", last.count == 1 && (last.dr6 & 15) == 2, last.count);
    // MOV SS holds the trap of its own access back, over CPUID, which exits.
    asm volatile("mov %0, %%dr1" ::"r"(&stack_selector));
    set_dr7(0xf0'0404);
    forget();
    asm volatile("mov %0, %%ss; cpuid\nbehind_held: nop" ::"m"(stack_selector), "a"(0) : "ebx", "ecx", "edx", "memory");
    check("breakpoint held back by MOV SS",
          last.count == 1 && (last.dr6 & 15) == 2 && last.eip == reinterpret_cast<uint32_t>(behind_held), last.eip);

    asm volatile("mov %0, %%dr1" ::"r"(0xfee00030));
    set_dr7(0xf0'0404);
    forget();
    asm volatile("movl (%0), %%eax" ::"r"(0xfee00030) : "eax", "memory");
    check("breakpoint on a device's register", last.count == 1 && (last.dr6 & 15) == 2, last.count);

    set_dr7(0x400 | 1 << 13);
    forget();
    asm volatile("mov %%dr0, %%eax" ::: "eax", "memory");
    check("general detect: DR6.BD", last.count == 1 && shows(last.dr6, 13), last.dr6);
    uint32_t dr7;
    asm volatile("mov %%dr7, %0" : "=r"(dr7));
    check("and GD is off in the handler and after", dr7 == 0x400, dr7);
    set_dr7(0x400);
}

void software_exceptions() {
    forget();
    asm volatile(".byte 0xf1\n.globl behind_int1\nbehind_int1: nop" ::: "memory");
    check("INT1", last.count == 1 && last.vector == DB && last.eip == reinterpret_cast<uint32_t>(behind_int1), last.eip);
    forget();
    asm volatile("int3\n.globl behind_int3\nbehind_int3: nop" ::: "memory");
    check("INT3", last.count == 1 && last.vector == 3 && last.eip == reinterpret_cast<uint32_t>(behind_int3), last.eip);
    forget();
    asm volatile("movb $0x7f, %%al; addb $1, %%al; into\n.globl behind_into\nbehind_into: nop" ::: "eax", "memory", "cc");
    check("INTO", last.count == 1 && last.vector == 4 && last.eip == reinterpret_cast<uint32_t>(behind_into), last.eip);
}

// SDM volume 3, table 6-2, 6.7.1 and 6.8.3.
void interrupts() {
    out8(0x21, 0xff);  // firmware's timer
    out8(0xa1, 0xff);
    local_apic(0xf0) = 0x1ff;
    nmis_to_send = 1;
    forget();
    send_to_self(nmi_delivery);
    asm volatile("nop; nop" ::: "memory");
    check("NMI: blocked until IRET, and one is kept", last.count == 2 && nmis_in_handler == 1, last.count);
    forget();
    asm volatile("movl %1, (%0); nop\nsti; nop\nbehind_sti: nop; cli" ::"r"(0xfee00300), "r"(1u << 18 | interrupt)
                 : "memory", "cc");
    check("STI: the interrupt comes one instruction later",
          last.count == 1 && last.vector == interrupt && last.eip == reinterpret_cast<uint32_t>(behind_sti), last.eip);
    forget();
    asm volatile("movl %1, (%0); nop; mov %%ss, %%eax; sti; mov %%eax, %%ss; nop\nbehind_ss: nop; cli" ::"r"(0xfee00300),
                 "r"(1u << 18 | interrupt)
                 : "eax", "memory", "cc");
    check("MOV SS after STI: another one later", last.count == 1, last.count);
    // A trap comes before an interrupt that arrived with the same instruction, which then finds IF clear.
    forget();
    asm volatile("pushf; orl $0x300, (%%esp); popf\n"
                 "movl %1, (%0)\n"
                 "behind_ipi: pushf; andl $~0x300, (%%esp); popf" ::"r"(0xfee00300),
                 "r"(1u << 18 | interrupt)
                 : "memory", "cc");
    const auto behind = reinterpret_cast<uint32_t>(behind_ipi);
    check("trap before interrupt", trail_vector[0] == DB && trail[0] == behind, trail[0]);
    check("and then the interrupt, at the same place", trail_vector[1] == interrupt && trail[1] == behind, trail[1]);
    check("and a trap of each instruction", last.count == 5, last.count);
    forget();
    send_to_self(interrupt);
    asm volatile("sti; hlt; cli" ::: "memory", "cc");
    check("HLT ends at once for an interrupt that waits", last.count == 1 && last.vector == interrupt, last.count);
    forget();
    expire_soon(interrupt);
    asm volatile("sti; hlt; cli" ::: "memory", "cc");
    check("HLT ends for an interrupt that comes", last.count == 1 && last.vector == interrupt, last.count);
    forget();
    expire_soon(nmi_delivery);
    asm volatile("cli; hlt" ::: "memory", "cc");
    check("HLT with IF clear ends for an NMI", last.count == 1 && last.vector == NMI, last.count);
    forget();
    nmi_handler_halts = true;
    send_to_self(nmi_delivery);
    asm volatile("nop; nop" ::: "memory");
    check("HLT in an NMI handler ends for an interrupt and not for the next NMI", trail_vector[1] == interrupt);
    check("which comes behind the first IRET", trail_vector[2] == NMI && last.count == 3, last.count);
}

void exceptions_of_exceptions() {
    set_gate(GP, false);
    rdmsr(0xdeadbeef);
    check_fault("#NP while #GP is delivered: double fault", DF);
    set_gate(GP, true);
    set_gate(UD, false);
    TRY("ud2", ::: "memory", "cc");
    check("#NP while #UD is delivered: serial", last.count == 1 && last.vector == 11 && last.error == (UD << 3 | 3),
          last.vector);
    set_gate(UD, true);
    check_value("#GP in real mode", real_mode_fault(), GP);
    lidt();
}

// ---- what is not there, and who may do what

void hidden_instructions() {
    const CpuidResult features = cpuid(1);
    if (!shows(features.ecx, 3)) {
        TRY("monitor", ::"a"(0), "c"(0), "d"(0) : "memory", "cc");
        check_fault("MONITOR", UD);
        TRY("mwait", ::"a"(0), "c"(0) : "memory", "cc");
        check_fault("MWAIT", UD);
    }
    if (!shows(features.ecx, 5)) {
        TRY("vmcall", ::: "memory", "cc");
        check_fault("VMCALL", UD);
        TRY("vmxoff", ::: "memory", "cc");
        check_fault("VMXOFF", UD);
        TRY("vmread %%eax, %%ecx", ::: "eax", "ecx", "memory", "cc");
        check_fault("VMREAD", UD);
        TRY("vmlaunch", ::: "memory", "cc");
        check_fault("VMLAUNCH", UD);
    }
    TRY("getsec", ::"a"(0) : "memory", "cc");
    check_fault("GETSEC without CR4.SMXE", UD);
    TRY("rsm", ::: "memory", "cc");
    check_fault("RSM outside SMM", UD);
    const bool counters = (cpuid(0).eax >= 0xa) && (cpuid(0xa).eax & 0xff) != 0;
    if (!counters) {
        TRY("rdpmc", ::"c"(0) : "eax", "edx", "memory", "cc");
        check_fault("RDPMC", GP);
    }
    if (!shows(cpuid(0x80000001).edx, 27)) {
        TRY("rdtscp", ::: "eax", "ecx", "edx", "memory", "cc");
        check_fault("RDTSCP", UD);
    }
    if (!shows(features.ecx, 26)) {
        set_cr4(cr4() | 1u << 18);
        check_fault("CR4: OSXSAVE where CPUID has no XSAVE", GP);
    }
    if (!shows(cpuid(7).ebx, 11) && cpuid(0).eax >= 7) {
        TRY("xtest", ::: "memory", "cc");
        check_fault("XTEST", UD);
    }
}

template <uint32_t vector>
void expect(const char* name) {
    check(name, last.count == 1 && last.vector == vector && last.error == 0 && (last.cs & 3) == 3);
}

// Compiled as one function each: they run at CPL 3 and must not print.
#define USER(name, instruction, ...)                          \
    void name() {                                             \
        TRY(instruction, ::__VA_ARGS__ : "eax", "edx", "memory", "cc"); \
        asm volatile("int $0x80");                            \
    }
USER(user_hlt, "hlt")
USER(user_rdmsr, "rdmsr", "c"(0x10))
USER(user_wrmsr, "wrmsr", "c"(0x10))
USER(user_invd, "invd")
USER(user_wbinvd, "wbinvd")
USER(user_clts, "clts")
USER(user_in, "inb $0x61, %%al")
USER(user_out, "outb %%al, $0x80")
USER(user_cli, "cli")
USER(user_cr0, "mov %%cr0, %%eax")
USER(user_dr7, "mov %%dr7, %%eax")
USER(user_invlpg, "invlpg 0")
USER(user_xsetbv, "xsetbv", "c"(0))
USER(user_rdpmc, "rdpmc", "c"(0))
USER(user_ltr, "ltr %%ax")
#undef USER

void user_cpuid() {
    forget();
    cpuid(0);
    asm volatile("int $0x80");
}
void user_unaligned() {
    alignas(8) static uint32_t place[2];
    TRY("pushf; orl $0x40000, (%%esp); popf; movl %%eax, 1(%0); nop", ::"r"(place) : "memory", "cc");
    asm volatile("pushf; andl $~0x40000, (%%esp); popf; int $0x80" ::: "memory", "cc");
}

void privileges() {
    set_cr4(cr4() | (shows(cpuid(1).ecx, 26) ? 1u << 18 : 0));
    const struct {
        const char* name;
        void (*code)();
    } all[] = {{"HLT at CPL 3", user_hlt},       {"RDMSR at CPL 3", user_rdmsr},   {"WRMSR at CPL 3", user_wrmsr},
               {"INVD at CPL 3", user_invd},     {"WBINVD at CPL 3", user_wbinvd}, {"CLTS at CPL 3", user_clts},
               {"IN at CPL 3", user_in},         {"OUT at CPL 3", user_out},       {"CLI at CPL 3", user_cli},
               {"MOV CR0 at CPL 3", user_cr0},   {"MOV DR7 at CPL 3", user_dr7},   {"INVLPG at CPL 3", user_invlpg},
               {"RDPMC at CPL 3", user_rdpmc},   {"LTR at CPL 3", user_ltr}};
    for (const auto& one : all) {
        run_as_user(one.code);
        expect<GP>(one.name);
    }
    if (shows(cpuid(1).ecx, 27)) {
        run_as_user(user_xsetbv);
        expect<GP>("XSETBV at CPL 3");
    }
    run_as_user(user_cpuid);
    check_none("CPUID at CPL 3");
    set_cr0(cr0() | 1u << 18);
    run_as_user(user_unaligned);
    expect<AC>("#AC at CPL 3");
    set_cr0(cr0() & ~(1u << 18));
}

// One instruction in virtual-8086 mode, with IOPL 3 and INT 80h behind it.
struct V86 {
    const char* name;
    bool faults;
    unsigned size;
    uint8_t code[4];
};

void virtual_8086_mode() {
    constexpr V86 all[] = {
        {"v86: CPUID", false, 2, {0x0f, 0xa2}},      {"v86: RDTSC", false, 2, {0x0f, 0x31}},
        {"v86: PUSHF", false, 1, {0x9c}},            {"v86: CLI with IOPL 3", false, 1, {0xfa}},
        {"v86: HLT", true, 1, {0xf4}},               {"v86: RDMSR", true, 2, {0x0f, 0x32}},
        {"v86: WRMSR", true, 2, {0x0f, 0x30}},       {"v86: MOV from CR0", true, 3, {0x0f, 0x20, 0xc0}},
        {"v86: MOV to DR7", true, 3, {0x0f, 0x23, 0xf8}}, {"v86: INVD", true, 2, {0x0f, 0x08}},
        {"v86: CLTS", true, 2, {0x0f, 0x06}},        {"v86: LMSW", true, 3, {0x0f, 0x01, 0xf0}},
        {"v86: IN without a bitmap", true, 2, {0xe4, 0x61}}, {"v86: OUT without a bitmap", true, 2, {0xe6, 0x80}},
    };
    auto* const code = reinterpret_cast<volatile uint8_t*>(0x7000);
    for (const V86& one : all) {
        for (unsigned i = 0; i < one.size; ++i) code[i] = one.code[i];
        code[one.size] = 0xcd;
        code[one.size + 1] = 0x80;
        forget();
        recovery = one.size;
        enter_v86();
        recovery = 0;
        if (one.faults)
            check(one.name, last.count == 1 && last.vector == GP && last.error == 0 && last.eip == 0 &&
                                shows(last.eflags, 17));
        else
            check_none(one.name);
    }
}

}  // namespace

extern "C" void main() {
    serial::start();
    start_traps();
    serial::put("cpu: start\r\n");
    model_specific_registers();
    time_stamp_counter();
    control_registers();
    pae_paging();
    extended_state();
    single_step();
    breakpoints();
    software_exceptions();
    interrupts();
    exceptions_of_exceptions();
    hidden_instructions();
    privileges();
    virtual_8086_mode();
    apic_base();
    if (shows(cpuid(1).ecx, 31)) {
        if (shows(cpuid(0x80000001).edx, 27)) check_refused("TSC_AUX: bit 32", 0xc0000103, 1ull << 32);
        apic_off();
        halt_and_trap();
    }
    serial::put("cpu: ");
    serial::decimal(passed);
    serial::put(" passed, ");
    serial::decimal(failed);
    serial::put(" failed\r\n");
    serial::drain();
    emulator_off();
}
