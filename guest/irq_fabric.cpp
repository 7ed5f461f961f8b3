// SPDX-License-Identifier: Apache-2.0
#include "guest/irq_fabric.hpp"

namespace bulkhead::guest {
namespace {

using isa::apic::DeliveryMode;

// Pins 16 to 23 are for PCI interrupts, which are active low.
constexpr std::uint32_t pci_pins = 0xff'0000;

}  // namespace

IrqFabric::IrqFabric() : io_apic_(*this, pci_pins) {
    for (unsigned n = 0; n < inputs_.size(); ++n) inputs_[n] = {this, n};
    pic_.intr().connect(Delegate<void(bool)>::to<&IrqFabric::set_intr>(this));
    pic_.on_mask_change(Delegate<void()>::to<&IrqFabric::masks_changed>(this));
    io_apic_.on_mask_change(Delegate<void()>::to<&IrqFabric::masks_changed>(this));
}

void IrqFabric::attach(Lapic& lapic) {
    lapics_[lapic_count_++] = &lapic;
    lapic.set_lint(0, pic_.intr().level());
}

void IrqFabric::reset() {
    pic_.reset();
    io_apic_.reset();
}

void IrqFabric::set_irq(unsigned irq, bool level) {
    if (irq < isa_irqs) pic_.set_irq(irq, level);
    if (irq != 2) io_apic_.set_pin(pin_of(irq), level);
}

void IrqFabric::set_intr(bool level) {
    for (Lapic* const lapic : lapics()) lapic->set_lint(0, level);
    io_apic_.set_pin(0, level);
}

void IrqFabric::watch(unsigned irq, Delegate<void(bool)> watched) {
    watched_irq_ = irq;
    watched_ = watched;
    was_visible_ = visible(irq);
    watched_(was_visible_);
}

void IrqFabric::masks_changed() {
    if (!watched_ || visible(watched_irq_) == was_visible_) return;
    was_visible_ = !was_visible_;
    watched_(was_visible_);
}

// SDM volume 3, 10.6.2. A lowest-priority message goes to one of those it is for: where the processor priority is
// lowest, in turn among equals (10.6.2.4).
template <class Matches>
bool IrqFabric::distribute(const InterruptMessage& message, Matches matches) {
    if (message.delivery != DeliveryMode::lowest_priority) {
        bool accepted = false;
        for (Lapic* const lapic : lapics())
            if (matches(*lapic)) accepted |= lapic->accept(message);
        return accepted;
    }
    std::size_t chosen = lapic_count_;
    for (std::size_t i = 1; i <= lapic_count_; ++i) {
        const std::size_t candidate = (last_chosen_ + i) % lapic_count_;
        const Lapic& lapic = *lapics_[candidate];
        if (!lapic.is_enabled() || !lapic.is_software_enabled() || !matches(lapic)) continue;
        if (chosen == lapic_count_ || lapic.ppr() < lapics_[chosen]->ppr()) chosen = candidate;
    }
    if (chosen == lapic_count_) return false;
    last_chosen_ = chosen;
    return lapics_[chosen]->accept(message);
}

bool IrqFabric::deliver(const InterruptMessage& message) {
    const std::uint32_t destination =
        widen_destination(static_cast<std::uint8_t>(message.destination), message.destination_mode);
    return distribute(message, [&](const Lapic& l) { return l.matches(destination, message.destination_mode); });
}

bool IrqFabric::send(const InterruptMessage& message, Shorthand shorthand, const Lapic& sender) {
    return distribute(message, [&](const Lapic& l) {
        switch (shorthand) {
            case Shorthand::self: return &l == &sender;
            case Shorthand::all: return true;
            case Shorthand::all_but_self: return &l != &sender;
            default: return l.matches(message.destination, message.destination_mode);
        }
    });
}

}  // namespace bulkhead::guest
