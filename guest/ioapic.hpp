// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>

#include "guest/bus.hpp"
#include "guest/interrupt.hpp"
#include "lib/delegate.hpp"

namespace bulkhead::guest {

// An I/O APIC of 24 inputs after Intel's 82093AA, with the EOI register of version 20h.
class IoApic final : public MmioDevice {
  public:
    static constexpr unsigned pins = 24;

    // `idle_high`: the pins whose level is high when nothing drives them.
    IoApic(InterruptBus& bus, std::uint32_t idle_high);

    // Called when the mask of a pin may have changed.
    void on_mask_change(Delegate<void()> changed) { mask_changed_ = changed; }

    void reset();
    void set_pin(unsigned pin, bool high);
    bool masked(unsigned pin) const { return (entries_[pin].low & 1u << 16) != 0; }
    // The EOI message of a local APIC.
    void end_of_interrupt(std::uint8_t vector);

    std::uint64_t read(std::uint64_t offset, unsigned size) override;
    void write(std::uint64_t offset, unsigned size, std::uint64_t value) override;

  private:
    // A redirection table entry. Bit 12 of `low`, send pending, is made up from `unsent_`.
    struct Entry {
        std::uint32_t low, high;
    };

    std::uint32_t read_window() const;
    void write_window(std::uint32_t value);
    void write_entry_low(unsigned pin, std::uint32_t value);
    bool active(unsigned pin) const;
    void service(unsigned pin);
    bool send(const Entry& entry);

    InterruptBus& bus_;
    Delegate<void()> mask_changed_;
    std::uint8_t select_{};
    std::uint32_t id_{};
    std::uint32_t levels_;
    std::uint32_t unsent_{};  // pins with an edge that no local APIC has taken yet
    std::array<Entry, pins> entries_{};
};

}  // namespace bulkhead::guest
