// SPDX-License-Identifier: Apache-2.0
#include "mm/frame_pool.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <thread>
#include <vector>

namespace bulkhead::mm {
namespace {

constexpr std::size_t frames = 64;
constexpr HostPhys pool_base{0x1234'5000};
constexpr auto guest_a = OwnerId::first_guest;
constexpr auto guest_b = static_cast<OwnerId>(3);

class FramePoolTest : public testing::Test {
  protected:
    FramePoolTest() {
        std::ranges::fill(memory, std::byte{0xa5});
        pool.initialize(pool_base, memory);
    }
    std::vector<HostPhys> take_all(OwnerId owner) {
        std::vector<HostPhys> taken;
        while (const auto frame = pool.allocate(owner)) taken.push_back(*frame);
        return taken;
    }

    std::vector<std::byte> memory = std::vector<std::byte>(frames * page_size);
    FramePool pool;
};

TEST_F(FramePoolTest, TheFirstFrameHoldsTheOwners) {
    EXPECT_EQ(pool.total(), frames);
    EXPECT_EQ(pool.available(), frames - 1);
    EXPECT_EQ(pool.used(OwnerId::hypervisor), 1u);
}

TEST_F(FramePoolTest, FramesAreZeroedAlignedAndDistinct) {
    const auto taken = take_all(guest_a);
    EXPECT_EQ(taken.size(), frames - 1);
    EXPECT_EQ(std::set(taken.begin(), taken.end()).size(), taken.size());
    for (const HostPhys frame : taken) {
        ASSERT_TRUE(frame.offset_in(page_size) == pool_base.offset_in(page_size));
        ASSERT_TRUE(pool.contains(frame) && frame != pool_base);
        const auto* bytes = pool.at<std::byte>(frame);
        EXPECT_TRUE(std::all_of(bytes, bytes + page_size, [](std::byte b) { return b == std::byte{}; }));
        EXPECT_EQ(pool.phys(bytes + 7), frame + 7);
    }
}

TEST_F(FramePoolTest, AFrameThatCameBackIsZeroedAgain) {
    const HostPhys frame = *pool.allocate(guest_a);
    std::fill_n(pool.at<std::byte>(frame), page_size, std::byte{0xff});
    pool.release(frame);
    ASSERT_EQ(pool.allocate(guest_b), frame);
    EXPECT_EQ(*pool.at<std::uint64_t>(frame), 0u);
    EXPECT_EQ(*pool.at<std::uint64_t>(frame + page_size - 8), 0u);
}

TEST_F(FramePoolTest, ExhaustionIsAnErrorAndPasses) {
    const auto taken = take_all(guest_a);
    EXPECT_EQ(pool.allocate(guest_b), std::unexpected(OutOfMemory::exhausted));
    EXPECT_EQ(pool.available(), 0u);
    pool.release(taken[10]);
    EXPECT_EQ(pool.allocate(guest_b), taken[10]);
}

TEST_F(FramePoolTest, RunsAreContiguousAndFirstFit) {
    const HostPhys run = *pool.allocate(guest_a, 8);
    EXPECT_EQ(*pool.allocate(guest_a), run + 8 * page_size);
    pool.release(run + 2 * page_size, 3);
    // Too small a hole is passed over, and found again by what fits.
    EXPECT_EQ(*pool.allocate(guest_b, 4), run + 9 * page_size);
    EXPECT_EQ(*pool.allocate(guest_b, 3), run + 2 * page_size);
    EXPECT_EQ(*pool.allocate(guest_b, 1), run + 13 * page_size);
}

TEST_F(FramePoolTest, ARunThatNoHoleHoldsIsAnErrorWithoutEffect) {
    const auto taken = take_all(guest_a);
    for (std::size_t i = 0; i < taken.size(); i += 2) pool.release(taken[i]);
    const std::size_t free_before = pool.available();
    ASSERT_GE(free_before, 2u);
    EXPECT_EQ(pool.allocate(guest_b, 2), std::unexpected(OutOfMemory::exhausted));
    EXPECT_EQ(pool.available(), free_before);
    EXPECT_EQ(pool.used(guest_b), 0u);
    EXPECT_TRUE(pool.allocate(guest_b, 1));
}

TEST_F(FramePoolTest, NothingAndTooMuchAreErrors) {
    EXPECT_FALSE(pool.allocate(guest_a, 0));
    EXPECT_FALSE(pool.allocate(guest_a, frames));
    EXPECT_FALSE(pool.allocate(guest_a, ~std::size_t{}));
    EXPECT_FALSE(pool.allocate(OwnerId::nobody));
    EXPECT_FALSE(pool.allocate(static_cast<OwnerId>(max_owners)));
    EXPECT_EQ(pool.available(), frames - 1);
}

TEST_F(FramePoolTest, ABudgetStopsItsOwnerAlone) {
    pool.set_budget(guest_a, 3);
    EXPECT_TRUE(pool.allocate(guest_a, 2));
    EXPECT_EQ(pool.allocate(guest_a, 2), std::unexpected(OutOfMemory::over_budget));
    const auto third = pool.allocate(guest_a);
    EXPECT_TRUE(third);
    EXPECT_EQ(pool.allocate(guest_a), std::unexpected(OutOfMemory::over_budget));
    EXPECT_TRUE(pool.allocate(guest_b, 20));
    pool.release(*third);
    EXPECT_TRUE(pool.allocate(guest_a));
    // Lowered below what is held: no more, and no wrap-around.
    pool.set_budget(guest_a, 1);
    EXPECT_EQ(pool.allocate(guest_a), std::unexpected(OutOfMemory::over_budget));
}

TEST_F(FramePoolTest, ReleaseAllTakesOneOwnersFramesAndNoOthers) {
    const HostPhys a1 = *pool.allocate(guest_a, 2), b = *pool.allocate(guest_b, 2), a2 = *pool.allocate(guest_a);
    *pool.at<std::uint64_t>(b) = 42;
    pool.release_all(guest_a);
    EXPECT_EQ(pool.used(guest_a), 0u);
    EXPECT_EQ(pool.used(guest_b), 2u);
    EXPECT_EQ(*pool.at<std::uint64_t>(b), 42u);
    EXPECT_EQ(*pool.allocate(guest_b, 2), a1);
    EXPECT_EQ(*pool.allocate(guest_b), a2);
    pool.release_all(guest_a);  // nothing left to take
    EXPECT_EQ(pool.used(guest_b), 5u);
}

TEST_F(FramePoolTest, EndsAndOddSizesStayOutside) {
    EXPECT_FALSE(pool.contains(pool_base - 1));
    EXPECT_TRUE(pool.contains(pool_base));
    EXPECT_TRUE(pool.contains(pool_base + frames * page_size - 1));
    EXPECT_FALSE(pool.contains(pool_base + frames * page_size));
    FramePool odd;
    odd.initialize(pool_base, std::span(memory).first(3 * page_size + 100));
    EXPECT_EQ(odd.total(), 3u);
    FramePool none;
    none.initialize(pool_base, {});
    EXPECT_FALSE(none.allocate(guest_a));
}

using FramePoolDeathTest = FramePoolTest;

TEST_F(FramePoolDeathTest, WrongReleasesStopTheMachine) {
    const HostPhys frame = *pool.allocate(guest_a);
    const HostPhys other = *pool.allocate(guest_b);
    EXPECT_DEATH(pool.release(frame, 2), "") << "two owners";
    pool.release(frame);
    EXPECT_DEATH(pool.release(frame), "") << "twice";
    EXPECT_DEATH(pool.release(other + 1), "") << "misaligned";
    EXPECT_DEATH(pool.release(pool_base + frames * page_size), "") << "outside";
    EXPECT_DEATH(pool.release(other, ~std::size_t{}), "") << "too many";
    EXPECT_DEATH(pool.release_all(OwnerId::hypervisor), "");
}

TEST_F(FramePoolTest, CpusShareIt) {
    const auto work = [&](OwnerId owner) {
        for (int i = 0; i < 2000; ++i) {
            const auto one = pool.allocate(owner), run = pool.allocate(owner, 3);
            if (one) {
                *pool.at<std::uint64_t>(*one) = static_cast<std::uint64_t>(owner);
                EXPECT_EQ(*pool.at<std::uint64_t>(*one), static_cast<std::uint64_t>(owner));
                pool.release(*one);
            }
            if (run) pool.release(*run, 3);
        }
    };
    std::thread a(work, guest_a), b(work, guest_b);
    a.join();
    b.join();
    EXPECT_EQ(pool.available(), frames - 1);
}

}  // namespace
}  // namespace bulkhead::mm
