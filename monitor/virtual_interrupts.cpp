// SPDX-License-Identifier: Apache-2.0
#include "monitor/virtual_interrupts.hpp"

#include <algorithm>

#include "arch/cpu/percpu.hpp"
#include "guest/lapic.hpp"
#include "monitor/cpu_loop.hpp"
#include "monitor/vm.hpp"
#include "vmx/fields.hpp"

namespace bulkhead::monitor {

namespace field = vmx::field;
using isa::apic::IRR;
using isa::apic::ISR;

bool VirtualInterrupts::is_current() const { return vcpu_.seat.loop != nullptr && vcpu_.seat.loop->has_loaded(vcpu_); }

std::uint16_t VirtualInterrupts::status() const {
    return is_current() ? vmx::read<field::GUEST_INTERRUPT_STATUS>() : saved_status_;
}

// RVI and SVI (SDM 24.4.2).
void VirtualInterrupts::set_status(std::uint8_t requested, std::uint8_t in_service) {
    const auto value = static_cast<std::uint16_t>(in_service << 8 | requested);
    if (is_current())
        vmx::write<field::GUEST_INTERRUPT_STATUS>(value);
    else
        saved_status_ = value;
}

void VirtualInterrupts::save() { saved_status_ = vmx::read<field::GUEST_INTERRUPT_STATUS>(); }

std::uint8_t VirtualInterrupts::requested() const {
    return std::max(highest_posted_, static_cast<std::uint8_t>(status()));
}

std::uint8_t VirtualInterrupts::in_service() const { return static_cast<std::uint8_t>(status() >> 8); }

void VirtualInterrupts::post(std::uint8_t vector) {
    posted_[vector / 32] |= 1u << vector % 32;
    highest_posted_ = std::max(highest_posted_, vector);
    vcpu_.signal();
}

void VirtualInterrupts::set_eoi_exit(std::uint8_t vector, bool wanted) {
    const std::uint64_t bit = 1ull << vector % 64;
    std::uint64_t& word = eoi_exits_[vector / 64];
    word = wanted ? word | bit : word & ~bit;
    eoi_exits_changed_ = true;
}

void VirtualInterrupts::take() {
    if (highest_posted_ == 0) return;
    for (std::uint32_t i = 0; i < posted_.size(); ++i) page_.write(IRR + 16 * i, page_.read(IRR + 16 * i) | posted_[i]);
    posted_ = {};
    highest_posted_ = 0;
}

void VirtualInterrupts::give_back() { set_status(page_.highest(IRR), page_.highest(ISR)); }

void VirtualInterrupts::prepare() {
    follow_mode();
    if (highest_posted_ != 0) {
        const std::uint8_t next = requested(), served = in_service();
        take();
        set_status(next, served);
    }
    if (!eoi_exits_changed_) return;
    eoi_exits_changed_ = false;
    vmx::write<field::EOI_EXIT_BITMAP_0>(eoi_exits_[0]);
    vmx::write<field::EOI_EXIT_BITMAP_1>(eoi_exits_[1]);
    vmx::write<field::EOI_EXIT_BITMAP_2>(eoi_exits_[2]);
    vmx::write<field::EOI_EXIT_BITMAP_3>(eoi_exits_[3]);
}

void VirtualInterrupts::follow_mode() {
    const bool x2apic = vcpu_.lapic.is_x2apic();
    if (x2apic == x2apic_) return;
    x2apic_ = x2apic;
    const std::uint32_t controls = vmx::read<field::SECONDARY_PROCESSOR_BASED_CONTROLS>();
    vmx::write<field::SECONDARY_PROCESSOR_BASED_CONTROLS>(x2apic ? controls | vmx::x2apic_mode_controls
                                                                 : controls & ~vmx::x2apic_mode_controls);
    vmx::write<field::MSR_BITMAP_ADDRESS>(vcpu_.vm.msr_bitmap(x2apic));
}

}  // namespace bulkhead::monitor
