// SPDX-License-Identifier: Apache-2.0
#include "guest/ata_channel.hpp"

namespace bulkhead::guest {
namespace {

using namespace ata;

// DD7 is pulled down, so that a host does not wait for a device that is not there (ATA/ATAPI-6, table 4).
constexpr std::uint8_t nobody = 0x7f;

}  // namespace

// The data register is 16 bits wide. The bridge makes two cycles of a 32-bit access (82371SB data sheet, 3.3.1), and of
// a byte it shows the lower half of one.
std::uint32_t AtaChannel::in(std::uint16_t port, unsigned size) {
    std::uint32_t value = 0;
    if (port == base_) {
        value = read_data(size);
    } else {
        value = bytewise_in(port, size, [this](std::uint16_t p) { return read(p); });
    }
    update();
    return value;
}

void AtaChannel::out(std::uint16_t port, unsigned size, std::uint32_t value) {
    if (port != base_) {
        bytewise_out(port, size, value, [this](std::uint16_t p, std::uint8_t v) { write(p, v); });
    } else {
        write_data(size, value);
    }
    update();
}

// Nobody sees the interrupt change before the run is over.
void AtaChannel::in_run(std::uint16_t port, unsigned size, std::span<std::byte> to) {
    if (port != base_) return PortDevice::in_run(port, size, to);
    each_in(to, size, [&] { return read_data(size); });
    update();
}

void AtaChannel::out_run(std::uint16_t port, unsigned size, std::span<const std::byte> from) {
    if (port != base_) return PortDevice::out_run(port, size, from);
    each_out(from, size, [&](std::uint32_t value) { write_data(size, value); });
    update();
}

std::uint32_t AtaChannel::read_data(unsigned size) {
    const std::uint32_t value = read_data();
    return size == 4 ? value | std::uint32_t{read_data()} << 16 : value;
}

void AtaChannel::write_data(unsigned size, std::uint32_t value) {
    if (selected() == nullptr) return;
    selected()->write_data(static_cast<std::uint16_t>(value));
    if (size == 4) selected()->write_data(static_cast<std::uint16_t>(value >> 16));
}

std::uint16_t AtaChannel::read_data() {
    if (selected() != nullptr) return selected()->read_data();
    return other() != nullptr ? 0 : 0xff00 | nobody;
}

// For a device 1 that is not there device 0 answers: with its own registers, but for the status (9.16.1).
std::uint8_t AtaChannel::read(std::uint16_t port) {
    if (port == control_port_) return read_status();
    if (port < base_ || port > last_port()) return 0xff;
    const auto reg = static_cast<AtaRegister>(port - base_);
    if (reg == AtaRegister::command) {
        if (selected() != nullptr) selected()->acknowledge_interrupt();
        return read_status();
    }
    const AtaDevice* const device = selected() != nullptr ? selected() : other();
    return device != nullptr ? device->read(reg, high_order_) : nobody;
}

std::uint8_t AtaChannel::read_status() const {
    if (selected() != nullptr) return selected()->status();
    return other() != nullptr ? 0 : nobody;
}

// Both devices have the registers; Device says for which of them the command is. Any write clears HOB (7.9.6).
void AtaChannel::write(std::uint16_t port, std::uint8_t value) {
    if (port == control_port_) return write_control(value);
    if (port <= base_ || port > last_port()) return;
    high_order_ = false;
    const auto reg = static_cast<AtaRegister>(port - base_);
    if (reg == AtaRegister::command) return write_command(value);
    for_each_device([&](AtaDevice& device) { device.write(reg, value); });
    if (reg == AtaRegister::device && !in_reset_) selected_ = (value & device::DEV) != 0;
}

void AtaChannel::write_command(std::uint8_t value) {
    if (in_reset_) return;
    // The line falls even if this command is over at once: its interrupt is an edge, too, for who took the last one
    // without a look at the status.
    irq_.set(false);
    if (value == command::EXECUTE_DEVICE_DIAGNOSTIC) return diagnose();
    if (selected() != nullptr) selected()->command(value);
}

// Both devices do it, whichever is selected; device 0 reports (8.11).
void AtaChannel::diagnose() {
    for_each_device([](AtaDevice& device) { device.reset(); });
    selected_ = 0;
    if (selected() != nullptr) selected()->request_interrupt();
}

// SRST works on both devices while it is set, and no interrupt follows (9.2).
void AtaChannel::write_control(std::uint8_t value) {
    masked_ = (value & control::nIEN) != 0;
    high_order_ = (value & control::HOB) != 0;
    const bool reset = (value & control::SRST) != 0;
    if (reset) for_each_device([](AtaDevice& device) { device.hold_in_reset(); });
    if (in_reset_ && !reset) {
        for_each_device([](AtaDevice& device) { device.reset(); });
        selected_ = 0;
    }
    in_reset_ = reset;
}

}  // namespace bulkhead::guest
