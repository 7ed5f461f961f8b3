// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <variant>

#include "guest/ata_channel.hpp"
#include "guest/ata_disk.hpp"
#include "guest/atapi_drive.hpp"
#include "guest/bus.hpp"
#include "guest/config.hpp"
#include "guest/pci_function.hpp"

namespace bulkhead::guest {

// What is at one place on the cables; nothing without a store.
struct Drive {
    DriveKind kind{};
    BlockStore* store{};
};

// Function 1 of the 82371SB (PIIX3; data sheet 290550): two ATA channels at the ports and interrupts that PCs have
// them, with two drives each. It has no bus master function: neither the programming interface nor a base address says
// so.
//
// I/O space in the command register and IDE Decode Enable in IDETIM say whether a channel's ports are there. Both are
// set from the start, as firmware leaves them.
class IdeFunction final : public PciFunction {
  public:
    static constexpr unsigned channels = 2;
    static constexpr std::array<unsigned, channels> irqs{14, 15};

    // The first drive is device 0 of the first channel, the second device 1. Ports and stores outlive the function.
    IdeFunction(PortBus& ports, std::span<const Drive> drives);

    InterruptLine& irq(unsigned channel) { return channels_[channel].irq(); }

  private:
    void attach(unsigned number, const Drive& drive);
    void written(unsigned offset, std::uint8_t before) override;
    bool decodes(unsigned channel) const;
    void place(unsigned channel);

    PortBus& ports_;
    std::array<AtaChannel, channels> channels_{{{0x1f0, 0x3f6}, {0x170, 0x376}}};
    std::array<std::variant<std::monostate, AtaDisk, AtapiDrive>, max_drives> devices_;
};

}  // namespace bulkhead::guest
