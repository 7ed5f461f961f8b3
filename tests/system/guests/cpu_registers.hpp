// SPDX-License-Identifier: Apache-2.0
// A part of cpu.cpp: MSRs, control registers, extended state.
#pragma once

#include "cpu.hpp"

namespace {

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
    check("a write of the TSC takes", after >= before + 0x10'0000'0000 && after < before + 0x10'1000'0000,
          after - before);
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

}  // namespace
