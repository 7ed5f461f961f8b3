// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>

#include "guest/memory.hpp"
#include "lib/address.hpp"

namespace bulkhead::guest {

// The DSDT that is built in: guest/acpi/dsdt.asl.
std::span<const std::byte> built_in_dsdt();

struct TableParameters {
    unsigned vcpus{1};  // their APIC IDs are 0 to vcpus - 1
    std::span<const std::byte> dsdt;
};

enum class TableError : std::uint8_t {
    bad_dsdt,    // not a table with the signature DSDT, of its own stated length and with a right checksum
    no_room,     // the tables do not fit into firmware's area
    not_memory,  // firmware's area is not RAM of the guest
};

// Writes RSDP, RSDT, XSDT, FADT, FACS, MADT and DSDT into firmware's area below 1 MiB (layout::acpi_tables,
// layout::rsdp).
[[nodiscard]] std::expected<void, TableError> write_acpi_tables(Memory& memory, const TableParameters& parameters);

}  // namespace bulkhead::guest
