// SPDX-License-Identifier: Apache-2.0
#include "guest/pm_function.hpp"

namespace bulkhead::guest {
namespace {

constexpr PciIdentity identity{.vendor = 0x8086, .device = 0x7113, .class_and_revision = 0x0680'0003};
constexpr std::uint16_t devsel_medium = 0x0280;
constexpr unsigned interrupt_pin = 0x3d, pm_base = 0x40, device_activity_b = 0x58, pm_misc = 0x80;
constexpr std::uint32_t io_indicator = 1u << 0, base_mask = 0xffc0;
constexpr std::uint8_t io_space_enable = 1u << 0;
// APMC_EN, by which firmware knows that system management mode is not its to set up.
constexpr std::uint32_t apmc_enabled = 1u << 25;

}  // namespace

PmFunction::PmFunction(AcpiPm& registers, PortBus& ports)
    : PciFunction(identity), registers_(registers), ports_(ports) {
    set(pci_header::command, std::uint16_t{0}, std::uint16_t{pci_header::io_space});
    set(pci_header::status, devsel_medium);
    set(pci_header::interrupt_line, std::uint8_t{AcpiPm::sci_irq}, std::uint8_t{0xff});
    set(interrupt_pin, std::uint8_t{1});
    set(pm_base, io_indicator, base_mask);
    set(device_activity_b, apmc_enabled);
    set(pm_misc, std::uint8_t{0}, io_space_enable);
}

std::uint16_t PmFunction::place() const { return static_cast<std::uint16_t>(get<std::uint32_t>(pm_base) & base_mask); }

// A place that another device has is not taken from it.
void PmFunction::written(unsigned offset, std::uint8_t before) {
    const bool moves = offset == pm_base || offset == pm_base + 1 || offset == pm_misc;
    if (!moves || read(offset) == before) return;
    ports_.release(*this);
    if ((read(pm_misc) & io_space_enable) != 0)
        static_cast<void>(
            ports_.claim(place(), static_cast<std::uint16_t>(place() + AcpiPm::last - AcpiPm::base), *this));
}

}  // namespace bulkhead::guest
