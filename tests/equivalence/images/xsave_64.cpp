// SPDX-License-Identifier: Apache-2.0
// The XSAVE feature set (SDM Vol. 1, chapter 13): XSETBV and its faults, the areas' layouts, and what is restored.
#include "runtime.hpp"

namespace {

constexpr word cr4_osfxsr = 1 << 9, cr4_osxsave = 1 << 18, cr0_ts = 1 << 3;
constexpr uint64_t x87 = 1, sse = 2, avx = 4, avx512 = 0xe0, everything = x87 | sse | avx | avx512;

alignas(64) uint8_t area[8192], other[8192];

void xsetbv(uint32_t number, uint64_t value) {
    asm volatile("xsetbv" ::"c"(number), "a"(static_cast<uint32_t>(value)), "d"(static_cast<uint32_t>(value >> 32)));
}
uint64_t xgetbv(uint32_t number) {
    uint32_t a, d;
    asm volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(number));
    return static_cast<uint64_t>(d) << 32 | a;
}
bool has(uint64_t components) { return (cpuid(0xd).a & components) == components; }
bool has_avx512() { return has(everything) && (cpuid(7).b >> 16 & 1); }

// A state in which every register has a value of its own.
void load_values() {
    asm volatile("fninit; fldpi; fld1");
    alignas(64) static uint64_t values[32][8];
    for (unsigned r = 0; r < 32; ++r)
        for (unsigned i = 0; i < 8; ++i) values[r][i] = 0x0101010101010101 * (r + 1) + (static_cast<uint64_t>(i) << 56);
    asm volatile(".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31\n"
                 "vmovdqu64 (\\n * 64)(%0), %%zmm\\n\n.endr" ::"r"(values) : "memory");
    asm volatile("mov $0x1111111111111111, %%rax; xor %%ecx, %%ecx\n"
                 ".irp n,1,2,3,4,5,6,7\nadd %%rax, %%rcx; kmovq %%rcx, %%k\\n\n.endr" ::: "rax", "rcx");
}
void clear_values() {
    asm volatile("fninit; vzeroall");
    asm volatile(".irp n,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31\nvpxorq %zmm\\n, %zmm\\n, %zmm\\n\n.endr");
    asm volatile(".irp n,1,2,3,4,5,6,7\nkxorq %k\\n, %k\\n, %k\\n\n.endr");
}

void fill(uint8_t* to, uint8_t value) {
    for (unsigned i = 0; i < sizeof area; ++i) to[i] = value;
}
uint64_t at(const uint8_t* from, unsigned offset) { return *reinterpret_cast<const uint64_t*>(from + offset); }
uint64_t sum(const uint8_t* from, unsigned first, unsigned last) {
    uint64_t s = 0;
    for (unsigned i = first; i < last; ++i) s = s * 31 + from[i];
    return s;
}
// The first byte, from the end, that was written over.
unsigned written(const uint8_t* from, uint8_t value) {
    unsigned end = sizeof area;
    while (end > 0 && from[end - 1] == value) --end;
    return end;
}

#define XSAVE(instruction, memory, mask) \
    asm volatile(instruction " %0"       \
                 : "+m"(memory)          \
                 : "a"(static_cast<uint32_t>(mask)), "d"(static_cast<uint32_t>((mask) >> 32)))

}  // namespace

TEST(without_osxsave) {
    check_raises("XGETBV", UD, 0, [] { xgetbv(0); });
    check_raises("XSETBV", UD, 0, [] { xsetbv(0, 1); });
    check_raises("XSAVE", UD, 0, [] { XSAVE("xsave", area, 1ull); });
    check_raises("XRSTOR", UD, 0, [] { XSAVE("xrstor", area, 1ull); });
}

TEST(xsetbv_faults) {
    write_cr4(read_cr4() | cr4_osxsave | cr4_osfxsr);
    check("XCR0 is 1 at first", xgetbv(0), 1);
    check_raises("XCR0 without x87", GP, 0, [] { xsetbv(0, 2); });
    check_raises("XCR0 of nothing", GP, 0, [] { xsetbv(0, 0); });
    check_raises("AVX without SSE", GP, 0, [] { xsetbv(0, 5); });
    check_raises("opmask alone", GP, 0, [] { xsetbv(0, 0x27); });
    check_raises("AVX-512 without AVX", GP, 0, [] { xsetbv(0, 0xe3); });
    check_raises("bit 63", GP, 0, [] { xsetbv(0, 1ull << 63 | 1); });
    check_raises("bit 8, which is IA32_XSS's", GP, 0, [] { xsetbv(0, 0x101); });
    check_raises("BNDREGS alone", GP, 0, [] { xsetbv(0, 0xb); });
    check_raises("XCR1", GP, 0, [] { xsetbv(1, 1); });
    check_raises("XGETBV of 2", GP, 0, [] { xgetbv(2); });
    check_raises("XSETBV with LOCK", UD, 0,
                 [] { asm volatile(".byte 0xf0, 0x0f, 0x01, 0xd1" ::"c"(0), "a"(1), "d"(0)); });
    check_raises("XSETBV with 66h", UD, 0,
                 [] { asm volatile(".byte 0x66, 0x0f, 0x01, 0xd1" ::"c"(0), "a"(1), "d"(0)); });
    check("XCR0 is as it was", xgetbv(0), 1);
    check_quiet("x87 and SSE", [] { xsetbv(0, 3); });
    check("are there", xgetbv(0), 3);
    if (has(everything)) {
        check_quiet("all", [] { xsetbv(0, everything); });
        check("are there, too", xgetbv(0), everything);
    }
}

TEST(alignment_and_headers) {
    check_raises("XSAVE to an address not a multiple of 64", GP, 0, [] { XSAVE("xsave64", area[16], 3ull); });
    check_raises("XRSTOR likewise", GP, 0, [] { XSAVE("xrstor64", area[16], 3ull); });
    fill(area, 0);
    area[512 + 16] = 1;
    check_raises("XRSTOR of a header with reserved bytes", GP, 0, [] { XSAVE("xrstor64", area, 3ull); });
    fill(area, 0);
    area[512 + 1] = 0x10;
    check_raises("XRSTOR of a component that XCR0 has not", GP, 0, [] { XSAVE("xrstor64", area, 3ull); });
    fill(area, 0);
    *reinterpret_cast<uint32_t*>(area + 24) = 0xffff0000;
    area[512] = 2;
    check_raises("XRSTOR of an illegal MXCSR", GP, 0, [] { XSAVE("xrstor64", area, 3ull); });
    write_cr0(read_cr0() | cr0_ts);
    check_raises("XSAVE with CR0.TS", NM, 0, [] { XSAVE("xsave64", area, 3ull); });
    check_quiet("XSETBV with CR0.TS", [] { xsetbv(0, xgetbv(0)); });
    write_cr0(read_cr0() & ~cr0_ts);
}

TEST(standard_form) {
    if (!has_avx512()) return skip("AVX-512", "not there");
    fill(area, 0xa5);
    for (unsigned i = 512; i < 576; ++i) area[i] = 0;
    load_values();
    XSAVE("xsave64", area, everything);
    check("XSTATE_BV", at(area, 512), everything);
    check("XCOMP_BV", at(area, 520), 0);
    check("XMM3", at(area, 160 + 3 * 16), 0x0404040404040404);
    check("YMM3", at(area, cpuid(0xd, 2).b + 3 * 16), 0x0604040404040404);
    check("K5", at(area, cpuid(0xd, 5).b + 5 * 8), 0x5555555555555555);
    check("ZMM3, upper half", at(area, cpuid(0xd, 6).b + 3 * 32), 0x0804040404040404);
    check("ZMM19", at(area, cpuid(0xd, 7).b + 3 * 64), 0x1414141414141414);
    check("its end is CPUID's", written(area, 0xa5), cpuid(0xd).b);
    show("FCW, FSW, FTW", at(area, 0) & 0xffffffffff);
    show("MXCSR and its mask", at(area, 24));
    show("ST0, ST1 and the XMM registers", sum(area, 32, 416));
    clear_values();
    XSAVE("xrstor64", area, everything);
    fill(other, 0xa5);
    for (unsigned i = 512; i < 576; ++i) other[i] = 0;
    XSAVE("xsave64", other, everything);
    check("restored and saved again", sum(other, 576, 8192), sum(area, 576, 8192));
    check("the legacy region, too", sum(other, 32, 416), sum(area, 32, 416));
}

namespace {

// Where the area does not hold what SDM Vol. 1, 13.4.3 says; 0: nowhere.
unsigned first_fault_of_compacted(uint64_t mask) {
    // The upper halves of YMM0 and ZMM0, K0, and ZMM16.
    static constexpr uint64_t first[] = {0, 0, 0x0301010101010101, 0, 0, 0, 0x0501010101010101, 0x1111111111111111};
    fill(area, 0xa5);
    load_values();
    XSAVE("xsavec64", area, mask);
    if (at(area, 512) != mask) return 512;
    if (at(area, 520) != (mask | 1ull << 63)) return 520;
    unsigned offset = 576;
    for (unsigned component = 2; component < 8; ++component) {
        if (!(mask >> component & 1)) continue;
        if (at(area, offset) != first[component]) return offset;
        offset += cpuid(0xd, component).a;
    }
    return written(area, 0xa5) == offset ? 0 : offset;
}

}  // namespace

TEST(compacted_form) {
    if (!has_avx512() || !(cpuid(0xd, 1).a & 2)) return skip("compacted form", "not there");
    check("compacted, everything", first_fault_of_compacted(everything), 0);
    check("compacted, AVX", first_fault_of_compacted(x87 | sse | avx), 0);
    check("compacted, AVX-512 without AVX", first_fault_of_compacted(x87 | sse | avx512), 0);
    check("compacted, SSE and the upper registers", first_fault_of_compacted(sse | 0x80), 0);
    check_quiet("compacted, restored", [] {
        fill(area, 0);
        load_values();
        XSAVE("xsavec64", area, everything);
        clear_values();
        XSAVE("xrstor64", area, everything);
    });
    fill(other, 0);
    XSAVE("xsavec64", other, everything);
    check("compacted, restored and saved again", sum(other, 576, 8192), sum(area, 576, 8192));
    xsetbv(0, everything);
    check("compacted, CPUID's size with all", cpuid(0xd, 1).b, 576 + 256 + 64 + 512 + 1024);
    xsetbv(0, 7);
    check("compacted, CPUID's size with AVX", cpuid(0xd, 1).b, 576 + 256);
    xsetbv(0, everything);
}

TEST(initial_states) {
    if (!has_avx512()) return skip("AVX-512", "not there");
    clear_values();
    fill(area, 0);
    XSAVE("xsave64", area, everything);
    show("XINUSE as XSAVE has it", at(area, 512));
    if (cpuid(0xd, 1).a & 4) show("XINUSE", xgetbv(1));
    load_values();
    fill(area, 0);
    XSAVE("xrstor64", area, everything);
    fill(other, 0);
    XSAVE("xsave64", other, everything);
    check("what XSTATE_BV lacks gets its initial state", sum(other, 576, 8192), 0);
    check("XMM, too", sum(other, 160, 416), 0);
    if (cpuid(0xd, 1).a & 1) {
        load_values();
        fill(area, 0);
        XSAVE("xsaveopt64", area, everything);
        check("XSAVEOPT of a changed state", at(area, 512), everything);
    }
}

TEST(vzeroupper_and_halves) {
    if (!has_avx512()) return skip("AVX-512", "not there");
    load_values();
    asm volatile("vzeroupper");
    fill(area, 0);
    XSAVE("xsave64", area, everything);
    show("XINUSE after VZEROUPPER", at(area, 512));
    check("XMM3 stays", at(area, 160 + 3 * 16), 0x0404040404040404);
    check("YMM3 is gone", at(area, cpuid(0xd, 2).b + 3 * 16), 0);
    check("ZMM3 is gone", at(area, cpuid(0xd, 6).b + 3 * 32), 0);
    check("ZMM19 stays", at(area, cpuid(0xd, 7).b + 3 * 64), 0x1414141414141414);
    xsetbv(0, 3);
    check_raises("AVX without XCR0.AVX", UD, 0, [] { asm volatile("vpxor %xmm0, %xmm0, %xmm0"); });
    xsetbv(0, 7);
    check_quiet("AVX with it", [] { asm volatile("vpxor %xmm0, %xmm0, %xmm0"); });
    check_raises("AVX-512 without XCR0[7:5]", UD, 0, [] { asm volatile("vpxorq %zmm0, %zmm0, %zmm0"); });
    xsetbv(0, everything);
    fill(area, 0);
    XSAVE("xsave64", area, everything);
    check("ZMM19 survives XCR0's changes", at(area, cpuid(0xd, 7).b + 3 * 64), 0x1414141414141414);
}
