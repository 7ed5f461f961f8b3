// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>

#include "guest/acpi_pm.hpp"
#include "guest/memory.hpp"
#include "guest/memory_map.hpp"
#include "lib/address.hpp"

namespace bulkhead::guest {

// The DSDTs that are built in: guest/acpi/dsdt.asl. That of a PC has a keyboard.
std::span<const std::byte> built_in_dsdt();
std::span<const std::byte> built_in_pc_dsdt();

// Where the tables go: all but the root pointer one after the other into a place of their own. Its start is aligned
// to 64.
struct TablePlace {
    GuestPhys tables{layout::acpi_tables};
    std::uint64_t size{layout::acpi_tables_size};
    GuestPhys rsdp{layout::rsdp};
};

struct TableParameters {
    unsigned vcpus{1};  // their APIC IDs are 0 to vcpus - 1
    std::span<const std::byte> dsdt;
    std::uint16_t pm_base{AcpiPm::base};  // where the registers of ACPI are
    bool display_and_keyboard{};  // a VGA's registers and memory, and a keyboard at the 8042
    TablePlace place{};
};

// Where they went, and what is behind the last one.
struct TablePlaces {
    GuestPhys fadt, rsdt, xsdt, end;
};

enum class TableError : std::uint8_t {
    bad_dsdt,    // not a table with the signature DSDT, of its own stated length and with a right checksum
    no_room,     // the tables do not fit into their place
    not_memory,  // their place is not RAM of the guest
};

// Writes RSDP, RSDT, XSDT, FADT, FACS, MADT and DSDT.
[[nodiscard]] std::expected<TablePlaces, TableError> write_acpi_tables(Memory& memory,
                                                                       const TableParameters& parameters);

}  // namespace bulkhead::guest
