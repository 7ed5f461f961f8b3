// SPDX-License-Identifier: Apache-2.0
#include "mm/block_allocator.hpp"

#include <gtest/gtest.h>

#include <set>
#include <vector>

namespace bulkhead::mm {
namespace {

constexpr auto guest_a = OwnerId::first_guest;
constexpr auto guest_b = static_cast<OwnerId>(3);

// Two ranges with a hole between them.
const std::vector<MemoryRange> ranges{{HostPhys{4 * mib}, 6 * mib}, {HostPhys{4 * gib}, 4 * mib}};
const std::vector<HostPhys> all_blocks{HostPhys{4 * mib}, HostPhys{6 * mib}, HostPhys{8 * mib}, HostPhys{4 * gib},
                                       HostPhys{4 * gib + 2 * mib}};

class BlockAllocatorTest : public testing::Test {
  protected:
    BlockAllocatorTest() { blocks.initialize(ranges, storage); }

    std::vector<OwnerId> storage = std::vector<OwnerId>(BlockAllocator::entries_for(ranges), OwnerId::hypervisor);
    BlockAllocator blocks;
};

TEST_F(BlockAllocatorTest, HandsOutEveryBlockOnce) {
    EXPECT_EQ(blocks.total(), all_blocks.size());
    for (const HostPhys expected : all_blocks) EXPECT_EQ(blocks.allocate(guest_a), expected);
    EXPECT_EQ(blocks.available(), 0u);
    EXPECT_EQ(blocks.used(guest_a), all_blocks.size());
    EXPECT_EQ(blocks.allocate(guest_a), std::unexpected(OutOfMemory::exhausted));
    EXPECT_EQ(blocks.allocate(guest_b), std::unexpected(OutOfMemory::exhausted));
}

TEST_F(BlockAllocatorTest, KnowsWhoOwnsAnAddress) {
    EXPECT_EQ(blocks.owner_of(HostPhys{4 * mib}), OwnerId::nobody);
    ASSERT_TRUE(blocks.allocate(guest_b));
    EXPECT_EQ(blocks.owner_of(HostPhys{4 * mib}), guest_b);
    EXPECT_EQ(blocks.owner_of(HostPhys{6 * mib - 1}), guest_b);
    EXPECT_EQ(blocks.owner_of(HostPhys{6 * mib}), OwnerId::nobody);
    EXPECT_EQ(blocks.owner_of(HostPhys{4 * mib - 1}), OwnerId::nobody);
    EXPECT_EQ(blocks.owner_of(HostPhys{10 * mib}), OwnerId::nobody);
    EXPECT_EQ(blocks.owner_of(HostPhys{~0ull}), OwnerId::nobody);
}

TEST_F(BlockAllocatorTest, ReleasedBlocksComeBack) {
    for (std::size_t i = 0; i < all_blocks.size(); ++i) ASSERT_TRUE(blocks.allocate(guest_a));
    blocks.release(all_blocks[3]);
    blocks.release(all_blocks[1]);
    EXPECT_EQ(blocks.available(), 2u);
    EXPECT_EQ(blocks.used(guest_a), 3u);
    EXPECT_EQ(blocks.allocate(guest_b), all_blocks[1]);
    EXPECT_EQ(blocks.allocate(guest_b), all_blocks[3]);
    EXPECT_FALSE(blocks.allocate(guest_b));
}

TEST_F(BlockAllocatorTest, ReleaseAllTakesOneOwnersBlocksAndNoOthers) {
    ASSERT_TRUE(blocks.allocate(guest_a));
    ASSERT_TRUE(blocks.allocate(guest_b));
    ASSERT_TRUE(blocks.allocate(guest_a));
    blocks.release_all(guest_a);
    EXPECT_EQ(blocks.used(guest_a), 0u);
    EXPECT_EQ(blocks.used(guest_b), 1u);
    EXPECT_EQ(blocks.owner_of(all_blocks[1]), guest_b);
    EXPECT_EQ(blocks.allocate(guest_b), all_blocks[0]);
    EXPECT_EQ(blocks.allocate(guest_b), all_blocks[2]);
    blocks.release_all(OwnerId::nobody);
    EXPECT_EQ(blocks.available(), 2u);
}

TEST_F(BlockAllocatorTest, ABudgetStopsItsOwnerAlone) {
    blocks.set_budget(guest_a, 1);
    const auto block = blocks.allocate(guest_a);
    ASSERT_TRUE(block);
    EXPECT_EQ(blocks.allocate(guest_a), std::unexpected(OutOfMemory::over_budget));
    EXPECT_EQ(blocks.available(), all_blocks.size() - 1);
    EXPECT_TRUE(blocks.allocate(guest_b));
    blocks.release(*block);
    EXPECT_TRUE(blocks.allocate(guest_a));
    EXPECT_FALSE(blocks.allocate(OwnerId::nobody));
    EXPECT_FALSE(blocks.allocate(static_cast<OwnerId>(max_owners)));
}

TEST_F(BlockAllocatorTest, TooLittleStorageMeansFewerBlocks) {
    blocks.initialize(ranges, std::span(storage).first(4));
    std::set<HostPhys> got;
    while (const auto block = blocks.allocate(guest_a)) got.insert(*block);
    EXPECT_EQ(got, std::set(all_blocks.begin(), all_blocks.begin() + 4));
    EXPECT_EQ(blocks.owner_of(all_blocks[4]), OwnerId::nobody);
    blocks.initialize({}, {});
    EXPECT_FALSE(blocks.allocate(guest_a));
}

using BlockAllocatorDeathTest = BlockAllocatorTest;

TEST_F(BlockAllocatorDeathTest, WrongReleasesStopTheMachine) {
    const HostPhys block = *blocks.allocate(guest_a);
    EXPECT_DEATH(blocks.release(block + page_size), "") << "misaligned";
    EXPECT_DEATH(blocks.release(all_blocks[1]), "") << "free";
    EXPECT_DEATH(blocks.release(HostPhys{10 * mib}), "") << "no block";
    blocks.release(block);
    EXPECT_DEATH(blocks.release(block), "") << "twice";
}

}  // namespace
}  // namespace bulkhead::mm
