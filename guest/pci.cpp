// SPDX-License-Identifier: Apache-2.0
#include "guest/pci.hpp"

namespace bulkhead::guest {
namespace {

constexpr std::uint16_t data_port = 0xcfc;
constexpr std::uint32_t address_enable = 1u << 31;
constexpr std::uint32_t address_implemented = 0x80ff'fffc;
constexpr std::uint32_t function_mask = 0x00ff'ff00;  // bus, device and function

namespace rcr {
constexpr std::uint8_t RESET_CPU = 0x04, implemented = 0x06;
}

// The identity of Intel's 440FX, the host bridge of most virtual PCs: every system knows it and asks nothing of it.
constexpr std::uint32_t device_and_vendor = 0x1237'8086;
constexpr std::uint32_t class_and_revision = 0x0600'0002;  // host bridge
constexpr std::uint16_t status_register = 0x0200;          // DEVSEL timing: medium
// Command: memory space and bus master are wired to one; SERR# and parity error response can be written.
constexpr std::uint16_t command_fixed = 0x0006, command_writable = 0x0140;
// Programmable attribute map: the whole area below 1 MiB is RAM that can be read and written, as it is.
constexpr std::uint32_t pam_58 = 0x3333'3000, pam_5c = 0x3333'3333;

}  // namespace

// Only a 32-bit access at CF8h is to the address register; narrower ones go to the bus behind it, where the reset
// control register is all there is.
std::uint32_t PciHost::in(std::uint16_t port, unsigned size) {
    if (port == first_port && size == 4) return address_;
    if (port >= data_port) return read_config(port - data_port);
    return bytewise_in(port, size, [this](std::uint16_t p) { return p == reset_port ? reset_control_ : 0xff; });
}

void PciHost::out(std::uint16_t port, unsigned size, std::uint32_t value) {
    if (port == first_port && size == 4) {
        address_ = value & address_implemented;
        return;
    }
    bytewise_out(port, size, value, [this](std::uint16_t p, std::uint8_t v) {
        if (p == reset_port) write_reset_control(v);
        if (p >= data_port && p <= last_port) write_config(p - data_port, v);
    });
}

// The doubleword that is addressed, shifted to the accessed byte.
std::uint32_t PciHost::read_config(unsigned offset) const {
    if (!(address_ & address_enable) || (address_ & function_mask) != 0) return ~0u;
    const auto dword = [this]() -> std::uint32_t {
        switch (address_ & 0xfc) {
            case 0x00: return device_and_vendor;
            case 0x04: return static_cast<std::uint32_t>(status_register) << 16 | command_;
            case 0x08: return class_and_revision;
            case 0x58: return pam_58;
            case 0x5c: return pam_5c;
            default: return 0;
        }
    }();
    return dword >> (8 * offset);
}

void PciHost::write_config(unsigned offset, std::uint8_t value) {
    if (!(address_ & address_enable) || (address_ & function_mask) != 0 || (address_ & 0xfc) != 0x04 || offset > 1)
        return;
    const unsigned lane = 0xffu << (8 * offset);
    const unsigned written = (command_ & ~lane) | static_cast<unsigned>(value) << (8 * offset);
    command_ = static_cast<std::uint16_t>((written & command_writable) | command_fixed);
}

// The machine is reset when RESET_CPU goes from zero to one.
void PciHost::write_reset_control(std::uint8_t value) {
    const bool pulse = value & ~reset_control_ & rcr::RESET_CPU;
    reset_control_ = value & rcr::implemented;
    if (pulse) reset_();
}

}  // namespace bulkhead::guest
