// SPDX-License-Identifier: Apache-2.0
#include "arch/cpu/traps.hpp"

#include "arch/cpu/panic.hpp"
#include "arch/isa/exception.hpp"

// linker.ld: made by BULKHEAD_FIXUP.
struct Fixup {
    std::uint64_t instruction, continuation;
};
extern "C" const Fixup fixups_start[], fixups_end[];

namespace bulkhead::cpu {
namespace {

constexpr std::uint8_t first_interrupt = 32;

constinit InterruptSink interrupt_sink = nullptr;
constinit NmiSink nmi_sink = nullptr;

bool fix_up(TrapFrame& frame) {
    for (const Fixup* fixup = fixups_start; fixup != fixups_end; ++fixup) {
        if (fixup->instruction != frame.rip) continue;
        frame.rip = fixup->continuation;
        return true;
    }
    return false;
}

}  // namespace

void set_interrupt_sink(InterruptSink sink) { interrupt_sink = sink; }
void set_nmi_sink(NmiSink sink) { nmi_sink = sink; }

void dispatch_interrupt(std::uint8_t vector) {
    if (interrupt_sink != nullptr) interrupt_sink(vector);
}

void dispatch_nmi() {
    stop_if_ordered();
    if (nmi_sink != nullptr) nmi_sink();
}

extern "C" void handle_trap(TrapFrame& frame) {
    if (frame.vector >= first_interrupt) return dispatch_interrupt(static_cast<std::uint8_t>(frame.vector));
    const auto exception = static_cast<isa::Exception>(frame.vector);
    if (exception == isa::Exception::NMI) return dispatch_nmi();
    if (exception == isa::Exception::GP && fix_up(frame)) return;
    die(frame);
}

}  // namespace bulkhead::cpu
