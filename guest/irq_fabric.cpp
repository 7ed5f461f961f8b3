// SPDX-License-Identifier: Apache-2.0
#include "guest/irq_fabric.hpp"

#include "guest/lapic.hpp"

namespace bulkhead::guest {

using isa::apic::DeliveryMode;

void IrqFabric::set_isa_irq(unsigned irq, bool level) {
    if (irq == 2) return;
    pic_.set_irq(irq, level);
    io_apic_.set_pin(irq == 0 ? 2 : irq, level);
}

void IrqFabric::set_intr(bool level) {
    io_apic_.set_pin(0, level);
    for (std::size_t i = 0; i < count_; ++i) lapics_[i]->set_lint0(level);
}

// Of those that the message names, the one whose processor does the least urgent work (SDM volume 3, 10.6.2.4).
Lapic* IrqFabric::lowest_priority(const InterruptMessage& message) {
    Lapic* best = nullptr;
    for (std::size_t i = 0; i < count_; ++i) {
        Lapic& candidate = *lapics_[i];
        if (!candidate.is_enabled() || !candidate.is_destination(message.destination, message.destination_mode)) continue;
        if (best == nullptr || candidate.ppr() < best->ppr()) best = &candidate;
    }
    return best;
}

bool IrqFabric::deliver(const InterruptMessage& message) {
    if (message.delivery == DeliveryMode::lowest_priority) {
        Lapic* const target = lowest_priority(message);
        return target != nullptr && target->accept(message);
    }
    bool accepted = false;
    for (std::size_t i = 0; i < count_; ++i)
        if (lapics_[i]->is_destination(message.destination, message.destination_mode))
            accepted |= lapics_[i]->accept(message);
    return accepted;
}

void IrqFabric::send(const Lapic& from, const InterruptMessage& message, Shorthand shorthand) {
    if (shorthand == Shorthand::none) {
        deliver(message);
        return;
    }
    for (std::size_t i = 0; i < count_; ++i) {
        const bool self = lapics_[i] == &from;
        const bool wanted = shorthand == Shorthand::self ? self : shorthand == Shorthand::all_including_self || !self;
        if (wanted) lapics_[i]->accept(message);
    }
}

}  // namespace bulkhead::guest
