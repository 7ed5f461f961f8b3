// SPDX-License-Identifier: Apache-2.0
// What the test images share: a console, checks that print a line each, and events caught.
#pragma once

#include <stdint.h>

using word = unsigned long;  // a register of the mode that the image is built for

// ---- the console: the first serial port

void put(char c);
void put(const char* text);
void put_hex(uint64_t value, int digits = 0);  // 0: as many as it needs
void put_decimal(uint32_t value);

// ---- checks

// Prints "ok NAME", or "FAIL NAME: observed, expected", and counts.
void check(const char* name, uint64_t observed, uint64_t expected);
void check(const char* name, bool holds);
// Prints "NAME: value": for the other side to agree with.
void show(const char* name, uint64_t value);
void skip(const char* name, const char* why);

// An image is a row of these, run in order.
#define TEST(function)           \
    static void function();      \
    static const Test function##_test{#function, function}; \
    static void function()

struct Test {
    const char* name;
    void (*run)();
    const Test* next{};
    Test(const char* test_name, void (*function)());
};

// ---- ports, registers

inline void out8(uint16_t port, uint8_t value) { asm volatile("outb %0, %1" ::"a"(value), "Nd"(port)); }
inline void out16(uint16_t port, uint16_t value) { asm volatile("outw %0, %1" ::"a"(value), "Nd"(port)); }
inline void out32(uint16_t port, uint32_t value) { asm volatile("outl %0, %1" ::"a"(value), "Nd"(port)); }
inline uint8_t in8(uint16_t port) {
    uint8_t value;
    asm volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}
inline uint16_t in16(uint16_t port) {
    uint16_t value;
    asm volatile("inw %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}
inline uint32_t in32(uint16_t port) {
    uint32_t value;
    asm volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}
inline uint64_t rdtsc() {
    uint32_t low, high;
    asm volatile("rdtsc" : "=a"(low), "=d"(high));
    return static_cast<uint64_t>(high) << 32 | low;
}
inline uint64_t read_msr(uint32_t msr) {
    uint32_t low, high;
    asm volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
    return static_cast<uint64_t>(high) << 32 | low;
}
inline void write_msr(uint32_t msr, uint64_t value) {
    asm volatile("wrmsr" ::"c"(msr), "a"(static_cast<uint32_t>(value)), "d"(static_cast<uint32_t>(value >> 32))
                 : "memory");
}
struct Leaf {
    uint32_t a, b, c, d;
};
inline Leaf cpuid(uint32_t leaf, uint32_t subleaf = 0) {
    Leaf l;
    asm volatile("cpuid" : "=a"(l.a), "=b"(l.b), "=c"(l.c), "=d"(l.d) : "a"(leaf), "c"(subleaf));
    return l;
}
#define CONTROL_REGISTER(name)                                                           \
    inline word read_##name() {                                                          \
        word value;                                                                      \
        asm volatile("mov %%" #name ", %0" : "=r"(value));                               \
        return value;                                                                    \
    }                                                                                    \
    inline void write_##name(word value) { asm volatile("mov %0, %%" #name ::"r"(value) : "memory"); }
CONTROL_REGISTER(cr0)
CONTROL_REGISTER(cr2)
CONTROL_REGISTER(cr3)
CONTROL_REGISTER(cr4)
CONTROL_REGISTER(dr0)
CONTROL_REGISTER(dr1)
CONTROL_REGISTER(dr2)
CONTROL_REGISTER(dr3)
CONTROL_REGISTER(dr6)
CONTROL_REGISTER(dr7)
#ifdef __x86_64__
CONTROL_REGISTER(cr8)
#endif
inline word read_flags() {
    word value;
    asm volatile("pushf; pop %0" : "=r"(value)::"memory");
    return value;
}
inline void write_flags(word value) { asm volatile("push %0; popf" ::"r"(value) : "memory", "cc"); }
inline void pause() { asm volatile("pause"); }

// ---- events

#ifdef __x86_64__
struct Frame {
    word r15, r14, r13, r12, r11, r10, r9, r8, di, si, bp, bx, dx, cx, ax;
    word vector, error, ip, cs, flags, sp, ss;
};
#else
struct Frame {
    word es, ds, di, si, bp, sp_unused, bx, dx, cx, ax;
    word vector, error, ip, cs, flags, sp, ss;  // the last two from another ring alone
};
#endif

// Called for an event of its vector, which then returns to where it came from. Null: an event of that vector ends
// attempt(), or the image.
using Handler = void (*)(Frame&);
extern Handler handlers[256];

inline constexpr unsigned no_event = 0x100;
struct Event {
    unsigned vector;  // no_event: none
    word error, cr2, ip;
};
bool attempt(void (*code)(void*), void* argument) asm("attempt");
extern Event last_event;

// Runs code until it returns or an exception ends it.
template <class Code>
Event events_of(Code code) {
    last_event = {no_event, 0, 0, 0};
    attempt([](void* c) { (*static_cast<Code*>(c))(); }, &code);
    return last_event;
}
// Checks that code raises the vector and, where given, with the error code.
template <class Code>
void check_raises(const char* name, unsigned vector, word error, Code code) {
    const Event e = events_of(code);
    check(name, static_cast<uint64_t>(e.vector) << 32 | (e.vector == no_event ? 0 : e.error),
          static_cast<uint64_t>(vector) << 32 | error);
}
template <class Code>
void check_quiet(const char* name, Code code) {
    check(name, events_of(code).vector, no_event);
}

// A gate of the IDT; restored, it leads to handlers and attempt() again.
void set_gate(unsigned vector, uint64_t low, uint64_t high = 0);
void restore_gate(unsigned vector);

inline constexpr unsigned DE = 0, DB = 1, NMI = 2, BP = 3, OF = 4, BR = 5, UD = 6, NM = 7, DF = 8, TS = 10, NP = 11,
                          SS = 12, GP = 13, PF = 14, MF = 16, AC = 17, XM = 19;

extern "C" {
extern uint64_t gdt[];
extern uint8_t tss[];
extern uint32_t boot_magic, boot_information;
extern word recovery;
}
