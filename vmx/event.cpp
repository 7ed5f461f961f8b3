// SPDX-License-Identifier: Apache-2.0
#include "vmx/event.hpp"

#include "arch/cpu/instructions.hpp"

namespace bulkhead::vmx {

std::optional<Event> interrupted_event() {
    const InterruptionInformation information{read<field::IDT_VECTORING_INFORMATION>()};
    if (!information.valid()) return std::nullopt;
    Event event{.vector = information.vector(), .type = information.type()};
    if (information.has_error_code()) event.error_code = read<field::IDT_VECTORING_ERROR_CODE>();
    // The exit gives the length for the software types (SDM 27.2.5).
    if (event.is_software()) event.instruction_length = read<field::VM_EXIT_INSTRUCTION_LENGTH>();
    return event;
}

namespace {

constexpr std::uint64_t debugctl_lbr = 1u << 0, debugctl_btf = 1u << 1;

}  // namespace

bool end_interrupt_shadow() {
    constexpr std::uint32_t shadow = interruptibility::BLOCKING_BY_STI | interruptibility::BLOCKING_BY_MOV_SS;
    const std::uint32_t state = read<field::GUEST_INTERRUPTIBILITY_STATE>();
    if ((state & shadow) == 0) return false;
    write<field::GUEST_INTERRUPTIBILITY_STATE>(state & ~shadow);
    return true;
}

void trace_instruction(bool completed) {
    using namespace isa;
    const std::uint64_t flags = read<field::GUEST_RFLAGS>();
    write<field::GUEST_RFLAGS>(completed ? flags & ~rflags::RF : flags | rflags::RF);
    if ((flags & rflags::TF) == 0 || (read<field::GUEST_IA32_DEBUGCTL>() & debugctl_btf) != 0) return;
    write<field::GUEST_PENDING_DEBUG_EXCEPTIONS>(read<field::GUEST_PENDING_DEBUG_EXCEPTIONS>() | dr6::BS);
}

void latch_debug_exception(std::uint64_t qualification) {
    using namespace isa;
    constexpr std::uint64_t breakpoints = 0xf;
    constexpr std::uint64_t active_low = 1u << 16 | 1u << 11;  // RTM and BLD (SDM 17.2.3)

    const std::uint64_t found = qualification & (breakpoints | dr6::BD | dr6::BS);
    const std::uint64_t dr6 = (cpu::read_dr<6>() & ~breakpoints) | found | active_low;
    cpu::write_dr<6>(dr6 & ~(qualification & active_low));
    write<field::GUEST_DR7>(read<field::GUEST_DR7>() & ~dr7::GD);
    // Its generation clears both (SDM volume 3, 17.4.1 and 17.4.3).
    write<field::GUEST_IA32_DEBUGCTL>(read<field::GUEST_IA32_DEBUGCTL>() & ~(debugctl_lbr | debugctl_btf));
    end_interrupt_shadow();
}

}  // namespace bulkhead::vmx
