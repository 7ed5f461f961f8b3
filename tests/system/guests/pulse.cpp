// SPDX-License-Identifier: Apache-2.0
// Shows that a guest lives, with the counter it lives by: one line each 25 million ticks.
#include "program.hpp"

extern "C" void main() {
    serial::start();
    uint64_t next = rdtsc();
    for (uint32_t beat = 1;; ++beat) {
        serial::put("pulse ");
        serial::decimal(beat);
        serial::put(" tsc=");
        serial::hex(rdtsc());
        serial::put("\r\n");
        next += 25'000'000;
        while (rdtsc() < next) asm volatile("pause");
    }
}
