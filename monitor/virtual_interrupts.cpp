// SPDX-License-Identifier: Apache-2.0
#include "monitor/virtual_interrupts.hpp"

#include <utility>

#include "guest/lapic.hpp"
#include "monitor/vm.hpp"
#include "vmx/fields.hpp"

namespace bulkhead::monitor {

namespace field = vmx::field;
namespace control = vmx::control;

void VirtualInterrupts::requested() {
    if (assists_) vcpu_.signal();
}

void VirtualInterrupts::in_service_changed() {
    in_service_changed_ = true;
    vcpu_.ask_attention();
}

void VirtualInterrupts::set_eoi_exit(std::uint8_t vector, bool wanted) {
    const std::uint64_t bit = 1ull << vector % 64;
    std::uint64_t& word = eoi_exits_[vector / 64];
    word = wanted ? word | bit : word & ~bit;
    eoi_exits_changed_ = true;
}

std::uint32_t VirtualInterrupts::primary_controls() const {
    return assists_ ? 0 : control::proc::CR8_LOAD_EXITING;
}

void VirtualInterrupts::prepare() {
    set_mode(vcpu_.lapic.highest_requested() == 0, vcpu_.lapic.is_x2apic());
    if (!assists_) return;
    // The guest interrupt status (SDM 24.4.2): SVI, and no RVI.
    if (std::exchange(in_service_changed_, false))
        vmx::write<field::GUEST_INTERRUPT_STATUS>(static_cast<std::uint16_t>(vcpu_.lapic.highest_in_service() << 8));
    if (!std::exchange(eoi_exits_changed_, false)) return;
    vmx::write<field::EOI_EXIT_BITMAP_0>(eoi_exits_[0]);
    vmx::write<field::EOI_EXIT_BITMAP_1>(eoi_exits_[1]);
    vmx::write<field::EOI_EXIT_BITMAP_2>(eoi_exits_[2]);
    vmx::write<field::EOI_EXIT_BITMAP_3>(eoi_exits_[3]);
}

// Without the processor's help all MSRs of the local APIC exit: what is not virtualised would reach the host's.
void VirtualInterrupts::set_mode(bool assists, bool x2apic) {
    if (assists == assists_ && x2apic == x2apic_) return;
    assists_ = assists;
    x2apic_ = x2apic;
    const bool registers = assists && x2apic;
    const std::uint32_t others = vmx::read<field::SECONDARY_PROCESSOR_BASED_CONTROLS>() &
        ~(control::proc2::VIRTUAL_INTERRUPT_DELIVERY | vmx::x2apic_mode_controls);
    vmx::write<field::SECONDARY_PROCESSOR_BASED_CONTROLS>(
        others | (assists ? control::proc2::VIRTUAL_INTERRUPT_DELIVERY : 0) |
        (registers ? vmx::x2apic_mode_controls : 0));
    vmx::write<field::MSR_BITMAP_ADDRESS>(vcpu_.vm.msr_bitmap(registers));
}

}  // namespace bulkhead::monitor
