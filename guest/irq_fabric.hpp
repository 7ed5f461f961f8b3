// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "guest/config.hpp"
#include "guest/ioapic.hpp"
#include "guest/lapic.hpp"
#include "guest/lapic_bus.hpp"
#include "guest/pic.hpp"

namespace bulkhead::guest {

// What connects the interrupt controllers of one guest. ISA interrupt n goes to input n of the 8259A pair and to pin n
// of the I/O APIC, 0 to pin 2; the pair's INTR goes to LINT0 of every local APIC and to pin 0.
class IrqFabric final : public InterruptBus, public LapicBus {
  public:
    static constexpr unsigned isa_irqs = 16;

    IrqFabric();
    IrqFabric(const IrqFabric&) = delete;
    IrqFabric& operator=(const IrqFabric&) = delete;

    PicPair& pic() { return pic_; }
    IoApic& io_apic() { return io_apic_; }
    void attach(Lapic& lapic);
    // Power-up of the 8259A pair and the I/O APIC.
    void reset();

    // For the device that has this interrupt.
    Delegate<void(bool)> isa_input(unsigned irq) { return Delegate<void(bool)>::to<&Input::set>(&inputs_[irq]); }
    // For what drives a pin of the I/O APIC that no ISA interrupt has, 16 to 23: `true` is high, as they idle.
    Delegate<void(bool)> pci_input(unsigned pin) { return isa_input(pin); }
    // Called with whether a change of this input can have any effect now: one device can save itself work.
    void watch(unsigned irq, Delegate<void(bool)> watched);

    // InterruptBus: the destination has 8 bits.
    bool deliver(const InterruptMessage& message) override;
    // LapicBus
    bool send(const InterruptMessage& message, Shorthand shorthand, const Lapic& sender) override;
    void end_of_interrupt(std::uint8_t vector) override { io_apic_.end_of_interrupt(vector); }
    std::uint8_t acknowledge_external() override { return pic_.acknowledge(); }

  private:
    struct Input {
        IrqFabric* fabric{};
        unsigned irq{};
        void set(bool level) { fabric->set_irq(irq, level); }
    };

    // Pin 2 has the timer, because the pair's own cascade has no line.
    static constexpr unsigned pin_of(unsigned irq) { return irq == 0 ? 2 : irq; }

    void set_irq(unsigned irq, bool level);
    void set_intr(bool level);
    void masks_changed();
    bool visible(unsigned irq) const { return !pic_.masked(irq) || !io_apic_.masked(pin_of(irq)); }
    template <class Matches>
    bool distribute(const InterruptMessage& message, Matches matches);
    std::span<Lapic* const> lapics() const { return std::span{lapics_}.first(lapic_count_); }

    PicPair pic_;
    IoApic io_apic_;
    std::array<Input, IoApic::pins> inputs_{};
    std::array<Lapic*, max_vcpus> lapics_{};
    std::size_t lapic_count_{};
    std::size_t last_chosen_{};  // by lowest priority
    unsigned watched_irq_{};
    bool was_visible_{true};
    Delegate<void(bool)> watched_;
};

}  // namespace bulkhead::guest
