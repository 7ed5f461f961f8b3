// SPDX-License-Identifier: Apache-2.0
// Writes as fast as its line takes it, without end: numbered lines, with what would upset a terminal between them.
#include "program.hpp"

extern "C" void main() {
    serial::start();
    for (uint32_t line = 0;; ++line) {
        serial::put("\x1b[2J\x1b[31mflood ");
        serial::hex(line, 8);
        serial::put(" the quick brown fox jumps over the lazy dog\x1b]0;title\a\x1b[?25l\r\n");
    }
}
