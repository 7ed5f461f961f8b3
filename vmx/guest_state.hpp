// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>

#include "arch/isa/control.hpp"
#include "arch/isa/segment.hpp"
#include "vmx/control_registers.hpp"

namespace bulkhead::vmx {

// The registers of a guest that the VMCS holds, control registers as the guest sees them.
struct GuestState {
    std::uint64_t rip{}, rsp{}, rflags{isa::rflags::FIXED};
    std::uint64_t cr0{}, cr3{}, cr4{}, efer{};
    std::uint64_t dr7{isa::dr7::reset};
    std::uint64_t pat{0x0007'0406'0007'0406};
    std::array<isa::SegmentRegister, 8> segments{};  // by isa::Segment
    std::uint64_t gdtr_base{}, idtr_base{};
    std::uint16_t gdtr_limit{0xffff}, idtr_limit{0xffff};

    constexpr isa::SegmentRegister& operator[](isa::Segment s) { return segments[static_cast<std::size_t>(s)]; }
    constexpr const isa::SegmentRegister& operator[](isa::Segment s) const {
        return segments[static_cast<std::size_t>(s)];
    }
};

// After power-up, RESET or INIT (SDM volume 3, table 9-1).
[[nodiscard]] GuestState state_after_reset();

// Writes all guest-state fields of the current VMCS, those that GuestState does not name to their value after reset:
// active, nothing blocked, no pending debug exception, SYSENTER and debug-control MSRs zero. Also the "IA-32e mode
// guest" entry control, which follows efer and cr0, and no event is left to inject.
void write_guest_state(const GuestState& state, const ControlRegisterPolicy& cr0, const ControlRegisterPolicy& cr4);

// The same after an INIT: what INIT leaves alone stays - CR0.CD and NW, IA32_PAT and the SYSENTER MSRs (SDM volume 3,
// table 9-1).
void write_guest_state_after_init(const ControlRegisterPolicy& cr0, const ControlRegisterPolicy& cr4);

// The same registers of the current VMCS, for reports and tests.
[[nodiscard]] GuestState read_guest_state(const ControlRegisterPolicy& cr0, const ControlRegisterPolicy& cr4);

}  // namespace bulkhead::vmx
