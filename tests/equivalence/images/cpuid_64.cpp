// SPDX-License-Identifier: Apache-2.0
// CPUID: what is shown agrees with itself and with what works (SDM Vol. 2A, CPUID).
#include "runtime.hpp"

namespace {

constexpr word cr4_osxsave = 1 << 18, cr4_pke = 1 << 22, cr4_osfxsr = 1 << 9;

bool bit(uint32_t value, unsigned number) { return value >> number & 1; }

void show_leaf(const char* name, const Leaf& l) {
    put(name);
    const uint32_t values[] = {l.a, l.b, l.c, l.d};
    for (const uint32_t value : values) {
        put(" ");
        put_hex(value, 8);
    }
    put("\n");
}

}  // namespace

TEST(identification) {
    const Leaf zero = cpuid(0);
    check("vendor EBX", zero.b, 0x756e6547);
    check("vendor EDX", zero.d, 0x49656e69);
    check("vendor ECX", zero.c, 0x6c65746e);
    show("family, model, stepping", cpuid(1).a);
    for (uint32_t leaf = 0x80000002; leaf <= 0x80000004; ++leaf) show_leaf("brand", cpuid(leaf));
    show("largest extended leaf", cpuid(0x80000000).a);
    const Leaf sizes = cpuid(0x80000008);
    show("physical and linear address bits", sizes.a & 0xffff);
    check("EBX[31:24] of leaf 1 is the initial APIC ID", cpuid(1).b >> 24, cpuid(0x0b).d & 0xff);
    check("CLFLUSH line", cpuid(1).b >> 8 & 0xff, 8);
}

TEST(upper_halves_are_cleared) {
    word a = 0x1234567800000000, b = ~0ul, c = 0xffffffff00000000, d = ~0ul;
    asm volatile("cpuid" : "+a"(a), "+b"(b), "+c"(c), "+d"(d));
    check("RAX[63:32]", a >> 32, 0);
    check("RBX[63:32]", b >> 32, 0);
    check("RCX[63:32]", c >> 32, 0);
    check("RDX[63:32]", d >> 32, 0);
}

TEST(above_the_largest_leaf) {
    const uint32_t largest = cpuid(0).a;
    const Leaf last = cpuid(largest), above = cpuid(largest + 1), far = cpuid(0x7fffffff);
    check("the leaf above is the largest: EAX", above.a, last.a);
    check("the leaf above is the largest: EBX", above.b, last.b);
    check("a leaf far above, too: EAX", far.a, last.a);
    check("a leaf far above, too: EDX", far.d, last.d);
}

TEST(what_is_shown_works) {
    const Leaf one = cpuid(1), seven = cpuid(7), extended = cpuid(0x80000001);
    const auto works = [](const char* name, bool shown, auto code) {
        if (shown) check_quiet(name, code);
        else check_raises(name, UD, 0, code);
    };
    works("CMPXCHG16B", bit(one.c, 13), [] {
        alignas(16) uint64_t target[2] = {};
        asm volatile("cmpxchg16b %0" : "+m"(target) : "a"(0), "d"(0), "b"(1), "c"(2) : "memory");
    });
    works("MOVBE", bit(one.c, 22), [] {
        uint32_t from = 1, to;
        asm volatile("movbe %1, %0" : "=r"(to) : "m"(from));
    });
    works("POPCNT", bit(one.c, 23), [] { asm volatile("popcnt %%eax, %%eax" ::: "eax"); });
    works("RDRAND", bit(one.c, 30), [] { asm volatile("rdrand %%eax" ::: "eax"); });
    works("RDSEED", bit(seven.b, 18), [] { asm volatile("rdseed %%eax" ::: "eax"); });
    works("MONITOR", bit(one.c, 3), [] {
        static uint64_t line;
        asm volatile("monitor" ::"a"(&line), "c"(0), "d"(0));
    });
    works("VMXOFF", false, [] { asm volatile("vmxoff"); });
    works("VMCALL", false, [] { asm volatile(".byte 0x0f, 0x01, 0xc1" ::: "eax"); });
    works("GETSEC", false, [] { asm volatile(".byte 0x0f, 0x37" ::"a"(0), "b"(0)); });
    works("RDTSCP", bit(extended.d, 27), [] { asm volatile("rdtscp" ::: "eax", "ecx", "edx"); });
    works("CLFLUSHOPT", bit(seven.b, 23), [] {
        uint64_t line;
        asm volatile("clflushopt %0" : "+m"(line));
    });
    works("CLWB", bit(seven.b, 24), [] {
        uint64_t line;
        asm volatile("clwb %0" : "+m"(line));
    });
    works("ADCX", bit(seven.b, 19), [] { asm volatile("adcx %%eax, %%eax" ::: "eax", "cc"); });
    works("STAC", bit(seven.b, 20), [] { asm volatile("stac; clac"); });
    works("INVPCID", bit(seven.b, 10), [] {
        const uint64_t descriptor[2] = {};
        asm volatile("invpcid %0, %1" ::"m"(descriptor), "r"(2ul));
    });
    works("RDFSBASE without CR4.FSGSBASE", false, [] { asm volatile("rdfsbase %%rax" ::: "rax"); });
    works("XGETBV without CR4.OSXSAVE", false, [] { asm volatile("xgetbv" ::"c"(0) : "eax", "edx"); });
    works("RDPKRU without CR4.PKE", false, [] { asm volatile(".byte 0x0f, 0x01, 0xee" ::"c"(0) : "eax", "edx"); });
    works("RDPID", bit(seven.c, 22), [] { asm volatile("rdpid %%rax" ::: "rax"); });
    works("XBEGIN", bit(seven.b, 11), [] { asm volatile("xbegin 1f; xend; 1:" ::: "eax"); });
    works("SGX", bit(seven.b, 2), [] { asm volatile(".byte 0x0f, 0x01, 0xcf" ::"a"(0), "b"(0), "c"(0)); });
}

TEST(what_follows_control_registers) {
    check("OSXSAVE is clear", bit(cpuid(1).c, 27), false);
    write_cr4(read_cr4() | cr4_osxsave);
    check("OSXSAVE follows CR4.OSXSAVE", bit(cpuid(1).c, 27), true);
    write_cr4(read_cr4() & ~cr4_osxsave);
    check("and back", bit(cpuid(1).c, 27), false);
    check("OSPKE is clear", bit(cpuid(7).c, 4), false);
}

TEST(state_components) {
    const word cr4 = read_cr4();
    if (!bit(cpuid(1).c, 26)) return skip("XSAVE", "not there");
    write_cr4(cr4 | cr4_osxsave | cr4_osfxsr);
    const Leaf main = cpuid(0xd);
    const uint64_t possible = static_cast<uint64_t>(main.d) << 32 | main.a;
    show("components that XCR0 can have", possible);
    asm volatile("xsetbv" ::"c"(0), "a"(1), "d"(0));
    check("size with x87 alone", cpuid(0xd).b, 576);
    asm volatile("xsetbv" ::"c"(0), "a"(3), "d"(0));
    check("size with SSE", cpuid(0xd).b, 576);
    if (possible & 4) {
        asm volatile("xsetbv" ::"c"(0), "a"(7), "d"(0));
        check("size with AVX", cpuid(0xd).b, 832);
    }
    asm volatile("xsetbv" ::"c"(0), "a"(main.a), "d"(main.d));
    uint32_t end = 576;
    for (unsigned component = 2; component < 63; ++component) {
        if (!(possible >> component & 1)) continue;
        const Leaf l = cpuid(0xd, component);
        show("component", component);
        show("  size", l.a);
        show("  offset", l.b);
        show("  flags", l.c);
        if (l.b + l.a > end) end = l.b + l.a;
    }
    check("size with all of them", cpuid(0xd).b, end);
    check("size that XCR0 can come to", cpuid(0xd).c, end);
    asm volatile("xsetbv" ::"c"(0), "a"(1), "d"(0));
    write_cr4(cr4);
}

TEST(topology) {
    const Leaf level = cpuid(0x0b, 0), core = cpuid(0x0b, 1), beyond = cpuid(0x0b, 2);
    check("level 0 is threads", level.c, 0x100);
    check("level 1 is cores", core.c, 0x201);
    check("there is no level 2", beyond.c, 2);
    check("nothing is in level 2", beyond.a | beyond.b, 0);
    check("the x2APIC ID is the same in each", level.d, core.d);
    check("threads of a core: at least one", (level.b & 0xffff) >= 1);
    check("threads of a package: not fewer", (core.b & 0xffff) >= (level.b & 0xffff));
    check("bits for a core fit into a package's", (core.a & 0x1f) >= (level.a & 0x1f));
}

TEST(hypervisor) {
    // Leaves 4000_0000h up are a hypervisor's, and none's on the bare machine (bit 31 of leaf 1 ECX says which).
    if (!bit(cpuid(1).c, 31)) {
        check("without a hypervisor its leaf is the largest basic one", cpuid(0x40000000).a, cpuid(cpuid(0).a).a);
        return;
    }
    check("with a hypervisor its leaf says how many there are", cpuid(0x40000000).a >= 0x40000000);
}
