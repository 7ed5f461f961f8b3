// SPDX-License-Identifier: Apache-2.0
// Code in ring 3. It ends by `int $0x80`, or by an exception.
#pragma once

#include "runtime.hpp"

inline constexpr unsigned finished = 0x80;  // the event of code that came to its end

alignas(16) inline uint8_t user_stack[4096];

#ifdef __x86_64__
inline void enter_ring3(word code, word flags = 2) {
    asm volatile("push $0x23; push %0; push %1; push $0x2b; push %2; iretq" ::"r"(user_stack + sizeof user_stack - 8),
                 "r"(flags), "r"(code)
                 : "memory");
}
#else
inline void enter_ring3(word code, word flags = 2) {
    asm volatile(
        "mov $0x23, %%ecx; mov %%ecx, %%ds; mov %%ecx, %%es; push $0x23; push %0; push %1; push $0x1b; push %2; iret" ::
            "r"(user_stack + sizeof user_stack - 8),
        "r"(flags), "r"(code)
        : "ecx", "memory");
}
#endif

// What ended a piece of assembly in ring 3.
#define RING3(flags, text)                                             \
    events_of([] {                                                     \
        word start;                                                    \
        asm volatile("jmp 2f; 1: " text "; int $0x80; ud2; 2: "        \
                     "mov $1b, %0" : "=r"(start));                     \
        enter_ring3(start, flags);                                     \
    })
inline void check_event(const char* name, const Event& e, unsigned vector, word error = 0) {
    const bool has_error = e.vector != no_event && e.vector != finished;
    check(name, static_cast<uint64_t>(e.vector) << 32 | (has_error ? e.error : 0),
          static_cast<uint64_t>(vector) << 32 | error);
}
