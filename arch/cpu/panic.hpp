// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string_view>

#include "arch/cpu/traps.hpp"
#include "lib/format.hpp"

// The end: a fault of the hypervisor itself. What is printed goes straight to a raw sink, past every lock.
namespace bulkhead::cpu {

// Writes one character and waits as long as it takes; called with interrupts off, on any CPU. A NUL ends the report.
using RawSink = void (*)(char);
void set_raw_sink(RawSink sink);

// Says what this CPU was doing, in a line or more: the guest that it ran.
using ContextPrinter = void (*)(TextSink& out);
void set_context_printer(ContextPrinter printer);

// Interrupts every other CPU that runs, by NMI. Registered when there are others.
using StopOthers = void (*)();
void set_stop_others(StopOthers stop);

// Prints an exception's vector, registers and backtrace, and stops the machine.
[[noreturn]] void die(const TrapFrame& frame);
// The same for a broken invariant: the handler of lib/log.hpp.
[[noreturn]] void panic_handler(std::string_view reason);

// Halts every CPU for good. Nothing is printed.
[[noreturn]] void stop_machine();
// Does not return when stop_machine was called on some CPU. Each NMI asks.
void stop_if_ordered();

}  // namespace bulkhead::cpu
