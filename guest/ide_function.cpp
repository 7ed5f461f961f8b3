// SPDX-License-Identifier: Apache-2.0
#include "guest/ide_function.hpp"

namespace bulkhead::guest {
namespace {

// A mass storage controller, IDE, whose channels are where PCs have them for good.
constexpr PciIdentity identity{.vendor = 0x8086, .device = 0x7010, .class_and_revision = 0x0101'0000};
constexpr std::uint16_t devsel_medium = 0x0200;
constexpr unsigned idetim = 0x40;  // of the first channel; that of the second follows
constexpr std::uint16_t decode_enable = 0x8000;

}  // namespace

IdeFunction::IdeFunction(PortBus& ports, std::span<const Drive> drives) : PciFunction(identity), ports_(ports) {
    set(pci_header::command, pci_header::io_space, pci_header::io_space);
    set(pci_header::status, devsel_medium);
    for (unsigned i = 0; i < channels; ++i) set(idetim + 2 * i, decode_enable, std::uint16_t{0xffff});
    for (unsigned i = 0; i < drives.size(); ++i) attach(i, drives[i]);
    for (unsigned i = 0; i < channels; ++i) place(i);
}

void IdeFunction::attach(unsigned number, const Drive& drive) {
    if (drive.store == nullptr) return;
    auto& held = devices_[number];
    AtaDevice& device = drive.kind == DriveKind::disk
                            ? static_cast<AtaDevice&>(held.emplace<AtaDisk>(number, *drive.store))
                            : held.emplace<AtapiDrive>(number, *drive.store);
    channels_[number / 2].attach(number % 2, device);
}

bool IdeFunction::decodes(unsigned channel) const {
    return (get<std::uint16_t>(pci_header::command) & pci_header::io_space) != 0 &&
           (get<std::uint16_t>(idetim + 2 * channel) & decode_enable) != 0;
}

void IdeFunction::written(unsigned offset, std::uint8_t before) {
    if (read(offset) == before) return;
    if (offset != pci_header::command && (offset < idetim || offset >= idetim + 2 * channels)) return;
    for (unsigned i = 0; i < channels; ++i) place(i);
}

// A place that another device has is not taken from it.
void IdeFunction::place(unsigned channel) {
    AtaChannel& c = channels_[channel];
    ports_.release(c);
    if (!decodes(channel)) return;
    static_cast<void>(ports_.claim(c.first_port(), c.last_port(), c));
    static_cast<void>(ports_.claim(c.control_port(), c.control_port(), c));
}

}  // namespace bulkhead::guest
