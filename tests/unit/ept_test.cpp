// SPDX-License-Identifier: Apache-2.0
#include "vmx/ept.hpp"

#include <gtest/gtest.h>

#include <memory>

namespace bulkhead::vmx {
namespace {

constexpr mm::OwnerId guest_id = mm::OwnerId::first_guest;
constexpr HostPhys pool_base{0x400'0000};
constexpr std::size_t pool_frames = 64;

// Page walk of 4, WB and UC, 2-MiB and 1-GiB pages, INVEPT, accessed and dirty flags.
constexpr Capabilities all_pages{.ept_vpid = 0x0000'0f01'0673'4141};
constexpr Capabilities small_pages{.ept_vpid = 0x0000'0f01'0611'4141};

// A guest-physical access as the processor makes it (SDM 28.3.2).
struct Walk {
    enum class Result { translated, violation, misconfiguration } result{};
    std::uint64_t address{}, page_bytes{};
    unsigned rights{}, type{};
};

class EptTest : public testing::Test {
  protected:
    void SetUp() override {
        memory_ = std::make_unique<Memory>();
        pool_.initialize(pool_base, memory_->bytes);
    }
    Ept make(const Capabilities& capabilities = all_pages) { return *Ept::create(pool_, guest_id, capabilities); }

    Walk walk(std::uint64_t pointer, std::uint64_t address) const {
        std::uint64_t table = pointer & 0xf'ffff'ffff'f000;
        unsigned rights = 7;
        for (int level = 3;; --level) {
            const unsigned shift = 12 + 9 * static_cast<unsigned>(level);
            const std::uint64_t entry = *pool_.at<std::uint64_t>(HostPhys{table + 8 * (address >> shift & 511)});
            if ((entry & 7) == 0) return {Walk::Result::violation};
            if ((entry & 7) == 2 || (entry & 7) == 6) return {Walk::Result::misconfiguration};
            rights &= entry & 7;
            const bool leaf = level == 0 || (entry >> 7 & 1) != 0;
            if (leaf) {
                const std::uint64_t bytes = 1ull << shift;
                const unsigned type = entry >> 3 & 7;
                const bool misaligned = (entry & 0xf'ffff'ffff'f000 & (bytes - 1)) != 0;
                if (level == 3 || misaligned || type == 2 || type == 3 || type == 7)
                    return {Walk::Result::misconfiguration};
                return {Walk::Result::translated, (entry & 0xf'ffff'ffff'f000) + (address & (bytes - 1)), bytes, rights,
                        type};
            }
            if ((entry & 0xf8) != 0) return {Walk::Result::misconfiguration};
            table = entry & 0xf'ffff'ffff'f000;
        }
    }

    struct Memory {
        alignas(4096) std::array<std::byte, pool_frames * 4096> bytes;
    };
    std::unique_ptr<Memory> memory_;
    mm::FramePool pool_;
};

TEST_F(EptTest, PointerHasTheFormOfTable24_9) {
    EXPECT_EQ(make(all_pages).pointer() & 0xfff, 6u | 3u << 3 | 1u << 6);
    const Ept ept = make(small_pages);
    EXPECT_EQ(ept.pointer() & 0xfff, 6u | 3u << 3) << "no accessed and dirty flags on this processor";
    EXPECT_EQ(ept.pointer() & ~0xfffull, ept.root().value);
}

TEST_F(EptTest, MapsRamThatTheProcessorFinds) {
    Ept ept = make();
    ASSERT_TRUE(ept.map_ram(GuestPhys{0x20'0000}, HostPhys{0x1'4000'0000}, 0x40'0000));
    for (const std::uint64_t address : {0x20'0000ull, 0x20'1234ull, 0x3f'ffffull, 0x5f'ffffull}) {
        const Walk found = walk(ept.pointer(), address);
        ASSERT_EQ(found.result, Walk::Result::translated) << std::hex << address;
        EXPECT_EQ(found.address, 0x1'4000'0000 + (address - 0x20'0000));
        EXPECT_EQ(found.rights, 7u);
        EXPECT_EQ(found.type, 6u) << "write-back";
        EXPECT_EQ(found.page_bytes, 0x20'0000u);
    }
    EXPECT_EQ(walk(ept.pointer(), 0x1f'ffff).result, Walk::Result::violation);
    EXPECT_EQ(walk(ept.pointer(), 0x60'0000).result, Walk::Result::violation);
}

TEST_F(EptTest, UsesTheLargestPagesThatTheProcessorHas) {
    Ept large = make(all_pages), small = make(small_pages);
    ASSERT_TRUE(large.map_ram(GuestPhys{gib}, HostPhys{4 * gib}, gib));
    ASSERT_TRUE(small.map_ram(GuestPhys{gib}, HostPhys{4 * gib}, gib));
    EXPECT_EQ(walk(large.pointer(), gib + 5).page_bytes, gib);
    EXPECT_EQ(walk(small.pointer(), gib + 5).page_bytes, 2 * mib);
}

TEST_F(EptTest, LooksUpWhatItMapped) {
    Ept ept = make();
    ASSERT_TRUE(ept.map(GuestPhys{0x5000}, HostPhys{0x77000}, 0x1000, ept::read_only));
    const auto found = ept.lookup(GuestPhys{0x5678});
    ASSERT_TRUE(found);
    EXPECT_EQ(found->output, HostPhys{0x77678});
    EXPECT_EQ(found->attributes, ept::read_only);
    EXPECT_EQ(walk(ept.pointer(), 0x5678).rights, 5u);
    EXPECT_FALSE(ept.lookup(GuestPhys{0x6000}));
}

TEST_F(EptTest, SplitsAPageAndKeepsTheRest) {
    Ept ept = make();
    ASSERT_TRUE(ept.map_ram(GuestPhys{}, HostPhys{0x4000'0000}, 2 * mib));
    // As the processor marks a page that was written.
    const std::uint64_t root = *pool_.at<std::uint64_t>(ept.root()) & ~0xfffull;
    const std::uint64_t directory = *pool_.at<std::uint64_t>(HostPhys{root}) & ~0xfffull;
    *pool_.at<std::uint64_t>(HostPhys{directory}) |= 3u << 8;

    ASSERT_TRUE(ept.unmap(GuestPhys{0x1'0000}, 0x1000));
    EXPECT_EQ(walk(ept.pointer(), 0x1'0fff).result, Walk::Result::violation);
    for (const std::uint64_t address : {0x0ull, 0xffffull, 0x1'1000ull, 0x1f'ffffull}) {
        const Walk found = walk(ept.pointer(), address);
        ASSERT_EQ(found.result, Walk::Result::translated);
        EXPECT_EQ(found.address, 0x4000'0000 + address);
        EXPECT_EQ(found.rights, 7u);
        EXPECT_EQ(found.type, 6u);
    }
    const std::uint64_t table = *pool_.at<std::uint64_t>(HostPhys{directory}) & ~0xfffull;
    EXPECT_EQ(*pool_.at<std::uint64_t>(HostPhys{table}) >> 8 & 3, 3u) << "accessed and dirty are handed down";
}

TEST_F(EptTest, RefusesWhatWouldBeAMisconfiguration) {
    Ept ept = make();
    constexpr EptAttributes write_only{.writable = true};
    EXPECT_EQ(ept.map(GuestPhys{}, HostPhys{}, 4096, write_only).error(), mm::MapError::not_permitted);
    EXPECT_EQ(ept.map(GuestPhys{}, HostPhys{}, 4096, EptAttributes{}).error(), mm::MapError::not_permitted);
    EXPECT_EQ(ept.map_ram(GuestPhys{1ull << 48}, HostPhys{}, 4096).error(), mm::MapError::out_of_range);
    EXPECT_EQ(ept.map_ram(GuestPhys{}, HostPhys{1ull << 52}, 4096).error(), mm::MapError::out_of_range);
    ASSERT_TRUE(ept.map_ram(GuestPhys{}, HostPhys{}, 4096));
    EXPECT_EQ(ept.map_ram(GuestPhys{}, HostPhys{}, 8192).error(), mm::MapError::overlapping);
}

TEST_F(EptTest, StaysWithinItsOwnersBudget) {
    pool_.set_budget(guest_id, 3);
    Ept ept = make();
    const auto result = ept.map_ram(GuestPhys{}, HostPhys{}, 4096);  // three more tables
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error(), mm::MapError::out_of_memory);
    EXPECT_EQ(walk(ept.pointer(), 0).result, Walk::Result::violation);
    EXPECT_TRUE(ept.reclaim());
    EXPECT_EQ(pool_.used(guest_id), 1u);
    pool_.set_budget(guest_id, 0);
    EXPECT_FALSE(Ept::create(pool_, guest_id, all_pages));
}

TEST_F(EptTest, GivesAllTablesBackWhenDestroyed) {
    Ept ept = make();
    ASSERT_TRUE(ept.map_ram(GuestPhys{0x1000}, HostPhys{0x1000}, 0x1000));
    ASSERT_TRUE(ept.map_ram(GuestPhys{1ull << 40}, HostPhys{0x1000}, 0x1000));
    EXPECT_EQ(pool_.used(guest_id), 7u);
    ept.destroy();
    EXPECT_EQ(pool_.used(guest_id), 0u);
}

TEST_F(EptTest, NeedsNoInvalidationToMap) {
    Ept ept = make();
    const std::uint64_t before = ept.history().generation();
    ASSERT_TRUE(ept.map_ram(GuestPhys{}, HostPhys{}, 4096));
    EXPECT_EQ(ept.history().generation(), before);
    ASSERT_TRUE(ept.remap(GuestPhys{}, HostPhys{0x5000}, 4096, ept::read_only));
    EXPECT_GT(ept.history().generation(), before);
}

// The tables that an unmap takes out stay as they are (no frame is given to anyone else) until each CPU that may be
// walking them has invalidated.
TEST_F(EptTest, KeepsTablesThatACpuMayStillWalk) {
    Ept ept = make();
    ASSERT_TRUE(ept.map_ram(GuestPhys{0x1000}, HostPhys{0x1000}, 0x1000));
    ept.history().invalidated(3, ept.history().generation());  // CPU 3 has entered the guest
    ASSERT_TRUE(ept.unmap(GuestPhys{0x1000}, 0x1000));
    EXPECT_FALSE(ept.reclaim());
    EXPECT_EQ(pool_.used(guest_id), 4u);
    ept.history().invalidated(3, ept.history().generation());
    EXPECT_TRUE(ept.reclaim());
    EXPECT_EQ(pool_.used(guest_id), 1u);
}

// A CPU that still walks a table which was taken out must find nothing in it that was not mapped.
TEST_F(EptTest, LeavesNothingNewInATableThatWasTakenOut) {
    Ept ept = make();
    ASSERT_TRUE(ept.map_ram(GuestPhys{0x1000}, HostPhys{0x9000}, 0x1000));
    const std::uint64_t old_pdpt = *pool_.at<std::uint64_t>(ept.root()) & ~0xfffull;
    ASSERT_TRUE(ept.unmap(GuestPhys{0x1000}, 0x1000));
    for (unsigned i = 0; i < 512; ++i) {
        const std::uint64_t entry = pool_.at<std::uint64_t>(HostPhys{old_pdpt})[i];
        EXPECT_EQ(entry & 7, 0u) << i;
    }
}

}  // namespace
}  // namespace bulkhead::vmx
