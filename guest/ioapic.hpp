// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>

#include "guest/bus.hpp"
#include "guest/interrupt.hpp"

namespace bulkhead::guest {

// An I/O APIC with 24 inputs (Intel 82093AA data sheet), of version 20h: with an EOI register at 40h.
class IoApic final : public MmioDevice {
  public:
    static constexpr unsigned pins = 24;

    IoApic(InterruptBus& bus, unsigned id) : bus_(bus), id_(id) { redirection_.fill(masked); }

    // The level of an input's wire; the polarity bit of its entry says which level is active.
    void set_pin(unsigned pin, bool level);
    // A local APIC ended a level-triggered interrupt.
    void eoi(std::uint8_t vector);

    std::uint64_t read(std::uint64_t offset, unsigned size) override;
    void write(std::uint64_t offset, unsigned size, std::uint64_t value) override;

  private:
    static constexpr std::uint64_t masked = 1u << 16;

    std::uint32_t read_register() const;
    void write_register(std::uint32_t value);
    void write_redirection(unsigned pin, bool high, std::uint32_t value);
    bool active(unsigned pin) const;
    // Sends what a level-triggered input asks for, unless the last one is still in service.
    void evaluate_level(unsigned pin);
    void send(unsigned pin);

    InterruptBus& bus_;
    std::uint32_t id_;
    std::uint32_t select_{};
    std::uint32_t levels_{};
    std::array<std::uint64_t, pins> redirection_{};
};

}  // namespace bulkhead::guest
