// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "guest/config.hpp"
#include "guest/interrupt.hpp"
#include "guest/ioapic.hpp"
#include "guest/pic.hpp"

namespace bulkhead::guest {

class Lapic;

// ICR shorthands (SDM volume 3, figure 10-12).
enum class Shorthand : std::uint8_t { none, self, all_including_self, all_excluding_self };

// The wires between the interrupt controllers of one guest: an ISA interrupt goes to the 8259 pair and to the I/O APIC,
// whose messages go to the local APICs, as those of the local APICs among themselves do.
class IrqFabric final : public InterruptBus {
  public:
    IrqFabric(Pic& pic, IoApic& io_apic) : pic_(pic), io_apic_(io_apic) {}

    void attach(Lapic& lapic) { lapics_[count_++] = &lapic; }

    // A line of the ISA bus. IRQ 0 is input 2 of the I/O APIC, and IRQ 2 is the 8259 pair's own.
    void set_isa_irq(unsigned irq, bool level);
    void set_intr(bool level);

    bool deliver(const InterruptMessage& message) override;
    void send(const Lapic& from, const InterruptMessage& message, Shorthand shorthand);
    void broadcast_eoi(std::uint8_t vector) { io_apic_.eoi(vector); }
    std::uint8_t acknowledge_pic() { return pic_.acknowledge(); }

  private:
    Lapic* lowest_priority(const InterruptMessage& message);

    Pic& pic_;
    IoApic& io_apic_;
    std::array<Lapic*, max_vcpus> lapics_{};
    std::size_t count_{};
};

}  // namespace bulkhead::guest
