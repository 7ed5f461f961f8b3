// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>

#include "arch/isa/control.hpp"
#include "arch/isa/exception.hpp"
#include "vmx/controls.hpp"
#include "vmx/fields.hpp"

namespace bulkhead::vmx {

// Interruption type, alike in VM-entry, VM-exit and IDT-vectoring information (SDM tables 24-15, 24-16 and 24-18).
enum class EventType : std::uint8_t {
    external_interrupt = 0,
    nmi = 2,
    hardware_exception = 3,
    software_interrupt = 4,
    privileged_software_exception = 5,  // INT1
    software_exception = 6,             // INT3 and INTO
    other = 7,                          // VM entry only: pending MTF
};

// An event that an exit reports or an entry delivers.
struct Event {
    std::uint8_t vector{};
    EventType type{};
    std::optional<std::uint32_t> error_code{};
    std::uint32_t instruction_length{};  // of the software types

    constexpr bool is_software() const {
        return type == EventType::software_interrupt || type == EventType::privileged_software_exception ||
            type == EventType::software_exception;
    }
    // The exception that it is, if it is one that a fault can combine with.
    constexpr std::optional<isa::Exception> exception_vector() const {
        if (type != EventType::hardware_exception) return std::nullopt;
        return static_cast<isa::Exception>(vector);
    }
    friend constexpr bool operator==(const Event&, const Event&) = default;

    static constexpr Event interrupt(std::uint8_t vector) { return {.vector = vector}; }
    static constexpr Event nmi() { return {.vector = 2, .type = EventType::nmi}; }
    static constexpr Event exception(const isa::Fault& fault) {
        return {.vector = static_cast<std::uint8_t>(fault.vector),
                .type = EventType::hardware_exception,
                .error_code = fault.error_code};
    }
};

// The 32-bit word in which the VMCS has an event.
struct InterruptionInformation {
    std::uint32_t raw{};

    constexpr bool valid() const { return (raw >> 31) != 0; }
    constexpr std::uint8_t vector() const { return static_cast<std::uint8_t>(raw); }
    constexpr EventType type() const { return static_cast<EventType>(raw >> 8 & 7); }
    constexpr bool has_error_code() const { return (raw >> 11 & 1) != 0; }
    // VM-exit information only: the fault hit an IRET that had already unblocked NMIs (SDM 27.2.3).
    constexpr bool nmi_unblocked_by_iret() const { return (raw >> 12 & 1) != 0; }
    constexpr bool is(EventType t, isa::Exception e) const {
        return valid() && type() == t && vector() == static_cast<std::uint8_t>(e);
    }

    static constexpr InterruptionInformation encode(const Event& event) {
        return {static_cast<std::uint32_t>(event.vector) | static_cast<std::uint32_t>(event.type) << 8 |
                static_cast<std::uint32_t>(event.error_code.has_value()) << 11 | 1u << 31};
    }
};

// Delivers an event with the next entry, which clears the request. In real mode no exception has an error code, and an
// entry that would push one is refused (SDM 26.2.1.3).
inline void inject(Event event) {
    if (event.error_code && (read<field::GUEST_CR0>() & isa::cr0::PE) == 0) event.error_code.reset();
    if (event.error_code) write<field::VM_ENTRY_EXCEPTION_ERROR_CODE>(*event.error_code);
    if (event.is_software()) write<field::VM_ENTRY_INSTRUCTION_LENGTH>(event.instruction_length);
    write<field::VM_ENTRY_INTERRUPTION_INFORMATION>(InterruptionInformation::encode(event).raw);
}

// The event whose delivery the last exit interrupted, to be delivered again (SDM 27.2.4).
[[nodiscard]] std::optional<Event> interrupted_event();

// After an instruction that the hypervisor completed in the processor's place, or an iteration of a repeated one. RF
// holds for one instruction, but for all iterations; TF traps after each, unless IA32_DEBUGCTL.BTF reserves it for
// branches (SDM volume 3, 17.3.1.1, 17.3.1.4 and 17.4.3). What a MOV SS held back stays pending.
void trace_instruction(bool completed);
// The shadow of STI or MOV SS ends with the instruction in it, and with the delivery of an event: true if there was
// one. An entry with the shadow and TF set would ask for a pending single step (SDM 26.3.1.5).
bool end_interrupt_shadow();
// Debug exceptions that were met and wait for the next entry. An event that is injected would be delivered in their
// place, and they be lost (SDM 26.7.3).
[[nodiscard]] inline bool debug_exception_pending() {
    constexpr std::uint64_t due = isa::dr6::BS | 1u << 12;  // or an enabled breakpoint
    return (read<field::GUEST_PENDING_DEBUG_EXCEPTIONS>() & due) != 0;
}

// A #DB that exits has not touched the debug registers yet (SDM 27.1): does what its delivery would have done before it
// reaches the handler, so that `inject` can deliver it. `qualification` is the exit's.
void latch_debug_exception(std::uint64_t qualification);

// Interruptibility state (SDM table 24-3).
namespace interruptibility {
inline constexpr std::uint32_t BLOCKING_BY_STI = 1u << 0;
inline constexpr std::uint32_t BLOCKING_BY_MOV_SS = 1u << 1;
inline constexpr std::uint32_t BLOCKING_BY_SMI = 1u << 2;
inline constexpr std::uint32_t BLOCKING_BY_NMI = 1u << 3;
inline constexpr std::uint32_t ENCLAVE_INTERRUPTION = 1u << 4;
}  // namespace interruptibility

enum class Activity : std::uint32_t { active = 0, hlt = 1, shutdown = 2, wait_for_sipi = 3 };

// Whether a maskable interrupt may be injected now (SDM 26.3.1.5).
[[nodiscard]] inline bool interrupt_window_open(std::uint64_t rflags, std::uint32_t interruptibility_state) {
    constexpr std::uint32_t blocking = interruptibility::BLOCKING_BY_STI | interruptibility::BLOCKING_BY_MOV_SS;
    return (rflags & isa::rflags::IF) != 0 && (interruptibility_state & blocking) == 0;
}
[[nodiscard]] inline bool nmi_window_open(std::uint32_t interruptibility_state) {
    return (interruptibility_state & (interruptibility::BLOCKING_BY_NMI | interruptibility::BLOCKING_BY_MOV_SS |
                                      interruptibility::BLOCKING_BY_STI)) == 0;
}

}  // namespace bulkhead::vmx
