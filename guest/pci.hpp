// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "guest/bus.hpp"
#include "lib/delegate.hpp"

namespace bulkhead::guest {

// PCI configuration mechanism #1 at ports CF8h to CFFh (PCI Local Bus specification 3.0, 3.2.2.3.2) and the reset
// control register that shares its second byte. The bus holds a host bridge and nothing else: kernels without SMBIOS
// tables (Linux's pci_sanity_check among them) accept the mechanism only when they find one.
class PciHost final : public PortDevice {
  public:
    static constexpr std::uint16_t first_port = 0xcf8, reset_port = 0xcf9, last_port = 0xcff;
    static constexpr std::uint8_t reset_value = 0x06;  // a hard reset, for the FADT

    explicit PciHost(Delegate<void()> reset) : reset_(reset) {}

    std::uint32_t in(std::uint16_t port, unsigned size) override;
    void out(std::uint16_t port, unsigned size, std::uint32_t value) override;

  private:
    std::uint32_t read_config(unsigned offset) const;
    void write_config(unsigned offset, std::uint8_t value);
    void write_reset_control(std::uint8_t value);

    Delegate<void()> reset_;
    std::uint32_t address_{};
    std::uint8_t reset_control_{};
    std::uint16_t command_{0x0006};
};

}  // namespace bulkhead::guest
