// SPDX-License-Identifier: Apache-2.0
// Looks for the mark of a tenant - another guest, or itself before a restart - in all memory that it can reach, then
// leaves its own mark in every page of its own. The mark is computed, so that the image does not contain it.
#include "program.hpp"

namespace {

constexpr uint32_t page = 4096;
constexpr uint32_t own = 4 * 1024 * 1024;        // as configured
constexpr uint32_t machine = 192 * 1024 * 1024;  // all memory of the machine is below
constexpr uint32_t heap = 2 * 1024 * 1024;       // well behind this program

uint64_t mark() {
    volatile uint64_t half = 0x2d9f0b1c6e83a574;
    return half ^ 0xffff0000ffff0000;
}

bool marked(uint32_t address) { return *reinterpret_cast<volatile uint64_t*>(address) == mark(); }

uint32_t search(uint32_t from, uint32_t to, uint32_t step) {
    uint32_t found = 0;
    for (uint32_t at = from; at < to; at += step) found += marked(at);
    return found;
}

void tell(const char* what, uint32_t count) {
    serial::put(what);
    serial::decimal(count);
    serial::put("\r\n");
}

}  // namespace

extern "C" void main() {
    serial::start();
    tell("tenant: left behind in my memory: ", search(heap, own, page));
    for (uint32_t at = heap; at < own; at += page) *reinterpret_cast<volatile uint64_t*>(at) = mark();
    tell("tenant: my own marks: ", search(heap, own, page));
    // The neighbours have marked theirs by now: wait for the word to look.
    serial::put("tenant: look?\r\n");
    while (!(in8(serial::line_status) & serial::received)) asm volatile("pause");
    tell("tenant: beyond my memory: ", search(own, machine, page) + search(machine, 0xfec00000, 512 * page));
    serial::put("tenant: end\r\n");
}
