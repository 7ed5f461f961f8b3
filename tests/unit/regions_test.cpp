// SPDX-License-Identifier: Apache-2.0
#include "mm/regions.hpp"

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace bulkhead::mm {
namespace {

constexpr MemoryMapEntry usable(std::uint64_t start, std::uint64_t size) {
    return {{HostPhys{start}, size}, true};
}
constexpr MemoryMapEntry unusable(std::uint64_t start, std::uint64_t size) {
    return {{HostPhys{start}, size}, false};
}
constexpr MemoryRange range(std::uint64_t start, std::uint64_t size) {
    return {HostPhys{start}, size};
}

using Map = std::vector<MemoryMapEntry>;
using Ranges = std::vector<MemoryRange>;

std::vector<MemoryRange> parts_of(const MemoryLayout& layout) {
    std::vector<MemoryRange> parts(layout.block_ranges().begin(), layout.block_ranges().end());
    parts.push_back(layout.pool);
    return parts;
}

// What must hold of any layout, stated page by page.
void check(const MemoryLayout& layout, const Map& map, const Ranges& reserved, std::uint64_t limit) {
    const auto inside = [](std::uint64_t page, const MemoryRange& r) {
        const std::uint64_t end = r.start.value + r.size;
        return page + page_size > r.start.value && (page < end || end < r.start.value) && r.size > 0;
    };
    std::uint64_t bytes = 0;
    const auto parts = parts_of(layout);
    for (std::size_t i = 0; i < parts.size(); ++i) {
        ASSERT_TRUE(parts[i].start.is_aligned(large_page_size));
        ASSERT_EQ(parts[i].size % large_page_size, 0u);
        ASSERT_GT(parts[i].size, 0u);
        ASSERT_GE(parts[i].start.value, mib);
        ASSERT_LE(parts[i].end().value, limit);
        for (std::size_t j = 0; j < i; ++j)
            ASSERT_TRUE(parts[i].end() <= parts[j].start || parts[j].end() <= parts[i].start) << "parts overlap";
        if (i + 1 < parts.size()) bytes += parts[i].size;
        for (std::uint64_t page = parts[i].start.value; page < parts[i].end().value; page += page_size) {
            bool covered = false;
            for (const auto& entry : map) {
                const MemoryRange& r = entry.range;
                const std::uint64_t end = r.start.value + r.size < r.start.value ? ~0ull : r.start.value + r.size;
                if (entry.usable)
                    covered = covered || (page >= r.start.value && page + page_size <= end);
                else
                    ASSERT_FALSE(inside(page, r)) << "unusable memory used at " << std::hex << page;
            }
            ASSERT_TRUE(covered) << "memory that is not there used at " << std::hex << page;
            for (const auto& r : reserved)
                ASSERT_FALSE(inside(page, r)) << "reserved memory used at " << std::hex << page;
        }
    }
    EXPECT_EQ(bytes, layout.block_bytes);
}

TEST(Regions, AnOrdinaryPc) {
    const Map map{usable(0, 0x9fc00),
                  unusable(0x9fc00, 0x400),
                  unusable(0xe8000, 0x18000),
                  usable(0x10'0000, 0x1fef'0000),
                  unusable(0x1fff'0000, 0x1'0000),
                  unusable(0xfffc'0000, 0x4'0000)};
    const Ranges reserved{range(0x20'0000, 0x12'3456), range(0x40'1000, 20 * mib), range(0x9000, 0x100)};
    const auto layout = choose_layout(map, reserved, 40);
    ASSERT_TRUE(layout);
    check(*layout, map, reserved, 1ull << 40);
    // The lowest 2-MiB line behind the last module.
    EXPECT_EQ(layout->pool, range(26 * mib, 16 * mib));
    EXPECT_EQ(layout->block_regions, 1u);
    EXPECT_EQ(layout->blocks[0], range(42 * mib, 510 * mib - 42 * mib));
}

TEST(Regions, ThePoolGrowsWithTheMachine) {
    const Map map{usable(mib, 3 * gib - mib), usable(4 * gib, 13 * gib)};
    const auto layout = choose_layout(map, {}, 40);
    ASSERT_TRUE(layout);
    EXPECT_EQ(layout->pool.size, 256 * mib);
    const auto huge = choose_layout(Map{usable(mib, gib), usable(4 * gib, 1024 * gib)}, {}, 46);
    ASSERT_TRUE(huge);
    EXPECT_EQ(huge->pool, range(2 * mib, 512 * mib));
}

TEST(Regions, TouchingEntriesAreOneRun) {
    const Map map{usable(33 * mib, 31 * mib), usable(2 * mib, 31 * mib)};
    const auto layout = choose_layout(map, {}, 40);
    ASSERT_TRUE(layout);
    EXPECT_EQ(layout->block_regions, 1u);
    EXPECT_EQ(layout->pool.size + layout->block_bytes, 62 * mib);
}

TEST(Regions, OverlappingEntriesGoToTheCautiousSide) {
    const Map map{usable(0, 256 * mib), usable(64 * mib, 64 * mib), unusable(96 * mib + 1, 1), usable(96 * mib, mib)};
    const auto layout = choose_layout(map, {}, 40);
    ASSERT_TRUE(layout);
    check(*layout, map, {}, 1ull << 40);
    EXPECT_EQ(layout->pool.size + layout->block_bytes, 252 * mib);
}

TEST(Regions, EntriesMayLie) {
    const Map map{usable(0, 128 * mib),    usable(gib, 0),
                  unusable(32 * mib, 0),   usable(~0ull - 4 * mib, 8 * mib),
                  usable(1ull << 45, gib), unusable(64 * mib, ~0ull - 64 * mib)};
    const auto layout = choose_layout(map, Ranges{range(3 * mib, 0)}, 40);
    ASSERT_TRUE(layout);
    EXPECT_EQ(layout->pool.size + layout->block_bytes, 62 * mib);
    // An entry that wraps around still takes all that is above its start.
    const auto wrapped = choose_layout(Map{usable(0, 256 * mib), unusable(128 * mib, ~0ull)}, {}, 40);
    ASSERT_TRUE(wrapped);
    EXPECT_EQ(wrapped->pool.size + wrapped->block_bytes, 126 * mib);
}

TEST(Regions, TooLittleMemoryComesWithNumbers) {
    const auto layout = choose_layout(Map{usable(0, 40 * mib)}, Ranges{range(2 * mib, 2 * mib)}, 40);
    ASSERT_FALSE(layout);
    EXPECT_EQ(layout.error().usable, 37 * mib);
    EXPECT_EQ(layout.error().largest_run, 36 * mib);
    EXPECT_EQ(layout.error().needed, 48 * mib);
    EXPECT_EQ(layout.error().needed_run, 16 * mib);
    EXPECT_FALSE(choose_layout({}, {}, 40));
    EXPECT_TRUE(choose_layout(Map{usable(0, 52 * mib)}, Ranges{range(2 * mib, 2 * mib)}, 40));
}

TEST(Regions, EnoughMemoryInPiecesThatAreTooSmallIsTooLittle) {
    Map map;
    for (std::uint64_t i = 1; i < 40; ++i) map.push_back(usable(i * 32 * mib, 14 * mib));
    const auto layout = choose_layout(map, {}, 40);
    ASSERT_FALSE(layout);
    EXPECT_EQ(layout.error().usable, 39 * 14 * mib);
    EXPECT_EQ(layout.error().largest_run, 14 * mib);
}

TEST(Regions, MoreRangesThanThereIsRoomForAreLeftOut) {
    Map map{usable(2 * mib, 64 * mib)};
    for (std::uint64_t i = 4; i < 104; ++i) map.push_back(usable(i * 32 * mib, 4 * mib));
    const auto layout = choose_layout(map, {}, 40);
    ASSERT_TRUE(layout);
    EXPECT_EQ(layout->block_regions, max_block_regions);
    check(*layout, map, {}, 1ull << 40);
}

TEST(Regions, RandomMapsKeepTheRules) {
    std::mt19937_64 random(7);
    int laid_out = 0;
    for (int round = 0; round < 300; ++round) {
        Map map;
        Ranges reserved;
        for (unsigned i = 0; i < 1 + random() % 6; ++i)
            map.push_back({range(random() % (128 * mib), random() % (128 * mib)), random() % 3 != 0});
        for (unsigned i = 0; i < random() % 4; ++i)
            reserved.push_back(range(random() % (160 * mib), random() % (8 * mib)));
        const LayoutPolicy policy{.minimum_pool = 2 * mib, .maximum_pool = 8 * mib, .minimum_blocks = 2 * mib};
        const auto layout = choose_layout(map, reserved, 27, policy);
        if (!layout) continue;
        ++laid_out;
        check(*layout, map, reserved, 1ull << 27);
        if (testing::Test::HasFatalFailure()) return;
    }
    EXPECT_GT(laid_out, 100);
}

}  // namespace
}  // namespace bulkhead::mm
