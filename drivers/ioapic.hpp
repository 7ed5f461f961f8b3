// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "arch/isa/apic.hpp"
#include "lib/spinlock.hpp"

namespace bulkhead::drivers {

enum class Polarity : std::uint8_t { active_high = 0, active_low = 1 };

// A host I/O APIC (Intel 82093AA data sheet). All inputs are masked until routed.
class IoApic {
  public:
    // `registers` is its page, mapped uncached.
    void initialize(volatile void* registers, std::uint32_t gsi_base);

    bool handles(std::uint32_t gsi) const { return gsi - gsi_base_ < inputs_; }
    std::uint32_t inputs() const { return inputs_; }

    // False when the input is not here, or the APIC ID has more than the eight bits that an I/O APIC can address
    // without interrupt remapping.
    [[nodiscard]] bool route(std::uint32_t gsi, std::uint8_t vector, std::uint32_t apic_id,
                             isa::apic::TriggerMode trigger, Polarity polarity);
    void mask(std::uint32_t gsi);

  private:
    std::uint32_t read(std::uint32_t index);
    void write(std::uint32_t index, std::uint32_t value);

    SpinLock lock_;
    volatile std::uint32_t* registers_{};
    std::uint32_t gsi_base_{};
    std::uint32_t inputs_{};
};

// Masks every input of the 8259A pair, whose interrupts the I/O APIC replaces.
void mask_legacy_pics();

}  // namespace bulkhead::drivers
