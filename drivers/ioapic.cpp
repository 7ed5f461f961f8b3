// SPDX-License-Identifier: Apache-2.0
#include "drivers/ioapic.hpp"

#include "arch/cpu/instructions.hpp"

namespace bulkhead::drivers {
namespace {

constexpr unsigned IOREGSEL = 0x00 / 4, IOWIN = 0x10 / 4;
constexpr std::uint32_t IOAPICVER = 0x01, IOREDTBL = 0x10;
constexpr std::uint32_t redirection_masked = 1u << 16;

constexpr std::uint32_t low_half(std::uint32_t input) {
    return IOREDTBL + 2 * input;
}
constexpr std::uint32_t high_half(std::uint32_t input) {
    return IOREDTBL + 2 * input + 1;
}

}  // namespace

std::uint32_t IoApic::read(std::uint32_t index) {
    registers_[IOREGSEL] = index;
    return registers_[IOWIN];
}

void IoApic::write(std::uint32_t index, std::uint32_t value) {
    registers_[IOREGSEL] = index;
    registers_[IOWIN] = value;
}

void IoApic::initialize(volatile void* registers, std::uint32_t gsi_base) {
    const LockGuard guard(lock_);
    registers_ = static_cast<volatile std::uint32_t*>(registers);
    gsi_base_ = gsi_base;
    inputs_ = (read(IOAPICVER) >> 16 & 0xff) + 1;
    for (std::uint32_t input = 0; input < inputs_; ++input) write(low_half(input), redirection_masked);
}

bool IoApic::route(std::uint32_t gsi, std::uint8_t vector, std::uint32_t apic_id, isa::apic::TriggerMode trigger,
                   Polarity polarity) {
    if (!handles(gsi) || apic_id > 0xff) return false;
    const LockGuard guard(lock_);
    const std::uint32_t input = gsi - gsi_base_;
    // Masked while its halves do not fit together. Fixed delivery, physical destination.
    write(low_half(input), redirection_masked);
    write(high_half(input), apic_id << 24);
    write(low_half(input),
          vector | static_cast<std::uint32_t>(polarity) << 13 | static_cast<std::uint32_t>(trigger) << 15);
    return true;
}

void IoApic::mask(std::uint32_t gsi) {
    if (!handles(gsi)) return;
    const LockGuard guard(lock_);
    const std::uint32_t index = low_half(gsi - gsi_base_);
    write(index, read(index) | redirection_masked);
}

void mask_legacy_pics() {
    cpu::out8(0x21, 0xff);
    cpu::out8(0xa1, 0xff);
}

}  // namespace bulkhead::drivers
