// SPDX-License-Identifier: Apache-2.0
#include "guest/host_bridge.hpp"

namespace bulkhead::guest {
namespace {

constexpr PciIdentity identity{.vendor = 0x8086, .device = 0x1237, .class_and_revision = 0x0600'0002};
// Command: memory space and bus master are wired to one; SERR# and parity error response can be written.
constexpr std::uint16_t command_fixed = pci_header::memory_space | pci_header::bus_master, command_writable = 0x0140;
constexpr std::uint16_t devsel_medium = 0x0200;
constexpr std::uint16_t qemu_vendor = 0x1af4, qemu_machine = 0x1100;

// Programmable attribute map, 59h to 5Fh: a nibble a segment, that of the first byte's lower half is not there.
constexpr unsigned pam0 = 0x59, pam_registers = 7;
constexpr std::uint8_t read_enable = 0x1, write_enable = 0x2, both_nibbles = 0x33, upper_nibble = 0x30;
// SMRAM is locked and off: there is no system management mode.
constexpr unsigned smram = 0x72;
constexpr std::uint8_t smram_locked = 0x12;

}  // namespace

HostBridge::HostBridge(ShadowMemory* shadow) : PciFunction(identity), shadow_(shadow) {
    set(pci_header::command, command_fixed, command_writable);
    set(pci_header::status, devsel_medium);
    set(smram, smram_locked);
    for (unsigned i = 0; i < pam_registers; ++i) {
        const std::uint8_t implemented = i == 0 ? upper_nibble : both_nibbles;
        if (shadow_ != nullptr)
            set(pam0 + i, std::uint8_t{0}, implemented);
        else
            set(pam0 + i, implemented);
    }
    if (shadow_ == nullptr) return;
    set(pci_header::subsystem_vendor, qemu_vendor);
    set(pci_header::subsystem, qemu_machine);
}

// PAM0 is for the segment from F0000h on, which is the last one; each other register for two, from C0000h on.
void HostBridge::written(unsigned offset, std::uint8_t before) {
    if (shadow_ == nullptr || offset < pam0 || offset >= pam0 + pam_registers || read(offset) == before) return;
    const auto obey = [&](unsigned segment, unsigned nibble) {
        shadow_->set(segment, {.read = (nibble & read_enable) != 0, .write = (nibble & write_enable) != 0});
    };
    const unsigned value = read(offset), number = offset - pam0;
    if (number == 0) return obey(ShadowMemory::segments - 1, value >> 4);
    obey(2 * (number - 1), value);
    obey(2 * (number - 1) + 1, value >> 4);
}

}  // namespace bulkhead::guest
