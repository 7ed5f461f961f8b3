// SPDX-License-Identifier: Apache-2.0
// Control registers in long mode: what may be written, what reads back, and what faults (SDM Vol. 3A, 2.5; Vol. 2B,
// MOV).
#include "runtime.hpp"

namespace {

constexpr word pe = 1, mp = 2, em = 4, ts = 8, et = 16, ne = 32, wp = 1 << 16, am = 1 << 18, nw = 1 << 29, cd = 1 << 30,
               pg = 1ul << 31;
constexpr word de = 1 << 3, pse = 1 << 4, pae = 1 << 5, mce = 1 << 6, pge = 1 << 7, pce = 1 << 8, osfxsr = 1 << 9,
               umip = 1 << 11, la57 = 1 << 12, vmxe = 1 << 13, smxe = 1 << 14, fsgsbase = 1 << 16, pcide = 1 << 17,
               osxsave = 1 << 18, smep = 1 << 20, smap = 1 << 21, pke = 1 << 22, cet = 1 << 23;

bool leaf7b(unsigned bit) { return cpuid(7).b >> bit & 1; }
bool leaf7c(unsigned bit) { return cpuid(7).c >> bit & 1; }

void check_cr0(const char* name, word value) {
    const word before = read_cr0();
    check_quiet(name, [=] { write_cr0(value); });
    check("  reads back", read_cr0(), value | et);
    write_cr0(before);
}
void check_cr0_fault(const char* name, word value) {
    const word before = read_cr0();
    check_raises(name, GP, 0, [=] { write_cr0(value); });
    check("  and CR0 is as it was", read_cr0(), before);
}
void check_cr4_bit(const char* name, word bit, bool there) {
    const word before = read_cr4();
    if (!there) {
        check_raises(name, GP, 0, [=] { write_cr4(before | bit); });
        check("  and CR4 is as it was", read_cr4(), before);
        return;
    }
    check_quiet(name, [=] { write_cr4(before | bit); });
    check("  reads back", read_cr4(), before | bit);
    write_cr4(before);
    check("  and off again", read_cr4(), before);
}

}  // namespace

TEST(cr0_bits) {
    const word cr0 = read_cr0();
    check("as started: PG, NE, ET, MP, PE", cr0 & (pg | ne | et | mp | pe), pg | ne | et | mp | pe);
    check_cr0("TS", cr0 | ts);
    check_cr0("EM", (cr0 & ~mp) | em);
    check_cr0("MP off", cr0 & ~mp);
    check_cr0("NE off", cr0 & ~ne);
    check_cr0("WP", cr0 | wp);
    check_cr0("AM", cr0 | am);
    check_cr0("CD", cr0 | cd);
    check_cr0("CD and NW", cr0 | cd | nw);
    check_cr0("ET cannot be cleared", cr0 & ~et);
    check_cr0("reserved bits below 32 are not kept", cr0);
    check_quiet("a reserved bit below 32 is ignored", [=] { write_cr0(cr0 | 1 << 10); });
    show("and reads as", (read_cr0() ^ cr0) & 1 << 10);
    write_cr0(cr0);
}

TEST(cr0_faults) {
    const word cr0 = read_cr0();
    check_cr0_fault("NW without CD", cr0 | nw);
    check_cr0_fault("PG without PE", cr0 & ~pe);
    check_cr0_fault("bit 32", cr0 | 1ul << 32);
    check_cr0_fault("bit 63", cr0 | 1ul << 63);
    check_cr0_fault("paging off in 64-bit mode", cr0 & ~pg);
}

TEST(cr4_bits) {
    check_cr4_bit("TSD", 4, true);
    check_cr4_bit("DE", de, true);
    check_cr4_bit("PSE", pse, true);
    check_cr4_bit("MCE", mce, true);
    check_cr4_bit("PGE", pge, true);
    check_cr4_bit("PCE", pce, true);
    check_cr4_bit("UMIP", umip, leaf7c(2));
    check_cr4_bit("FSGSBASE", fsgsbase, leaf7b(0));
    check_cr4_bit("PCIDE", pcide, cpuid(1).c >> 17 & 1);
    check_cr4_bit("OSXSAVE", osxsave, cpuid(1).c >> 26 & 1);
    check_cr4_bit("SMEP", smep, leaf7b(7));
    check_cr4_bit("SMAP", smap, leaf7b(20));
    check_cr4_bit("PKE", pke, leaf7c(3));
    check_cr4_bit("CET needs WP, and is there or not", cet, false);
    check_cr4_bit("SMXE", smxe, cpuid(1).c >> 6 & 1);
    check_cr4_bit("bit 15", 1 << 15, false);
    check_cr4_bit("bit 19", 1 << 19, false);
    check_cr4_bit("bit 31", 1ul << 31, false);
    check_cr4_bit("bit 32", 1ul << 32, false);
    check_cr4_bit("bit 63", 1ul << 63, false);
    const word cr4 = read_cr4();
    check_raises("PAE off in 64-bit mode", GP, 0, [=] { write_cr4(cr4 & ~pae); });
    check_raises("LA57 changed in 64-bit mode", GP, 0, [=] { write_cr4(cr4 | la57); });
    check("CR4 is as it was", read_cr4(), cr4);
}

TEST(pcid) {
    if (!(cpuid(1).c >> 17 & 1)) return skip("PCID", "not there");
    const word cr3 = read_cr3(), cr4 = read_cr4();
    write_cr3(cr3 | 1 << 3);
    check_raises("PCIDE while CR3[11:0] is not 0", GP, 0, [=] { write_cr4(cr4 | pcide); });
    write_cr3(cr3);
    check_quiet("PCIDE while it is", [=] { write_cr4(cr4 | pcide); });
    check_quiet("CR3 with a PCID", [=] { write_cr3(cr3 | 0x123); });
    check("CR3 reads back", read_cr3(), cr3 | 0x123);
    check_quiet("CR3 with bit 63, which asks not to flush", [=] { write_cr3(cr3 | 0x124 | 1ul << 63); });
    check("CR3 reads back without it", read_cr3(), cr3 | 0x124);
    const uint64_t descriptor[2] = {0x124, 0}, bad[2] = {1ul << 12, 0}, address[2] = {0x124, 1ul << 47};
    const auto invpcid = [](const uint64_t* d, word type) {
        asm volatile("invpcid (%0), %1" ::"r"(d), "r"(type) : "memory");
    };
    if (leaf7b(10)) {
        check_quiet("INVPCID 0", [&] { invpcid(descriptor, 0); });
        check_quiet("INVPCID 1", [&] { invpcid(descriptor, 1); });
        check_quiet("INVPCID 2", [&] { invpcid(descriptor, 2); });
        check_quiet("INVPCID 3", [&] { invpcid(descriptor, 3); });
        check_raises("INVPCID 4", GP, 0, [&] { invpcid(descriptor, 4); });
        check_raises("INVPCID with reserved bits", GP, 0, [&] { invpcid(bad, 1); });
        check_raises("INVPCID 0 of an address that is not canonical", GP, 0, [&] { invpcid(address, 0); });
    }
    write_cr3(cr3);
    check_raises("paging off with PCIDE", GP, 0, [] { write_cr0(read_cr0() & ~pg); });
    write_cr4(cr4);
    check_raises("CR3 with bit 63 without PCIDE", GP, 0, [=] { write_cr3(cr3 | 1ul << 63); });
    const unsigned bits = cpuid(0x80000008).a & 0xff;
    check_raises("CR3 beyond the physical address", GP, 0, [=] { write_cr3(cr3 | 1ul << bits); });
    check("CR3 is as it was", read_cr3(), cr3);
}

TEST(cr2_cr8) {
    write_cr2(0x123456789abcdef0);
    check("CR2 keeps what is written", read_cr2(), 0x123456789abcdef0);
    for (word value = 0; value < 16; value += 5) {
        write_cr8(value);
        check("CR8 keeps what is written", read_cr8(), value);
    }
    check_raises("CR8 of 16", GP, 0, [] { write_cr8(16); });
    check_raises("CR8 with bit 63", GP, 0, [] { write_cr8(1ul << 63); });
    check("CR8 is as it was", read_cr8(), 15);
    write_cr8(0);
}

TEST(registers_that_are_none) {
    check_raises("MOV from CR1", UD, 0, [] { asm volatile(".byte 0x0f, 0x20, 0xc8" ::: "rax"); });
    check_raises("MOV from CR5", UD, 0, [] { asm volatile(".byte 0x0f, 0x20, 0xe8" ::: "rax"); });
    check_raises("MOV to CR6", UD, 0, [] { asm volatile(".byte 0x0f, 0x22, 0xf0" ::"a"(0)); });
    check_raises("MOV to CR7", UD, 0, [] { asm volatile(".byte 0x0f, 0x22, 0xf8" ::"a"(0)); });
    check_raises("MOV to CR9", UD, 0, [] { asm volatile(".byte 0x44, 0x0f, 0x22, 0xc8" ::"a"(0)); });
    check_raises("MOV to CR15", UD, 0, [] { asm volatile(".byte 0x44, 0x0f, 0x22, 0xf8" ::"a"(0)); });
    check_raises("MOV from CR0 with LOCK", UD, 0, [] { asm volatile(".byte 0xf0, 0x0f, 0x20, 0xc0" ::: "rax"); });
}

TEST(machine_status_word) {
    const word cr0 = read_cr0();
    word value = ~0ul;
    asm volatile("smsw %0" : "+r"(value));
    check("SMSW of 64 bits", value, cr0);
    value = ~0ul;
    asm volatile("smsw %w0" : "+r"(value));
    check("SMSW of 16 bits", value, ~0xfffful | (cr0 & 0xffff));
    uint32_t memory = ~0u;
    asm volatile("smsw %0" : "+m"(memory));
    check("SMSW to memory is of 16 bits", memory, 0xffff0000 | (cr0 & 0xffff));
    asm volatile("lmsw %w0" ::"r"(cr0 | ts));
    check("LMSW sets TS", read_cr0(), cr0 | ts);
    asm volatile("clts");
    check("CLTS clears it", read_cr0(), cr0);
    asm volatile("lmsw %w0" ::"r"(cr0 | em));
    check("LMSW sets EM", read_cr0(), cr0 | em);
    asm volatile("lmsw %w0" ::"r"(cr0 & ~(pe | mp | em)));
    check("LMSW clears MP and EM, not PE", read_cr0(), cr0 & ~mp);
    asm volatile("lmsw %w0" ::"r"(cr0 & ~ne));
    check("LMSW leaves NE alone", read_cr0(), cr0);
    uint16_t from = static_cast<uint16_t>(cr0 | ts);
    asm volatile("lmsw %0" ::"m"(from));
    check("LMSW from memory", read_cr0(), cr0 | ts);
    write_cr0(cr0);
}

// Of features that the processor has not, or that are off.
TEST(instructions_that_are_none) {
    check_raises("VMCALL", UD, 0, [] { asm volatile("vmcall"); });
    check_raises("VMMCALL", UD, 0, [] { asm volatile(".byte 0x0f, 0x01, 0xd9"); });
    check_raises("VMFUNC", UD, 0, [] { asm volatile(".byte 0x0f, 0x01, 0xd4" ::"a"(0), "c"(0)); });
    check_raises("VMXOFF", UD, 0, [] { asm volatile("vmxoff"); });
    check_raises("VMLAUNCH", UD, 0, [] { asm volatile("vmlaunch"); });
    check_raises("VMREAD", UD, 0, [] { asm volatile("vmread %%rax, %%rcx" ::"a"(0) : "rcx", "cc"); });
    check_raises("INVEPT", UD, 0, [] { asm volatile(".byte 0x66, 0x0f, 0x38, 0x80, 0x08" ::"a"(gdt), "c"(1)); });
    check_raises("VMRUN", UD, 0, [] { asm volatile(".byte 0x0f, 0x01, 0xd8"); });
    check_raises("GETSEC", UD, 0, [] { asm volatile(".byte 0x0f, 0x37" ::"a"(0)); });
    check_raises("RSM", UD, 0, [] { asm volatile("rsm"); });
    check_raises("ENCLS", UD, 0, [] { asm volatile(".byte 0x0f, 0x01, 0xcf" ::"a"(0)); });
    check_raises("RDPRU", UD, 0, [] { asm volatile(".byte 0x0f, 0x01, 0xfd" ::"c"(0) : "rax", "rdx"); });
    check_raises("PCONFIG", UD, 0, [] { asm volatile(".byte 0x0f, 0x01, 0xc5" ::"a"(0)); });
    if (!leaf7b(11)) {
        check_raises("XBEGIN", UD, 0, [] { asm volatile(".byte 0xc7, 0xf8, 0, 0, 0, 0" ::: "rax"); });
        check_raises("XEND", UD, 0, [] { asm volatile(".byte 0x0f, 0x01, 0xd5"); });
    }
    if (!leaf7c(22)) check_raises("RDPID", UD, 0, [] { asm volatile(".byte 0xf3, 0x0f, 0xc7, 0xf8" ::: "rax"); });
    if (!leaf7c(5))
        check_raises("TPAUSE", UD, 0, [] { asm volatile(".byte 0x66, 0x0f, 0xae, 0xf0" ::"a"(0), "d"(0)); });
}
