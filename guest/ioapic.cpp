// SPDX-License-Identifier: Apache-2.0
#include "guest/ioapic.hpp"

namespace bulkhead::guest {
namespace {

using namespace isa::apic;

constexpr std::uint64_t IOREGSEL = 0x00, IOWIN = 0x10, EOIR = 0x40;
constexpr std::uint32_t IOAPICID = 0x00, IOAPICVER = 0x01, IOAPICARB = 0x02, IOREDTBL = 0x10;
constexpr std::uint32_t version = 0x20;

// Redirection table entry (3.2.4)
constexpr std::uint64_t active_low = 1u << 13;
constexpr std::uint64_t remote_irr = 1u << 14;
constexpr std::uint64_t level_triggered = 1u << 15;
constexpr std::uint64_t read_only = 1u << 12 | remote_irr;
constexpr std::uint64_t writable = 0xff00'0000'0001'ffff & ~read_only;

}  // namespace

bool IoApic::active(unsigned pin) const {
    return (levels_ >> pin & 1) != static_cast<std::uint32_t>((redirection_[pin] & active_low) != 0);
}

void IoApic::set_pin(unsigned pin, bool level) {
    const bool before = active(pin);
    levels_ = (levels_ & ~(1u << pin)) | static_cast<std::uint32_t>(level) << pin;
    if ((redirection_[pin] & level_triggered) != 0)
        evaluate_level(pin);
    else if (active(pin) && !before && (redirection_[pin] & masked) == 0)
        send(pin);  // an edge that finds its input masked is lost
}

void IoApic::evaluate_level(unsigned pin) {
    const std::uint64_t entry = redirection_[pin];
    if ((entry & (masked | remote_irr)) != 0 || (entry & level_triggered) == 0 || !active(pin)) return;
    const auto delivery = static_cast<DeliveryMode>(entry >> 8 & 7);
    if (delivery == DeliveryMode::fixed || delivery == DeliveryMode::lowest_priority) redirection_[pin] |= remote_irr;
    send(pin);
}

void IoApic::send(unsigned pin) {
    const std::uint64_t entry = redirection_[pin];
    bus_.deliver({.destination = static_cast<std::uint32_t>(entry >> 56),
                  .destination_mode = static_cast<DestinationMode>(entry >> 11 & 1),
                  .delivery = static_cast<DeliveryMode>(entry >> 8 & 7),
                  .trigger = static_cast<TriggerMode>(entry >> 15 & 1),
                  .vector = static_cast<std::uint8_t>(entry)});
}

void IoApic::eoi(std::uint8_t vector) {
    for (unsigned pin = 0; pin < pins; ++pin) {
        if ((redirection_[pin] & remote_irr) == 0 || static_cast<std::uint8_t>(redirection_[pin]) != vector) continue;
        redirection_[pin] &= ~remote_irr;
        evaluate_level(pin);
    }
}

std::uint32_t IoApic::read_register() const {
    if (select_ == IOAPICID || select_ == IOAPICARB) return id_ << 24;
    if (select_ == IOAPICVER) return version | (pins - 1) << 16;
    const std::uint32_t index = select_ - IOREDTBL;
    if (index >= 2 * pins) return 0;
    return static_cast<std::uint32_t>(redirection_[index / 2] >> (index % 2 * 32));
}

void IoApic::write_register(std::uint32_t value) {
    if (select_ == IOAPICID) id_ = value >> 24 & 0xf;
    if (const std::uint32_t index = select_ - IOREDTBL; index < 2 * pins)
        write_redirection(index / 2, index % 2 != 0, value);
}

void IoApic::write_redirection(unsigned pin, bool high, std::uint32_t value) {
    std::uint64_t& entry = redirection_[pin];
    const std::uint64_t mask = writable & (high ? 0xffff'ffff'0000'0000 : 0x0000'0000'ffff'ffff);
    entry = (entry & ~mask) | ((high ? std::uint64_t{value} << 32 : value) & mask);
    // An input that becomes edge-triggered has no interrupt in service any more.
    if ((entry & level_triggered) == 0) entry &= ~remote_irr;
    evaluate_level(pin);
}

std::uint64_t IoApic::read(std::uint64_t offset, unsigned) {
    switch (offset) {
        case IOREGSEL: return select_;
        case IOWIN: return read_register();
        default: return 0;
    }
}

void IoApic::write(std::uint64_t offset, unsigned, std::uint64_t value) {
    switch (offset) {
        case IOREGSEL: select_ = value & 0xff; return;
        case IOWIN: write_register(static_cast<std::uint32_t>(value)); return;
        case EOIR: eoi(static_cast<std::uint8_t>(value)); return;
        default: return;
    }
}

}  // namespace bulkhead::guest
