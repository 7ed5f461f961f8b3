// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "guest/ata_device.hpp"
#include "guest/bus.hpp"
#include "guest/line.hpp"

namespace bulkhead::guest {

// One cable with up to two devices: the ports of the Command Block, that of Device Control and Alternate Status, and
// the interrupt.
class AtaChannel final : public PortDevice {
  public:
    // Eight ports from `command_base` on, and one at `control`.
    AtaChannel(std::uint16_t command_base, std::uint16_t control) : base_(command_base), control_port_(control) {}

    // 0 or 1. The device outlives the channel.
    void attach(unsigned number, AtaDevice& device) { devices_[number] = &device; }

    std::uint16_t first_port() const { return base_; }
    std::uint16_t last_port() const { return static_cast<std::uint16_t>(base_ + 7); }
    std::uint16_t control_port() const { return control_port_; }
    InterruptLine& irq() { return irq_; }

    std::uint32_t in(std::uint16_t port, unsigned size) override;
    void out(std::uint16_t port, unsigned size, std::uint32_t value) override;
    void in_run(std::uint16_t port, unsigned size, std::span<std::byte> to) override;
    void out_run(std::uint16_t port, unsigned size, std::span<const std::byte> from) override;

  private:
    AtaDevice* selected() const { return devices_[selected_]; }
    AtaDevice* other() const { return devices_[selected_ ^ 1]; }
    std::uint16_t read_data();
    std::uint32_t read_data(unsigned size);
    void write_data(unsigned size, std::uint32_t value);
    std::uint8_t read(std::uint16_t port);
    std::uint8_t read_status() const;
    void write(std::uint16_t port, std::uint8_t value);
    void write_command(std::uint8_t value);
    void write_control(std::uint8_t value);
    void diagnose();
    void update() { irq_.set(selected() && selected()->interrupt_pending() && !masked_); }
    template <class Visit>
    void for_each_device(Visit visit) {
        for (AtaDevice* const device : devices_)
            if (device != nullptr) visit(*device);
    }

    const std::uint16_t base_, control_port_;
    InterruptLine irq_;
    std::array<AtaDevice*, 2> devices_{};
    unsigned selected_{};
    bool masked_{}, high_order_{}, in_reset_{};
};

}  // namespace bulkhead::guest
