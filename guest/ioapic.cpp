// SPDX-License-Identifier: Apache-2.0
#include "guest/ioapic.hpp"

namespace bulkhead::guest {
namespace {

using isa::apic::DeliveryMode;
using isa::apic::DestinationMode;
using isa::apic::TriggerMode;

enum Window : std::uint64_t { IOREGSEL = 0x00, IOWIN = 0x10, EOIR = 0x40 };
enum Register : std::uint8_t { IOAPICID = 0, IOAPICVER = 1, IOAPICARB = 2, IOREDTBL = 0x10 };

constexpr std::uint32_t version = 0x20 | (IoApic::pins - 1) << 16;

// The low half of a redirection table entry.
constexpr std::uint32_t logical = 1u << 11;
constexpr std::uint32_t send_pending = 1u << 12;
constexpr std::uint32_t active_low = 1u << 13;
constexpr std::uint32_t remote_irr = 1u << 14;
constexpr std::uint32_t level_triggered = 1u << 15;
constexpr std::uint32_t mask = 1u << 16;
constexpr std::uint32_t writable = 0x1'afff;

constexpr DeliveryMode delivery(std::uint32_t entry) { return static_cast<DeliveryMode>(entry >> 8 & 7); }

// An interrupt that a local APIC ends is the only kind that can be level triggered.
constexpr bool is_level(std::uint32_t entry) {
    const DeliveryMode mode = delivery(entry);
    return (entry & level_triggered) != 0 && (mode == DeliveryMode::fixed || mode == DeliveryMode::lowest_priority);
}

}  // namespace

IoApic::IoApic(InterruptBus& bus, std::uint32_t idle_high) : bus_(bus), levels_(idle_high) { reset(); }

void IoApic::reset() {
    select_ = 0;
    id_ = 0;
    unsent_ = 0;
    for (Entry& entry : entries_) entry = {.low = mask, .high = 0};
    if (mask_changed_) mask_changed_();
}

bool IoApic::active(unsigned pin) const {
    const bool high = (levels_ >> pin & 1) != 0;
    return high != ((entries_[pin].low & active_low) != 0);
}

// What happens to a masked pin is lost, except that a level can still be there when it is unmasked.
void IoApic::set_pin(unsigned pin, bool high) {
    if (((levels_ >> pin & 1) != 0) == high) return;
    levels_ ^= 1u << pin;
    if (!active(pin) || masked(pin)) return;
    if (!is_level(entries_[pin].low)) unsent_ |= 1u << pin;
    service(pin);
}

void IoApic::service(unsigned pin) {
    Entry& entry = entries_[pin];
    if (masked(pin)) return;
    if (is_level(entry.low)) {
        if (active(pin) && (entry.low & remote_irr) == 0) {
            // Set first: the interrupt may be ended before the message's way back.
            entry.low |= remote_irr;
            if (!send(entry)) entry.low &= ~remote_irr;
        }
    } else if ((unsent_ & 1u << pin) != 0) {
        unsent_ &= ~(1u << pin);
        if (!send(entry)) unsent_ |= 1u << pin;
    }
}

bool IoApic::send(const Entry& entry) {
    return bus_.deliver(
        {.destination = entry.high >> 24,
         .destination_mode = (entry.low & logical) != 0 ? DestinationMode::logical : DestinationMode::physical,
         .delivery = delivery(entry.low),
         .trigger = is_level(entry.low) ? TriggerMode::level : TriggerMode::edge,
         .vector = static_cast<std::uint8_t>(entry.low)});
}

void IoApic::end_of_interrupt(std::uint8_t vector) {
    for (unsigned pin = 0; pin < pins; ++pin) {
        Entry& entry = entries_[pin];
        if ((entry.low & remote_irr) == 0 || static_cast<std::uint8_t>(entry.low) != vector) continue;
        entry.low &= ~remote_irr;
        service(pin);
    }
}

// ---- registers

std::uint64_t IoApic::read(std::uint64_t offset, unsigned size) {
    std::uint32_t value = 0;
    switch (offset & ~3ull) {
        case IOREGSEL: value = select_; break;
        case IOWIN: value = read_window(); break;
        default: break;
    }
    value >>= 8 * (offset & 3);
    return size >= 4 ? value : value & ((1u << (8 * size)) - 1);
}

void IoApic::write(std::uint64_t offset, unsigned size, std::uint64_t value) {
    switch (offset) {
        case IOREGSEL: select_ = static_cast<std::uint8_t>(value); break;
        case IOWIN:
            // "Must be accessed as a 32-bit quantity."
            if (size >= 4) write_window(static_cast<std::uint32_t>(value));
            break;
        case EOIR: end_of_interrupt(static_cast<std::uint8_t>(value)); break;
        default: break;
    }
}

std::uint32_t IoApic::read_window() const {
    switch (select_) {
        case IOAPICID:
        case IOAPICARB: return id_;
        case IOAPICVER: return version;
        default: break;
    }
    const unsigned pin = (select_ - IOREDTBL) / 2u;
    if (select_ < IOREDTBL || pin >= pins) return 0;
    if ((select_ & 1) != 0) return entries_[pin].high;
    return entries_[pin].low | ((unsent_ >> pin & 1) != 0 ? send_pending : 0);
}

void IoApic::write_window(std::uint32_t value) {
    if (select_ == IOAPICID) {
        id_ = value & 0x0f00'0000;
        return;
    }
    const unsigned pin = (select_ - IOREDTBL) / 2u;
    if (select_ < IOREDTBL || pin >= pins) return;
    if ((select_ & 1) != 0) {
        entries_[pin].high = value & 0xff00'0000;
        service(pin);
    } else {
        write_entry_low(pin, value);
    }
}

void IoApic::write_entry_low(unsigned pin, std::uint32_t value) {
    Entry& entry = entries_[pin];
    const bool was_masked = masked(pin), was_active = active(pin);
    entry.low = (value & writable) | (entry.low & remote_irr);
    // There is no remote IRR without level triggering; systems clear it by switching to edge and back.
    if (!is_level(entry.low)) entry.low &= ~remote_irr;
    if (masked(pin) || is_level(entry.low)) unsent_ &= ~(1u << pin);
    // The inputs are compared with the polarity: changing it makes an edge.
    if (!was_masked && !masked(pin) && !is_level(entry.low) && !was_active && active(pin)) unsent_ |= 1u << pin;
    service(pin);
    if (was_masked != masked(pin) && mask_changed_) mask_changed_();
}

}  // namespace bulkhead::guest
