// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "arch/isa/apic.hpp"

namespace bulkhead::guest {

// What travels between I/O APICs and local APICs (SDM volume 3, 10.11).
struct InterruptMessage {
    std::uint32_t destination{};  // APIC ID (physical) or message destination address (logical)
    isa::apic::DestinationMode destination_mode{};
    isa::apic::DeliveryMode delivery{};
    isa::apic::TriggerMode trigger{};
    std::uint8_t vector{};
};

// Where an I/O APIC (and MSI later) puts its messages: the local APICs of the guest.
class InterruptBus {
  public:
    // False when no local APIC accepted it.
    virtual bool deliver(const InterruptMessage& message) = 0;

  protected:
    ~InterruptBus() = default;
};

// What a local APIC asks of its processor. The monitor implements it; all of these may come from another CPU's exit.
class ProcessorEvents {
  public:
    // The local APIC's (or the 8259's) answer to "is an interrupt deliverable" may have changed: wake from HLT, look
    // again before entry.
    virtual void interrupt_pending() = 0;
    virtual void nmi() = 0;
    virtual void init() = 0;
    virtual void startup(std::uint8_t vector) = 0;

  protected:
    ~ProcessorEvents() = default;
};

}  // namespace bulkhead::guest
