// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>
#include <string_view>

#include "guest/acpi_tables.hpp"
#include "guest/fw_cfg.hpp"

namespace bulkhead::guest {

// The ACPI tables as firmware takes them from the firmware configuration device: the tables with offsets in place of
// addresses, and a script that says where they go and what is to be added up (QEMU, hw/acpi/bios-linker-loader.c).
class AcpiLoader {
  public:
    static constexpr std::string_view tables_file = "etc/acpi/tables", rsdp_file = "etc/acpi/rsdp",
                                      script_file = "etc/table-loader";

    // `parameters.place` is not looked at.
    [[nodiscard]] std::expected<void, TableError> build(const TableParameters& parameters);
    // The device shows what is in here, which stays where it is.
    [[nodiscard]] bool add_to(FwCfg& device) const;

  private:
    static constexpr std::size_t tables_room = 6 * kib, rsdp_size = 36, entry_size = 128, max_entries = 20;
    enum class Command : std::uint32_t { allocate = 1, add_pointer = 2, add_checksum = 3 };
    enum class Zone : std::uint8_t { high = 1, f_segment = 2 };

    void write_script(const TablePlaces& places);
    void allocate(std::string_view file, std::uint32_t alignment, Zone zone);
    // What is at `offset` of a file points into the tables.
    void add_pointer(std::string_view file, std::uint64_t offset, std::uint8_t size);
    // The byte at `offset` makes the sum of a range of the file zero.
    void add_checksum(std::string_view file, std::uint64_t offset, std::uint64_t start, std::uint64_t length);
    std::byte* add_entry(Command command);

    std::array<std::byte, tables_room + rsdp_size> tables_{};
    std::size_t tables_size_{};
    std::array<std::byte, max_entries * entry_size> script_{};
    std::size_t entries_{};
};

}  // namespace bulkhead::guest
