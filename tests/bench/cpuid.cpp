// SPDX-License-Identifier: Apache-2.0
// The instructions of one CPUID: a loop of a thousand, less the same loop without it. Bare and as a guest.
#include "../system/guests/program.hpp"

namespace {

constexpr int rounds = 1000;

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

}  // namespace

extern "C" void main() {
    serial::start();
    loop_with();  // once for the tables that the hypervisor fills at first use
    const uint32_t with = loop_with(), without = loop_without();
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
