// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

namespace bulkhead::cpu {

// What traps.S pushes, from the lowest address up.
struct TrapFrame {
    std::uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax;
    std::uint64_t vector, error_code;
    std::uint64_t rip, cs, rflags, rsp, ss;
};
static_assert(sizeof(TrapFrame) == 22 * 8 && offsetof(TrapFrame, vector) == 15 * 8);

// Vectors 32 to 255. Called with interrupts off: by the trap handler while the CPU idles, and by the monitor for an
// interrupt that ended a VM entry. The sink ends the interrupt at the local APIC.
using InterruptSink = void (*)(std::uint8_t vector);
void set_interrupt_sink(InterruptSink sink);
void dispatch_interrupt(std::uint8_t vector);

// A non-maskable interrupt that is not the order to stop. It may come between any two instructions of root mode.
using NmiSink = void (*)();
void set_nmi_sink(NmiSink sink);
// Called by the trap handler, and by the monitor for an NMI that ended a VM entry.
void dispatch_nmi();

}  // namespace bulkhead::cpu
