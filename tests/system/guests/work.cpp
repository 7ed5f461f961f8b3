// SPDX-License-Identifier: Apache-2.0
// A fixed amount of work, and the ticks that went by until it was done.
#include "program.hpp"

extern "C" void main() {
    serial::start();
    serial::put("work: start\r\n");
    serial::drain();
    const uint64_t start = rdtsc();
    uint32_t sum = 1;
    for (uint32_t i = 0; i < 50'000'000; ++i) asm volatile("lea 1(%0, %0, 2), %0" : "+r"(sum));
    const uint64_t end = rdtsc();
    serial::put("work: ticks=");
    serial::hex(end - start);
    serial::put(" from=");
    serial::hex(start);
    serial::put("\r\n");
}
