// SPDX-License-Identifier: Apache-2.0
// The instructions of one CPUID: a loop of a hundred, less the same loop without it. Bare and as a guest. The least of
// many runs counts: what the hypervisor does for its console meanwhile is no part of the exit.
#include "../system/guests/program.hpp"

namespace {

constexpr int rounds = 100;
constexpr int runs = 100;

uint32_t loop_with() {
    const uint64_t start = rdtsc();
    for (int i = 0; i < rounds; ++i) {
        uint32_t a = 0, c = 0;
        asm volatile("cpuid" : "+a"(a), "+c"(c) : : "ebx", "edx");
    }
    return static_cast<uint32_t>(rdtsc() - start);
}

// The loop above with its CPUID taken out: what clobbers the same registers costs the same moves.
uint32_t loop_without() {
    const uint64_t start = rdtsc();
    for (int i = 0; i < rounds; ++i) {
        uint32_t a = 0, c = 0;
        asm volatile("" : "+a"(a), "+c"(c) : : "ebx", "edx");
    }
    return static_cast<uint32_t>(rdtsc() - start);
}

uint32_t least_of(uint32_t (*loop)()) {
    uint32_t least = loop();
    for (int i = 1; i < runs; ++i) {
        const uint32_t took = loop();
        if (took < least) least = took;
    }
    return least;
}

}  // namespace

extern "C" void main() {
    serial::start();
    const uint32_t with = least_of(loop_with), without = least_of(loop_without);
    serial::put("cpuid: with=");
    serial::decimal(with);
    serial::put(" without=");
    serial::decimal(without);
    serial::put(" rounds=");
    serial::decimal(rounds);
    serial::put("\r\n");
    serial::drain();
    emulator_off();
}
