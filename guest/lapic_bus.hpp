// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "guest/interrupt.hpp"

namespace bulkhead::guest {

class Lapic;

// ICR bits 19:18.
enum class Shorthand : std::uint8_t { none = 0, self = 1, all = 2, all_but_self = 3 };

// Inside the interrupt system destinations have the 32 bits of x2APIC mode.
inline constexpr std::uint32_t broadcast_destination = 0xffff'ffff;

// A destination of 8 bits, as xAPIC mode, I/O APICs and MSIs have it: physical FFh means every local APIC.
constexpr std::uint32_t widen_destination(std::uint8_t destination, isa::apic::DestinationMode mode) {
    const bool broadcast = mode == isa::apic::DestinationMode::physical && destination == 0xff;
    return broadcast ? broadcast_destination : destination;
}

// What a local APIC has of the rest of the interrupt system.
class LapicBus {
  public:
    // An IPI. With a shorthand the message's destination means nothing. False when no local APIC accepted it.
    virtual bool send(const InterruptMessage& message, Shorthand shorthand, const Lapic& sender) = 0;
    // The EOI message to the I/O APICs, of a level-triggered interrupt.
    virtual void end_of_interrupt(std::uint8_t vector) = 0;
    // The INTA cycle of an ExtINT: the vector from the 8259A.
    virtual std::uint8_t acknowledge_external() = 0;

  protected:
    ~LapicBus() = default;
};

}  // namespace bulkhead::guest
