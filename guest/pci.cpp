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

}  // namespace

bool PciHost::attach(unsigned device, unsigned number, PciFunction& function) {
    const std::uint32_t address = device << 11 | number << 8;
    if (slot_count_ == slots_.size() || device > 31 || number > 7 || at(address) != nullptr) return false;
    slots_[slot_count_++] = {address, &function};
    return true;
}

PciFunction* PciHost::at(std::uint32_t address) const {
    for (std::size_t i = 0; i < slot_count_; ++i)
        if (slots_[i].address == address) return slots_[i].function;
    return nullptr;
}

PciFunction* PciHost::selected() const {
    return (address_ & address_enable) != 0 ? at(address_ & function_mask) : nullptr;
}

// Only a 32-bit access at CF8h is to the address register; narrower ones go to the bus behind it, where the reset
// control register is all there is.
std::uint32_t PciHost::in(std::uint16_t port, unsigned size) {
    if (port == first_port && size == 4) return address_;
    const PciFunction* const function = selected();
    return bytewise_in(port, size, [&](std::uint16_t p) -> std::uint8_t {
        if (p == reset_port) return reset_control_;
        if (p < data_port || p > last_port || function == nullptr) return 0xff;
        return function->read((address_ & 0xfc) + p - data_port);
    });
}

void PciHost::out(std::uint16_t port, unsigned size, std::uint32_t value) {
    if (port == first_port && size == 4) {
        address_ = value & address_implemented;
        return;
    }
    PciFunction* const function = selected();
    bytewise_out(port, size, value, [&](std::uint16_t p, std::uint8_t v) {
        if (p == reset_port) write_reset_control(v);
        if (p >= data_port && p <= last_port && function != nullptr)
            function->write((address_ & 0xfc) + p - data_port, v);
    });
}

// The machine is reset when RESET_CPU goes from zero to one.
void PciHost::write_reset_control(std::uint8_t value) {
    const bool pulse = value & ~reset_control_ & rcr::RESET_CPU;
    reset_control_ = value & rcr::implemented;
    if (pulse) reset_();
}

}  // namespace bulkhead::guest
