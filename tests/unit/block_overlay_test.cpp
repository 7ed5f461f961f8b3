// SPDX-License-Identifier: Apache-2.0
#include "guest/block_overlay.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <vector>

namespace bulkhead::guest {
namespace {

struct Image final : BlockStore {
    explicit Image(std::size_t size) : bytes(size) {
        for (std::size_t i = 0; i < size; ++i) bytes[i] = std::byte(i * 7 + i / 512);
    }
    std::uint64_t size() const override { return bytes.size(); }
    std::expected<void, BlockError> read(std::uint64_t offset, std::span<std::byte> to) override {
        if (fails || !contains(offset, to.size())) return std::unexpected(BlockError::medium);
        std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(offset), to.size(), to.begin());
        return {};
    }
    std::expected<void, BlockError> write(std::uint64_t, std::span<const std::byte>) override {
        ADD_FAILURE() << "the base is written";
        return std::unexpected(BlockError::read_only);
    }
    std::vector<std::byte> bytes;
    bool fails{};
};

struct Pages final : BlockPages {
    explicit Pages(int limit_) : limit(limit_) {}
    std::byte* allocate() override {
        if (held == limit) return nullptr;
        ++held;
        auto* const page = static_cast<std::byte*>(std::aligned_alloc(block_page_size, block_page_size));
        std::fill_n(page, block_page_size, std::byte{0xcc});
        return page;
    }
    void release(std::byte* page) override {
        --held;
        std::free(page);
    }
    int limit;
    int held{};
};

struct BlockOverlayTest : testing::Test {
    std::vector<std::byte> all() {
        std::vector<std::byte> read(image.bytes.size());
        EXPECT_TRUE(overlay.read(0, read));
        return read;
    }
    // Two pages and three sectors: the last page is not whole.
    Image image{2 * 4096 + 3 * 512};
    Pages pages{100};
    BlockOverlay overlay{image, pages};
    std::vector<std::byte> sector = std::vector<std::byte>(512, std::byte{0xa5});
};

TEST_F(BlockOverlayTest, UnwrittenIsTheBaseAndTakesNoMemory) {
    EXPECT_EQ(all(), image.bytes);
    EXPECT_EQ(pages.held, 0);
}

TEST_F(BlockOverlayTest, EachWrittenSectorIsReadBackAndItsNeighboursStay) {
    for (std::size_t at = 0; at < image.bytes.size(); at += 512) {
        ASSERT_TRUE(overlay.write(at, sector));
        auto expected = image.bytes;
        std::fill_n(expected.begin(), at + 512, std::byte{0xa5});
        EXPECT_EQ(all(), expected) << at;
    }
    EXPECT_EQ(pages.held, 3 + 3);  // the tree's three levels, and a copy for each page
}

TEST_F(BlockOverlayTest, AWriteAcrossPagesIsWhole) {
    const std::vector<std::byte> range(4096 + 1024, std::byte{0x5a});
    ASSERT_TRUE(overlay.write(3584, range));
    auto expected = image.bytes;
    std::fill_n(expected.begin() + 3584, range.size(), std::byte{0x5a});
    EXPECT_EQ(all(), expected);
}

TEST_F(BlockOverlayTest, PastTheEndFailsAndWritesNothing) {
    std::vector<std::byte> two(1024);
    for (const std::uint64_t at : {image.size() - 512, image.size() + 512, ~std::uint64_t{0}, ~std::uint64_t{511}}) {
        EXPECT_EQ(overlay.read(at, two).error(), BlockError::past_end) << at;
        EXPECT_EQ(overlay.write(at, two).error(), BlockError::past_end) << at;
    }
    EXPECT_TRUE(overlay.read(image.size(), {}));
    EXPECT_EQ(all(), image.bytes);
    EXPECT_EQ(pages.held, 0);
}

TEST_F(BlockOverlayTest, WithoutMemoryAWriteFailsAndNothingIsLost) {
    pages.limit = 3 + 1;
    ASSERT_TRUE(overlay.write(0, sector));
    EXPECT_EQ(overlay.write(4096, sector).error(), BlockError::no_memory);
    EXPECT_TRUE(overlay.write(512, sector));  // its page has a copy
    auto expected = image.bytes;
    std::fill_n(expected.begin(), 1024, std::byte{0xa5});
    EXPECT_EQ(all(), expected);
    pages.limit = 100;
    EXPECT_TRUE(overlay.write(4096, sector));
}

TEST_F(BlockOverlayTest, ABaseThatCannotBeReadGivesItsErrorAndLeaksNoCopy) {
    image.fails = true;
    EXPECT_EQ(overlay.read(0, sector).error(), BlockError::medium);
    EXPECT_EQ(overlay.write(0, sector).error(), BlockError::medium);
    EXPECT_EQ(pages.held, 3);
    image.fails = false;
    EXPECT_EQ(all(), image.bytes);
}

TEST_F(BlockOverlayTest, DiscardGivesBackTheBaseAndAllMemory) {
    ASSERT_TRUE(overlay.write(0, sector));
    ASSERT_TRUE(overlay.write(8192, sector));
    overlay.discard();
    EXPECT_EQ(pages.held, 0);
    EXPECT_EQ(all(), image.bytes);
    EXPECT_TRUE(overlay.write(0, sector));
}

TEST(BlockOverlay, ItsEndGivesAllMemoryBack) {
    Image image{8192};
    Pages pages{100};
    {
        BlockOverlay overlay{image, pages};
        const std::byte one[512]{};
        ASSERT_TRUE(overlay.write(0, one));
    }
    EXPECT_EQ(pages.held, 0);
}

}  // namespace
}  // namespace bulkhead::guest
