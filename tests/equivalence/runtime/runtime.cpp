// SPDX-License-Identifier: Apache-2.0
#include "runtime.hpp"

namespace {

constexpr uint16_t com1 = 0x3f8;
constexpr uint8_t can_send = 1 << 5, all_sent = 1 << 6;

struct [[gnu::packed]] TablePointer {
    uint16_t limit;
    word base;
};

const Test* first_test;
uint32_t checks;
#ifdef __x86_64__
alignas(16) uint64_t idt[512];
#else
alignas(16) uint64_t idt[256];
#endif
extern "C" uint64_t event_stubs[];

void start_console() {
    out8(com1 + 3, 0x83);  // 8 data bits, divisor latch open
    out8(com1, 1);         // 115200 baud
    out8(com1 + 1, 0);
    out8(com1 + 3, 0x03);
    out8(com1 + 2, 0x07);
    out8(com1 + 4, 0x03);
}

void fill_idt() {
    for (unsigned vector = 0; vector < 256; ++vector) restore_gate(vector);
    const TablePointer pointer{sizeof(idt) - 1, reinterpret_cast<word>(idt)};
    asm volatile("lidt %0" ::"m"(pointer));
}

// A hypervisor's debug exit, or the power switch of the emulator.
[[noreturn]] void finish(uint32_t status) {
    while (!(in8(com1 + 5) & all_sent)) pause();
    out32(0xf4, status);
    for (const char* c = "Shutdown"; *c; ++c) out8(0x8900, static_cast<uint8_t>(*c));
    for (;;) asm volatile("cli; hlt");
}

void put_field(const char* name, uint64_t value) {
    put(name);
    put_hex(value);
}

}  // namespace

Handler handlers[256];
Event last_event{no_event, 0, 0, 0};

Test::Test(const char* test_name, void (*function)()) : name{test_name}, run{function} {
    const Test** end = &first_test;
    while (*end) end = &const_cast<Test*>(*end)->next;
    *end = this;
}

void set_gate(unsigned vector, uint64_t low, [[maybe_unused]] uint64_t high) {
#ifdef __x86_64__
    idt[2 * vector] = low;
    idt[2 * vector + 1] = high;
#else
    idt[vector] = low;
#endif
}

void restore_gate(unsigned vector) {
    const auto stub = reinterpret_cast<word>(&event_stubs[vector]);
    // An interrupt gate, code segment 08h; DPL 3 for what software raises from there.
    const unsigned dpl = vector == BP || vector == OF || vector == 0x80 ? 3 : 0;
    set_gate(vector, (stub & 0xffff) | 0x08ull << 16 | 0x8e00ull << 32 | static_cast<uint64_t>(dpl) << 45 |
                         static_cast<uint64_t>(stub & 0xffff0000) << 32);
}

void put(char c) {
    if (c == '\n') put('\r');
    while (!(in8(com1 + 5) & can_send)) pause();
    out8(com1, static_cast<uint8_t>(c));
}
void put(const char* text) {
    for (; *text; ++text) put(*text);
}
void put_hex(uint64_t value, int digits) {
    if (digits == 0)
        for (digits = 1; digits < 16 && value >> (4 * digits); ++digits) {}
    while (digits-- > 0) put("0123456789abcdef"[(value >> (4 * digits)) & 15]);
}
void put_decimal(uint32_t value) {
    if (value >= 10) put_decimal(value / 10);
    put(static_cast<char>('0' + value % 10));
}

void check(const char* name, uint64_t observed, uint64_t expected) {
    ++checks;
    put(observed == expected ? "ok " : "FAIL ");
    put(name);
    if (observed != expected) {
        put_field(": observed ", observed);
        put_field(", expected ", expected);
    }
    put("\n");
}
void check(const char* name, bool holds) { check(name, static_cast<uint64_t>(holds), uint64_t{1}); }
void show(const char* name, uint64_t value) {
    put(name);
    put_field(": ", value);
    put("\n");
}
void skip(const char* name, const char* why) {
    put("skip ");
    put(name);
    put(": ");
    put(why);
    put("\n");
}

// Called by the stubs: whether the event is one that ends attempt().
extern "C" int on_event(Frame* frame) {
    if (frame->vector < 256 && handlers[frame->vector]) {
        handlers[frame->vector](*frame);
        return 0;
    }
    last_event = {static_cast<unsigned>(frame->vector), frame->error, read_cr2(), frame->ip};
    if (recovery) return 1;
    put_field("unexpected event ", frame->vector);
    put_field(", error code ", frame->error);
    put_field(", at ", frame->ip);
    put_field(", cr2 ", read_cr2());
    put("\n");
    finish(0x7f);
}

extern "C" void run() {
    using Constructor = void (*)();
    extern Constructor checks_begin[] asm("checks_begin"), checks_end[] asm("checks_end");
    out8(0x21, 0xff);  // the lines of both 8259As are masked: a firmware's timer may run
    out8(0xa1, 0xff);
    start_console();
    fill_idt();
    for (Constructor* c = checks_begin; c != checks_end; ++c) (*c)();
    for (const Test* t = first_test; t; t = t->next) {
        put("-- ");
        put(t->name);
        put("\n");
        t->run();
    }
    put_decimal(checks);
    put(" checks\ndone\n");
    finish(0);
}
