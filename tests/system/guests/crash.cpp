// SPDX-License-Identifier: Apache-2.0
// Ends in a triple fault: an exception with no interrupt table to deliver it or its double fault through.
#include "program.hpp"

extern "C" void main() {
    serial::start();
    serial::put("crash: now\r\n");
    serial::drain();
    const struct [[gnu::packed]] {
        uint16_t limit;
        uint32_t base;
    } nothing{0, 0};
    asm volatile("lidt %0; int3" ::"m"(nothing));
    serial::put("crash: survived\r\n");
}
