// SPDX-License-Identifier: Apache-2.0
// Model-specific registers: what is not there, what cannot be written, and what reads back (SDM Vol. 4, chapter 2).
#include "runtime.hpp"

namespace {

constexpr uint32_t time_stamp_counter = 0x10, apic_base = 0x1b, feature_control = 0x3a, tsc_adjust = 0x3b,
                   mtrrcap = 0xfe, sysenter_cs = 0x174, sysenter_esp = 0x175, sysenter_eip = 0x176, mcg_cap = 0x179,
                   mcg_status = 0x17a, misc_enable = 0x1a0, mtrr_base0 = 0x200, mtrr_mask0 = 0x201, mtrr_fix64k = 0x250,
                   mtrr_fix4k = 0x268, pat = 0x277, mtrr_def = 0x2ff, efer = 0xc0000080, star = 0xc0000081,
                   lstar = 0xc0000082, cstar = 0xc0000083, fmask = 0xc0000084, fs_base = 0xc0000100,
                   gs_base = 0xc0000101, kernel_gs_base = 0xc0000102, tsc_aux = 0xc0000103, debugctl = 0x1d9;
constexpr uint64_t not_canonical = 0x0000800000000000, lowest_high = 0xffff800000000000;

void check_absent(const char* name, uint32_t msr) {
    check_raises(name, GP, 0, [=] { read_msr(msr); });
    check_raises("  write", GP, 0, [=] { write_msr(msr, 0); });
}
void check_keeps(const char* name, uint32_t msr, uint64_t value) {
    const uint64_t before = read_msr(msr);
    check_quiet(name, [=] { write_msr(msr, value); });
    check("  reads back", read_msr(msr), value);
    write_msr(msr, before);
}
void check_refuses(const char* name, uint32_t msr, uint64_t value) {
    const uint64_t before = read_msr(msr);
    check_raises(name, GP, 0, [=] { write_msr(msr, value); });
    check("  and is as it was", read_msr(msr), before);
}

}  // namespace

TEST(absent) {
    check_absent("MSR 2", 2);
    check_absent("MSR 15h", 0x15);
    check_absent("MSR 4FFh", 0x4ff);
    check_absent("MSR 800h without x2APIC mode", 0x800);
    check_absent("MSR 802h without x2APIC mode", 0x802);
    check_absent("MSR 83Fh without x2APIC mode", 0x83f);
    check_absent("MSR 1FFFh", 0x1fff);
    check_absent("MSR 12345678h", 0x12345678);
    check_absent("MSR 4000_0000h", 0x40000000);
    check_absent("MSR BFFF_FFFFh", 0xbfffffff);
    check_absent("MSR C000_007Fh", 0xc000007f);
    check_absent("MSR C000_1000h", 0xc0001000);
    check_absent("MSR C001_0015h", 0xc0010015);
    check_absent("MSR FFFF_FFFFh", 0xffffffff);
}

TEST(upper_halves) {
    word a = ~0ul, d = ~0ul;
    asm volatile("rdmsr" : "+a"(a), "+d"(d) : "c"(pat));
    check("RDMSR clears RAX[63:32]", a >> 32, 0);
    check("RDMSR clears RDX[63:32]", d >> 32, 0);
    word c = 0xffffffff00000000 | pat;
    asm volatile("rdmsr" : "=a"(a), "=d"(d) : "c"(c));
    check("RDMSR takes ECX", a, 0x00070406);
}

TEST(system_calls) {
    check_keeps("SYSENTER_CS", sysenter_cs, 0x8);
    check_keeps("SYSENTER_ESP", sysenter_esp, lowest_high);
    check_refuses("SYSENTER_ESP that is not canonical", sysenter_esp, not_canonical);
    check_keeps("SYSENTER_EIP", sysenter_eip, 0x7fffffffffff);
    check_refuses("SYSENTER_EIP that is not canonical", sysenter_eip, not_canonical);
    check_keeps("STAR", star, 0x0123456789abcdef);
    check_keeps("LSTAR", lstar, lowest_high);
    check_refuses("LSTAR that is not canonical", lstar, not_canonical);
    check_keeps("CSTAR", cstar, 0x1000);
    check_refuses("CSTAR that is not canonical", cstar, not_canonical);
    check_keeps("FMASK", fmask, 0x47700);
}

TEST(bases) {
    check_keeps("FS_BASE", fs_base, lowest_high);
    check_refuses("FS_BASE that is not canonical", fs_base, not_canonical);
    check_keeps("GS_BASE", gs_base, 0x123456789a);
    check_refuses("GS_BASE that is not canonical", gs_base, not_canonical);
    check_keeps("KERNEL_GS_BASE", kernel_gs_base, 0x7fffffffffff);
    check_refuses("KERNEL_GS_BASE that is not canonical", kernel_gs_base, not_canonical);
    write_msr(gs_base, 0x1111);
    write_msr(kernel_gs_base, 0x2222);
    asm volatile("swapgs");
    check("SWAPGS, GS_BASE", read_msr(gs_base), 0x2222);
    check("SWAPGS, KERNEL_GS_BASE", read_msr(kernel_gs_base), 0x1111);
    write_msr(gs_base, 0);
}

TEST(efer_bits) {
    const uint64_t before = read_msr(efer);
    check("LME and LMA", before & 0x500, 0x500);
    check_keeps("SCE", efer, before | 1);
    check_keeps("NXE", efer, before | 1 << 11);
    check_refuses("LME off while paging is on", efer, before & ~0x100ul);
    check_refuses("bit 1", efer, before | 2);
    check_refuses("bit 9", efer, before | 1 << 9);
    check_refuses("bit 12, SVME", efer, before | 1 << 12);
    check_refuses("bit 14, FFXSR", efer, before | 1 << 14);
    check_refuses("bit 63", efer, before | 1ul << 63);
    const Event cleared = events_of([=] { write_msr(efer, before & ~0x400ul); });
    show("LMA written as 0: event", cleared.vector);
    check("LMA cannot be cleared", read_msr(efer), before);
}

TEST(page_attributes) {
    check("PAT as at reset", read_msr(pat), 0x0007040600070406);
    check_keeps("PAT of all types", pat, 0x0706050401000607);
    check_refuses("PAT with type 2", pat, 0x0007040600070402);
    check_refuses("PAT with type 3", pat, 0x0307040600070406);
    check_refuses("PAT with a reserved bit", pat, 0x0007040600070486);
}

TEST(memory_types) {
    const uint64_t cap = read_msr(mtrrcap), def = read_msr(mtrr_def);
    show("MTRRCAP", cap & 0x5ff);
    check_raises("MTRRCAP cannot be written", GP, 0, [=] { write_msr(mtrrcap, cap); });
    check_keeps("MTRR_DEF_TYPE", mtrr_def, (def & ~0xfful) | 6);
    check_refuses("MTRR_DEF_TYPE of type 2", mtrr_def, (def & ~0xfful) | 2);
    check_refuses("MTRR_DEF_TYPE with bit 8", mtrr_def, def | 1 << 8);
    check_refuses("MTRR_DEF_TYPE with bit 12", mtrr_def, def | 1 << 12);
    check_keeps("MTRR base 0", mtrr_base0, 0x80000000);
    check_refuses("MTRR base 0 of type 3", mtrr_base0, 0x80000003);
    check_refuses("MTRR base 0 with bit 8", mtrr_base0, 0x80000100);
    check_refuses("MTRR base 0 beyond the address", mtrr_base0, 1ul << 60);
    check_keeps("MTRR mask 0", mtrr_mask0, 0xff80000800);
    check_refuses("MTRR mask 0 with bit 10", mtrr_mask0, 0xff80000400);
    check_keeps("fixed MTRR 64K", mtrr_fix64k, 0x0606060606060606);
    check_refuses("fixed MTRR 64K of type 2", mtrr_fix64k, 0x0606060602060606);
    check_keeps("fixed MTRR 4K", mtrr_fix4k, 0x0001040506060606);
    const unsigned count = cap & 0xff;
    check_raises("the MTRR after the last", GP, 0, [=] { read_msr(mtrr_base0 + 2 * count); });
}

TEST(time_stamp) {
    const uint64_t first = rdtsc(), second = rdtsc();
    check("RDTSC goes forward", second > first);
    const uint64_t by_msr = read_msr(time_stamp_counter), after = rdtsc();
    check("the MSR is the same clock", by_msr > second && after > by_msr);
    write_msr(time_stamp_counter, 1ul << 40);
    const uint64_t written = rdtsc();
    check("the TSC can be written", written >= 1ul << 40 && written < (1ul << 40) + 10000000);
    if (cpuid(7).b & 2) {
        const uint64_t adjust = read_msr(tsc_adjust);
        check("writing the TSC moves TSC_ADJUST", adjust > 1ul << 39 && adjust <= 1ul << 40);
        write_msr(tsc_adjust, adjust + (1ul << 41));
        const uint64_t moved = rdtsc();
        check("writing TSC_ADJUST moves the TSC", moved > 3ul << 40 && moved < (3ul << 40) + 20000000);
        write_msr(tsc_adjust, 0);
        check("TSC_ADJUST reads back", read_msr(tsc_adjust), 0);
        check("and the TSC is back", rdtsc() < 1ul << 40);
    }
    if (cpuid(0x80000001).d >> 27 & 1) {
        check_keeps("TSC_AUX", tsc_aux, 0x12345678);
        write_msr(tsc_aux, 0xabcdef);
        uint32_t aux;
        asm volatile("rdtscp" : "=c"(aux)::"eax", "edx");
        check("RDTSCP shows TSC_AUX", aux, 0xabcdef);
        check_refuses("TSC_AUX with bit 32", tsc_aux, 1ul << 32);
    }
    if (cpuid(1).c >> 24 & 1) {
        check("TSC_DEADLINE is disarmed", read_msr(0x6e0), 0);
    }
}

TEST(machine_checks) {
    if (!(cpuid(1).d >> 14 & 1)) return skip("machine checks", "not there");
    bool good = false;
    check_quiet("machine checks: MCG_CAP and MCG_STATUS are there", [&] {
        const unsigned banks = read_msr(mcg_cap) & 0xff;
        good = read_msr(mcg_status) == 0 && banks < 32;
        write_msr(mcg_status, 4);
        good = good && read_msr(mcg_status) == 4;
        write_msr(mcg_status, 0);
    });
    check("machine checks: MCG_STATUS keeps MCIP", good);
    check_raises("MCG_CAP cannot be written", GP, 0, [] { write_msr(mcg_cap, read_msr(mcg_cap)); });
}

TEST(debug_control) {
    uint64_t value = 1;
    check_quiet("DEBUGCTL: BTF", [&] {
        write_msr(debugctl, 2);
        value = read_msr(debugctl);
        write_msr(debugctl, 0);
    });
    check("DEBUGCTL: keeps BTF", value, 2);
    check_raises("DEBUGCTL with bit 5", GP, 0, [] { write_msr(debugctl, 1 << 5); });
    check_raises("DEBUGCTL with bit 16", GP, 0, [] { write_msr(debugctl, 1 << 16); });
}

TEST(others) {
    const uint64_t base = read_msr(apic_base);
    check("APIC_BASE: enabled, boot processor, at FEE0_0000h", base, 0xfee00900);
    check_refuses("APIC_BASE with bit 0", apic_base, base | 1);
    check_refuses("APIC_BASE with bit 9", apic_base, base | 1 << 9);
    check_refuses("APIC_BASE beyond the address", apic_base, base | 1ul << 60);
    check_refuses("x2APIC without the APIC", apic_base, (base & ~0x800ul) | 0x400);
    const Event version = events_of([] {
        write_msr(0x8b, 0);
        cpuid(1);
        read_msr(0x8b);
    });
    check("BIOS_SIGN_ID, as it is read", version.vector, no_event);
    check_raises("microcode revision's upper neighbour", GP, 0, [] { read_msr(0x8c); });
    check_quiet("PLATFORM_INFO", [] { read_msr(0xce); });
    check_quiet("MISC_ENABLE", [] { read_msr(misc_enable); });
}
