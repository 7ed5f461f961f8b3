// SPDX-License-Identifier: Apache-2.0
// What the test programs share: the first serial port, ports, the time-stamp counter.
#pragma once

#include <stdint.h>

inline void out8(uint16_t port, uint8_t value) { asm volatile("outb %0, %1" ::"a"(value), "Nd"(port)); }
inline uint8_t in8(uint16_t port) {
    uint8_t value;
    asm volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}
inline uint64_t rdtsc() {
    uint64_t value;
    asm volatile("rdtsc" : "=A"(value));
    return value;
}

namespace serial {

inline constexpr uint16_t data = 0x3f8, interrupts = 0x3f9, fifo = 0x3fa, line_control = 0x3fb, modem = 0x3fc,
                          line_status = 0x3fd;
inline constexpr uint8_t received = 1 << 0, can_send = 1 << 5, all_sent = 1 << 6;

inline void start() {
    out8(line_control, 0x83);  // 8 data bits, divisor latch open
    out8(data, 1);             // 115200 baud
    out8(interrupts, 0);
    out8(line_control, 0x03);
    out8(fifo, 0x07);
    out8(modem, 0x03);
}
inline void put(char c) {
    while (!(in8(line_status) & can_send)) asm volatile("pause");
    out8(data, static_cast<uint8_t>(c));
}
inline void put(const char* text) {
    for (; *text; ++text) put(*text);
}
inline void hex(uint64_t value, int digits = 16) {
    while (digits-- > 0) put("0123456789abcdef"[(value >> (4 * digits)) & 15]);
}
inline void decimal(uint32_t value) {
    if (value >= 10) decimal(value / 10);
    put(static_cast<char>('0' + value % 10));
}
inline void drain() {
    while (!(in8(line_status) & all_sent)) asm volatile("pause");
}

}  // namespace serial

// The switch of the bare emulator; a guest that is not given it goes on.
inline void emulator_off() {
    for (const char* c = "Shutdown"; *c; ++c) out8(0x8900, static_cast<uint8_t>(*c));
}
