// SPDX-License-Identifier: Apache-2.0
#include "guest/memory_map.hpp"

#include <gtest/gtest.h>

namespace bulkhead::guest {
namespace {

class MemoryMapTest : public testing::TestWithParam<std::uint64_t> {};

TEST_P(MemoryMapTest, E820IsOrderedAndAgreesWithTheRam) {
    const std::uint64_t memory = GetParam();
    const MemoryMap map{memory};
    std::array<E820Entry, MemoryMap::max_e820_entries> storage;
    const auto e820 = map.e820(storage);
    std::uint64_t usable = 0;
    for (std::size_t i = 0; i < e820.size(); ++i) {
        EXPECT_NE(e820[i].size, 0u);
        if (i > 0) {
            EXPECT_GE(e820[i].first, e820[i - 1].end());
        }
        if (e820[i].type != E820Type::usable) continue;
        usable += e820[i].size;
        EXPECT_TRUE(map.contains(e820[i].first, e820[i].size));
    }
    EXPECT_EQ(usable, memory - (1 * mib - layout::ebda.value)) << "all but the top of the first MiB";
}

TEST_P(MemoryMapTest, RamCoversTheMemoryOnce) {
    const MemoryMap map{GetParam()};
    std::uint64_t offset = 0;
    for (const RamRange& range : map.ram()) {
        EXPECT_EQ(range.offset, offset);
        offset += range.size;
        EXPECT_TRUE(range.first.is_aligned(large_page_size));
        EXPECT_TRUE(GuestPhys{range.size}.is_aligned(large_page_size));
    }
    EXPECT_EQ(offset, GetParam());
    EXPECT_EQ(map.offset_of(map.end()), std::nullopt);
    EXPECT_EQ(map.offset_of(map.end() - 1), GetParam() - 1);
}

INSTANTIATE_TEST_SUITE_P(Sizes, MemoryMapTest,
                         testing::Values(2 * mib, 64 * mib, 3 * gib - 2 * mib, 3 * gib, 3 * gib + 2 * mib, 64 * gib));

TEST(MemoryMap, TheHoleIsNoRam) {
    const MemoryMap map{5 * gib};
    EXPECT_EQ(map.low_size(), 3 * gib);
    EXPECT_EQ(map.high_size(), 2 * gib);
    EXPECT_EQ(map.end(), GuestPhys{6 * gib});
    EXPECT_EQ(map.offset_of(GuestPhys{3 * gib - 1}), 3 * gib - 1);
    EXPECT_EQ(map.offset_of(GuestPhys{3 * gib}), std::nullopt);
    EXPECT_EQ(map.offset_of(layout::lapic), std::nullopt);
    EXPECT_EQ(map.offset_of(GuestPhys{4 * gib}), 3 * gib);
}

TEST(MemoryMap, ContainsLooksAtTheWholeRange) {
    const MemoryMap map{5 * gib};
    EXPECT_TRUE(map.contains(GuestPhys{3 * gib - 16}, 16));
    EXPECT_FALSE(map.contains(GuestPhys{3 * gib - 16}, 17));
    EXPECT_FALSE(map.contains(GuestPhys{3 * gib - 16}, 2 * gib)) << "across the hole";
    EXPECT_FALSE(map.contains(GuestPhys{16}, ~0ull)) << "no wrap-around";
    EXPECT_FALSE(map.contains(GuestPhys{~0ull}, 2));
}

TEST(MemoryMap, NothingInTheHoleOverlaps) {
    EXPECT_LE(layout::low_ram_limit, layout::pci_window);
    EXPECT_LE(layout::pci_window + layout::pci_window_size, layout::ioapic);
    EXPECT_LT(layout::ioapic, layout::lapic);
    EXPECT_LE(layout::acpi_tables + layout::acpi_tables_size, layout::rsdp);
    EXPECT_LT(layout::rsdp, layout::mp_pointer);
}

}  // namespace
}  // namespace bulkhead::guest
