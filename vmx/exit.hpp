// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "vmx/event.hpp"
#include "vmx/exit_reason.hpp"
#include "vmx/fields.hpp"
#include "vmx/qualification.hpp"

namespace bulkhead::vmx {

// What a handler needs to know of its exit: each one costs a VMREAD.
enum class Needs : std::uint16_t {
    nothing = 0,
    length = 1 << 0,
    qualification = 1 << 1,
    guest_linear = 1 << 2,
    guest_physical = 1 << 3,
    interruption = 1 << 4,  // with its error code, if it has one
    instruction_information = 1 << 5,
};

constexpr Needs operator|(Needs a, Needs b) {
    return static_cast<Needs>(static_cast<unsigned>(a) | static_cast<unsigned>(b));
}
constexpr bool includes(Needs all, Needs one) { return (static_cast<unsigned>(all) & static_cast<unsigned>(one)) != 0; }

// A VM exit. Of the fields after the reason, those are set that were needed.
struct Exit {
    std::uint32_t raw_reason{};
    std::uint32_t length{};
    std::uint32_t instruction_information{};
    std::uint32_t interruption_error_code{};
    InterruptionInformation interruption{};
    std::uint64_t qualification{};
    GuestVirt guest_linear{};
    GuestPhys guest_physical{};

    // Of the VMCS that is current, after `enter`. What was needed last time keeps its value: nothing is cleared.
    void take() { raw_reason = read<field::EXIT_REASON>(); }

    ExitReason reason() const { return static_cast<ExitReason>(raw_reason & 0xffff); }
    // The guest did not run at all: its state or an MSR was refused (SDM 26.8).
    bool entry_failed() const { return (raw_reason >> 31) != 0; }

    // With `needs` a constant, no instruction is spent on what is not needed.
    [[gnu::always_inline]] inline void fetch(Needs needs) {
        if (includes(needs, Needs::length)) length = read<field::VM_EXIT_INSTRUCTION_LENGTH>();
        if (includes(needs, Needs::qualification)) qualification = read<field::EXIT_QUALIFICATION>();
        if (includes(needs, Needs::guest_linear)) guest_linear = read<field::GUEST_LINEAR_ADDRESS>();
        if (includes(needs, Needs::guest_physical)) guest_physical = read<field::GUEST_PHYSICAL_ADDRESS>();
        if (includes(needs, Needs::interruption)) {
            interruption = {read<field::VM_EXIT_INTERRUPTION_INFORMATION>()};
            if (interruption.has_error_code())
                interruption_error_code = read<field::VM_EXIT_INTERRUPTION_ERROR_CODE>();
        }
        if (includes(needs, Needs::instruction_information))
            instruction_information = read<field::VM_EXIT_INSTRUCTION_INFORMATION>();
    }
};

}  // namespace bulkhead::vmx
