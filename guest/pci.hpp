// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "guest/bus.hpp"
#include "guest/pci_function.hpp"
#include "lib/delegate.hpp"

namespace bulkhead::guest {

// PCI configuration mechanism #1 at ports CF8h to CFFh (PCI Local Bus specification 3.0, 3.2.2.3.2), the functions on
// bus 0 behind it, and the reset control register that shares its second byte.
class PciHost final : public PortDevice {
  public:
    static constexpr std::uint16_t first_port = 0xcf8, reset_port = 0xcf9, last_port = 0xcff;
    static constexpr std::uint8_t reset_value = 0x06;  // a hard reset, for the FADT

    explicit PciHost(Delegate<void()> reset) : reset_(reset) {}

    // On bus 0; the function outlives the host. False when there is no room or its place is taken.
    [[nodiscard]] bool attach(unsigned device, unsigned number, PciFunction& function);

    std::uint32_t in(std::uint16_t port, unsigned size) override;
    void out(std::uint16_t port, unsigned size, std::uint32_t value) override;

  private:
    struct Slot {
        std::uint32_t address{};  // as in the address register
        PciFunction* function{};
    };

    // The function that the address register selects.
    PciFunction* selected() const;
    PciFunction* at(std::uint32_t address) const;
    void write_reset_control(std::uint8_t value);

    Delegate<void()> reset_;
    std::array<Slot, 16> slots_{};
    std::size_t slot_count_{};
    std::uint32_t address_{};
    std::uint8_t reset_control_{};
};

}  // namespace bulkhead::guest
