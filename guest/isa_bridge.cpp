// SPDX-License-Identifier: Apache-2.0
#include "guest/isa_bridge.hpp"

namespace bulkhead::guest {
namespace {

constexpr PciIdentity identity{.vendor = 0x8086, .device = 0x7000, .class_and_revision = 0x0601'0000};
constexpr std::uint16_t command = pci_header::io_space | pci_header::memory_space | pci_header::bus_master;
constexpr std::uint16_t devsel_medium = 0x0200;
constexpr unsigned io_recovery = 0x4c, chip_select = 0x4e, pirq_a = 0x60, pirqs = 4, top_of_memory = 0x69;
constexpr std::uint8_t pirq_off = 0x80;

}  // namespace

IsaBridge::IsaBridge() : PciFunction(identity) {
    set(pci_header::command, command);
    set(pci_header::status, devsel_medium);
    set(pci_header::header_type, pci_header::multi_function);
    set(io_recovery, std::uint8_t{0x4d}, std::uint8_t{0x7f});
    set(chip_select, std::uint16_t{0x0003}, std::uint16_t{0x01ff});
    for (unsigned i = 0; i < pirqs; ++i) set(pirq_a + i, pirq_off, std::uint8_t{0x8f});
    set(top_of_memory, std::uint8_t{0x02}, std::uint8_t{0xfe});
}

}  // namespace bulkhead::guest
