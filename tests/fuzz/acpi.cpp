// SPDX-License-Identifier: Apache-2.0
// The firmware's ACPI tables, damaged, with checksums that are right all the same.
#include "drivers/acpi.hpp"

#include "tests/fuzz/images.hpp"
#include "tests/unit/acpi_fixture.hpp"

using namespace bulkhead;
using namespace bulkhead::drivers::acpi;
using fuzz::require;

namespace {

using Table = std::vector<std::uint8_t>;

Table damaged_table(fuzz::Input& in, Table table) {
    const auto* const first = reinterpret_cast<const std::byte*>(table.data());
    const fuzz::Bytes bytes = fuzz::damaged(in, {first, first + table.size()}, table.size());
    const auto* const begin = reinterpret_cast<const std::uint8_t*>(bytes.data());
    Table result(begin, begin + bytes.size());
    if (result.size() > 9 && in.below(4) != 0) fix_sum(result, 9, result.size());
    return result;
}

Table root(fuzz::Input& in, std::string_view signature, unsigned width) {
    Table body;
    for (const std::uint64_t at : {0x3000u, 0x4000u}) put(body, body.size(), at, width);
    return damaged_table(in, table(signature, body));
}

}  // namespace

FUZZ_TARGET(in) {
    FakeMemory memory;
    memory.place(0x1000, root(in, "RSDT", 4));
    memory.place(0x2000, root(in, "XSDT", 8));
    memory.place(0x3000, damaged_table(in, madt({lapic(0, 1), lapic(1, 1), x2apic(300, 1), ioapic(2, 0xfec00000, 0),
                                                 source_override(0, 2, 0)})));
    memory.place(0x4000, damaged_table(in, fadt(0x5000)));
    memory.place(0x5000, damaged_table(in, table("DSDT", s5_aml)));
    Table pointer = rsdp(in.chance() ? 2 : 0, 0x1000, 0x2000);
    if (in.below(8) == 0) pointer = damaged_table(in, pointer);
    const auto platform = read_platform(std::as_bytes(std::span{pointer}), MapPhysical::to<&FakeMemory::map>(&memory));
    require(memory.maps < 1000, "the tables are read in few steps, whatever they say");
    if (!platform) return require(!describe(platform.error()).empty(), "an error has its sentence");
    require(platform->processor_count >= 1 && platform->processor_count <= max_processors, "there are processors");
    require(platform->io_apic_count <= max_io_apics, "the I/O APICs fit");
    if (platform->soft_off)
        require(platform->soft_off->sleep_type_a <= 7 && platform->soft_off->sleep_type_b <= 7,
                "a sleep type has 3 bits");
}
