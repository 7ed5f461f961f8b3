// SPDX-License-Identifier: Apache-2.0
// Says which byte was typed: the letter itself, or its number.
#include "program.hpp"

extern "C" void main() {
    serial::start();
    serial::put("echo: ready\r\n");
    for (;;) {
        while (!(in8(serial::line_status) & serial::received)) asm volatile("pause");
        const uint8_t byte = in8(serial::data);
        serial::put("got ");
        if (byte > ' ' && byte < 0x7f) {
            serial::put(static_cast<char>(byte));
        } else {
            serial::hex(byte, 2);
        }
        serial::put("\r\n");
    }
}
