// SPDX-License-Identifier: Apache-2.0
#include "guest/block_overlay.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <deque>
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
    explicit Pages(std::size_t limit_) : limit(limit_) {}
    Page allocate() override {
        if (bytes.size() == limit) return Page::none;
        bytes.emplace_back();
        return static_cast<Page>(bytes.size());
    }
    void read(Page page, std::size_t offset, std::span<std::byte> to) override {
        std::copy_n(at(page).begin() + static_cast<std::ptrdiff_t>(offset), to.size(), to.begin());
    }
    void write(Page page, std::size_t offset, std::span<const std::byte> from) override {
        EXPECT_LE(offset + from.size(), block_page_size);
        std::ranges::copy(from, at(page).begin() + static_cast<std::ptrdiff_t>(offset));
    }
    std::array<std::byte, block_page_size>& at(Page page) { return bytes.at(static_cast<std::size_t>(page) - 1); }
    std::size_t held() const { return bytes.size(); }
    std::size_t limit;
    std::deque<std::array<std::byte, block_page_size>> bytes;
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
    EXPECT_EQ(pages.held(), 0u);
}

TEST_F(BlockOverlayTest, EachWrittenSectorIsReadBackAndItsNeighboursStay) {
    for (std::size_t at = 0; at < image.bytes.size(); at += 512) {
        ASSERT_TRUE(overlay.write(at, sector));
        auto expected = image.bytes;
        std::fill_n(expected.begin(), at + 512, std::byte{0xa5});
        EXPECT_EQ(all(), expected) << at;
    }
    EXPECT_EQ(pages.held(), 3u + 3);  // the tree's three levels, and a copy for each page
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
    EXPECT_EQ(pages.held(), 0u);
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

TEST_F(BlockOverlayTest, ABaseThatCannotBeReadGivesItsErrorAndLosesNoMemory) {
    image.fails = true;
    EXPECT_EQ(overlay.read(0, sector).error(), BlockError::medium);
    EXPECT_EQ(overlay.write(0, sector).error(), BlockError::medium);
    EXPECT_EQ(overlay.write(8192, sector).error(), BlockError::medium);
    EXPECT_EQ(pages.held(), 3u + 1);
    image.fails = false;
    EXPECT_EQ(all(), image.bytes);
    EXPECT_TRUE(overlay.write(0, sector));
    EXPECT_EQ(pages.held(), 3u + 1);
    auto expected = image.bytes;
    std::ranges::copy(sector, expected.begin());
    EXPECT_EQ(all(), expected);
}

TEST(BlockOverlay, TellsHowManyPagesAreEnough) {
    EXPECT_EQ(BlockOverlay::most_pages(0), 0u);
    EXPECT_EQ(BlockOverlay::most_pages(512), 1u + 3);
    EXPECT_EQ(BlockOverlay::most_pages(512 * 4096), 512u + 3);
    EXPECT_EQ(BlockOverlay::most_pages(512 * 4096 + 1), 513u + 2 + 1 + 1);
    Image image{513 * 4096};
    Pages pages{BlockOverlay::most_pages(image.size())};
    BlockOverlay overlay{image, pages};
    const std::vector<std::byte> all(image.size());
    EXPECT_TRUE(overlay.write(0, all));
    EXPECT_EQ(pages.held(), pages.limit);
}

}  // namespace
}  // namespace bulkhead::guest
