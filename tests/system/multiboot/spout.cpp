// SPDX-License-Identifier: Apache-2.0
// Writes more to the debug console than a partition holds, by string instructions, and leaves.
#include "tests/system/guests/program.hpp"

extern "C" void main() {
    char line[] = "spout 00000 ...............................................\r\n";
    for (uint32_t i = 0; i < 2400; ++i) {
        uint32_t left = i;
        for (int digit = 10; digit >= 6; --digit, left /= 10) line[digit] = static_cast<char>('0' + left % 10);
        const char* from = line;
        uint32_t count = sizeof line - 1;
        asm volatile("rep outsb" : "+S"(from), "+c"(count) : "d"(0xe9) : "memory");
    }
    out8(0xf4, 0);
}
