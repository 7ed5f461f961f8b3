// SPDX-License-Identifier: Apache-2.0
// Fills every vector register that XCR0 can enable with a value of its own, lets time go by in which others run, and
// looks whether it is still there.
#include "program.hpp"

namespace {

struct alignas(64) State {
    uint8_t zmm[8][64];
    uint64_t mask[8];
    uint8_t x87[10];
};

void fill(State& state, uint8_t seed) {
    auto* const bytes = reinterpret_cast<uint8_t*>(&state);
    for (unsigned i = 0; i < sizeof state; ++i) bytes[i] = static_cast<uint8_t>(seed + 7 * i + (i >> 6));
    // A number that the x87 keeps as it is: normal, 1.x
    state.x87[7] |= 0x80;
    state.x87[8] = seed;
    state.x87[9] = 0x40;
}

#define EACH(op) op(0) op(1) op(2) op(3) op(4) op(5) op(6) op(7)

void load(const State& state) {
#define LOAD(n) asm volatile("vmovdqu64 %0, %%zmm" #n "; kmovq %1, %%k" #n ::"m"(state.zmm[n]), "m"(state.mask[n]));
    EACH(LOAD)
#undef LOAD
    asm volatile("fninit; fldt %0" ::"m"(state.x87));
}

void store(State& state) {
#define STORE(n) \
    asm volatile("vmovdqu64 %%zmm" #n ", %0; kmovq %%k" #n ", %1" : "=m"(state.zmm[n]), "=m"(state.mask[n]));
    EACH(STORE)
#undef STORE
    asm volatile("fstpt %0" : "=m"(state.x87));
}

bool same(const State& a, const State& b) {
    const auto* const x = reinterpret_cast<const uint8_t*>(&a);
    const auto* const y = reinterpret_cast<const uint8_t*>(&b);
    const unsigned size = reinterpret_cast<uint32_t>(a.x87 + 10) - reinterpret_cast<uint32_t>(&a);
    for (unsigned i = 0; i < size; ++i)
        if (x[i] != y[i]) return false;
    return true;
}

State wanted, found;

}  // namespace

extern "C" void main() {
    serial::start();
    uint32_t a = 0xd, b, c = 0, d;
    asm volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    if ((a & 0xe7) != 0xe7) {
        serial::put("vectors: no AVX-512 here\r\n");
        return;
    }
    asm volatile("mov %%cr4, %%eax; or $0x40600, %%eax; mov %%eax, %%cr4; xor %%ecx, %%ecx; xor %%edx, %%edx;"
                 "mov $0xe7, %%eax; xsetbv" ::
                     : "eax", "ecx", "edx");
    auto seed = static_cast<uint8_t>(rdtsc());
    unsigned rounds = 0, lost = 0;
    for (; rounds < 12; ++rounds) {
        seed = static_cast<uint8_t>(seed + 41);
        fill(wanted, seed);
        load(wanted);
        const uint64_t start = rdtsc();
        while (rdtsc() - start < 2'500'000) asm volatile("pause");  // more than a slice
        store(found);
        lost += !same(wanted, found);
    }
    serial::put("vectors: rounds=");
    serial::decimal(rounds);
    serial::put(" lost=");
    serial::decimal(lost);
    serial::put("\r\n");
    serial::drain();
}
