// SPDX-License-Identifier: Apache-2.0
// For programs that watch the processor fault: segments, an interrupt table, and what the last exception was.
#pragma once

#include <stdint.h>

#include "program.hpp"

struct Trap {
    uint32_t count;  // since it was forgotten
    uint32_t vector, error, eip, eflags, cs, cr2, dr6;
};

extern "C" {
// As the stubs push it.
struct TrapFrame {
    uint32_t edi, esi, ebp, esp, ebx, edx, ecx, eax;
    uint32_t vector, error, eip, cs, eflags;
};
extern Trap last;
// Where a faulting instruction goes on; 0: where the exception says.
extern uint32_t recovery;
extern uint32_t trail[64];  // EIP of each exception
extern uint8_t trail_vector[64];
void trap(TrapFrame* frame);
extern uint64_t interrupt_table[256];
extern uint64_t segments[8];
}

inline constexpr uint16_t user_code = 0x18 | 3, user_data = 0x20 | 3;

// Own segments, kernel and user, a TSS for the way back from the user, and a gate for every exception.
void start_traps();
void set_gate(unsigned vector, bool present);
// Calls `code` at CPL 3; an exception there recovers as elsewhere.
void run_as_user(void (*code)());

inline void forget() { last = {}; }

// Executes an instruction that may fault. It has the operands of an asm statement; EFLAGS and memory may change.
#define TRY(instruction, ...)                                                              \
    do {                                                                                   \
        forget();                                                                          \
        asm volatile("movl $1f, recovery\n\t" instruction "\n1:\tmovl $0, recovery" __VA_ARGS__); \
    } while (false)

inline uint64_t rdmsr(uint32_t msr) {
    uint64_t value = 0;
    TRY("rdmsr", : "+A"(value) : "c"(msr) : "memory", "cc");
    return value;
}
inline void wrmsr(uint32_t msr, uint64_t value) { TRY("wrmsr", ::"c"(msr), "A"(value) : "memory", "cc"); }

struct CpuidResult {
    uint32_t eax, ebx, ecx, edx;
};
inline CpuidResult cpuid(uint32_t leaf, uint32_t subleaf = 0) {
    CpuidResult r;
    asm volatile("cpuid" : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx) : "a"(leaf), "c"(subleaf));
    return r;
}

// ---- one line a check

extern uint32_t passed, failed;

inline void check(const char* name, bool good, uint64_t found = 0) {
    serial::put(good ? "ok   " : "FAIL ");
    serial::put(name);
    if (!good) {
        serial::put(": found ");
        serial::hex(found);
        serial::put(", exception ");
        serial::decimal(last.count ? last.vector : 255);
        serial::put(" error ");
        serial::hex(last.error, 8);
        serial::put(" eip ");
        serial::hex(last.eip, 8);
    }
    serial::put("\r\n");
    good ? ++passed : ++failed;
}
inline void check_value(const char* name, uint64_t found, uint64_t wanted) { check(name, found == wanted, found); }
inline constexpr uint32_t DB = 1, NMI = 2, UD = 6, NM = 7, DF = 8, GP = 13, AC = 17;
inline void check_fault(const char* name, uint32_t vector) {
    check(name, last.count == 1 && last.vector == vector && last.error == 0);
}
inline void check_none(const char* name) { check(name, last.count == 0); }
