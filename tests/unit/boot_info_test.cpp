// SPDX-License-Identifier: Apache-2.0
#include "boot/boot_info.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "tests/unit/boot_info_fixture.hpp"

namespace bulkhead::boot {
namespace {

class BootInfoTest : public testing::Test {
  protected:
    // On the heap and of the exact size, so that the address sanitizer sees every byte read beyond the end.
    void parse(const std::vector<std::byte>& bytes) {
        bytes_ = std::make_unique<std::byte[]>(bytes.size());
        std::copy(bytes.begin(), bytes.end(), bytes_.get());
        result_ = parse_boot_info({bytes_.get(), bytes.size()}, info_);
    }
    void expect_error(const std::vector<std::byte>& bytes, BootInfoError error) {
        parse(bytes);
        ASSERT_FALSE(result_.has_value());
        EXPECT_EQ(describe(result_.error()), describe(error));
    }

    std::unique_ptr<std::byte[]> bytes_;
    std::expected<void, BootInfoError> result_;
    BootInfo info_;
};

TEST_F(BootInfoTest, EverythingThatALoaderGives) {
    const auto old_rsdp = Builder::with_nul("RSD PTR old, 20 byte");
    const auto new_rsdp = Builder::with_nul("RSD PTR new, this one has 36 bytes..");
    parse(Builder()
              .text(1, "console=com1 loglevel=2")
              .text(2, "GRUB 2.06")
              .tag(4, std::vector<std::byte>(8))  // basic memory: not asked for, skipped
              .module(0x400000, 0x400123, "guests.conf")
              .module(0x500000, 0x500000, "")
              .memory_map({{0, 0x9fc00, 1}, {0xf0000, 0x10000, 2}, {0x100000, 0x7f00000, 1}, {0x8000000, 0x1000, 3}})
              .tag(14, old_rsdp)
              .tag(15, new_rsdp)
              .done());
    ASSERT_TRUE(result_.has_value());
    EXPECT_EQ(info_.command_line, "console=com1 loglevel=2");
    EXPECT_EQ(info_.loader_name, "GRUB 2.06");

    ASSERT_EQ(info_.modules().size(), 2u);
    EXPECT_EQ(info_.modules()[0].string, "guests.conf");
    EXPECT_EQ(info_.modules()[0].range, (mm::MemoryRange{HostPhys{0x400000}, 0x123}));
    EXPECT_EQ(info_.modules()[1].string, "");
    EXPECT_EQ(info_.modules()[1].range.size, 0u);

    ASSERT_EQ(info_.memory_map().size(), 4u);
    EXPECT_TRUE(info_.memory_map()[0].usable);
    EXPECT_FALSE(info_.memory_map()[1].usable);
    EXPECT_EQ(info_.memory_map()[2].range, (mm::MemoryRange{HostPhys{0x100000}, 0x7f00000}));
    // ACPI reclaimable memory holds the tables for as long as the machine runs.
    EXPECT_FALSE(info_.memory_map()[3].usable);

    ASSERT_EQ(info_.rsdp.size(), new_rsdp.size());
    EXPECT_EQ(std::memcmp(info_.rsdp.data(), new_rsdp.data(), new_rsdp.size()), 0);
}

TEST_F(BootInfoTest, TheNewerRootPointerWinsInEitherOrder) {
    const auto old_rsdp = std::vector<std::byte>(20);
    const auto new_rsdp = std::vector<std::byte>(36);
    parse(Builder().usable().tag(15, new_rsdp).tag(14, old_rsdp).done());
    ASSERT_TRUE(result_.has_value());
    EXPECT_EQ(info_.rsdp.size(), 36u);
    parse(Builder().usable().tag(14, old_rsdp).done());
    ASSERT_TRUE(result_.has_value());
    EXPECT_EQ(info_.rsdp.size(), 20u);
    parse(Builder().usable().done());
    ASSERT_TRUE(result_.has_value());
    EXPECT_TRUE(info_.rsdp.empty());
}

TEST_F(BootInfoTest, AParseForgetsTheOneBefore) {
    parse(Builder().usable().module(0, 1, "a").text(1, "x").done());
    ASSERT_TRUE(result_.has_value());
    parse(Builder().usable().done());
    ASSERT_TRUE(result_.has_value());
    EXPECT_EQ(info_.modules().size(), 0u);
    EXPECT_EQ(info_.memory_map().size(), 1u);
    EXPECT_EQ(info_.command_line, "");
}

// Whatever is cut off, the answer is an error and no byte beyond the end is read.
TEST_F(BootInfoTest, EveryTruncationIsRefused) {
    const auto whole = Builder().text(1, "abc").module(0x1000, 0x2000, "m").usable().done();
    for (std::size_t size = 0; size < whole.size(); ++size) {
        SCOPED_TRACE(size);
        std::vector<std::byte> cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
        parse(cut);
        EXPECT_FALSE(result_.has_value());
        if (size < 8) continue;
        // The same with a total size that says so.
        const auto total = static_cast<std::uint32_t>(size);
        std::memcpy(cut.data(), &total, 4);
        parse(cut);
        EXPECT_FALSE(result_.has_value());
    }
}

TEST_F(BootInfoTest, WhatFollowsTheStatedSizeIsNotRead) {
    auto bytes = Builder().usable().done();
    bytes.resize(bytes.size() + 100, std::byte{0xff});
    parse(bytes);
    EXPECT_TRUE(result_.has_value());
}

TEST_F(BootInfoTest, WithoutAnEndTag) { expect_error(Builder().usable().done(false), BootInfoError::truncated); }

TEST_F(BootInfoTest, TagSizesThatCannotBe) {
    for (std::uint32_t size : {0u, 7u, 1000u, 0x7fffffffu, 0xffffffffu, 0xfffffff9u}) {
        SCOPED_TRACE(size);
        auto bytes = Builder().text(1, "abc").usable().done();
        std::memcpy(bytes.data() + 12, &size, 4);
        expect_error(bytes, BootInfoError::malformed_tag);
    }
}

TEST_F(BootInfoTest, ABodyThatIsShorterThanItsFields) {
    expect_error(Builder().usable().tag(3, std::vector<std::byte>(7)).done(), BootInfoError::malformed_tag);
    expect_error(Builder().tag(6, std::vector<std::byte>(7)).done(), BootInfoError::malformed_tag);
}

TEST_F(BootInfoTest, StringsWithoutAnEnd) {
    const std::vector<std::byte> letters(5, std::byte{'a'});
    expect_error(Builder().usable().tag(1, letters).done(), BootInfoError::unterminated_string);
    expect_error(Builder().usable().tag(2, {}).done(), BootInfoError::unterminated_string);
    expect_error(Builder().usable().tag(3, std::vector<std::byte>(8)).done(), BootInfoError::unterminated_string);
}

TEST_F(BootInfoTest, AModuleThatEndsBeforeItBegins) {
    expect_error(Builder().usable().module(0x2000, 0x1fff, "m").done(), BootInfoError::malformed_module);
}

TEST_F(BootInfoTest, MemoryMaps) {
    expect_error(Builder().done(), BootInfoError::no_memory_map);
    expect_error(Builder().memory_map({}).done(), BootInfoError::no_memory_map);
    expect_error(Builder().memory_map({{0x100000, 0, 1}}).done(), BootInfoError::no_memory_map);
    for (std::uint32_t entry_size : {0u, 8u, 23u, 25u}) {
        SCOPED_TRACE(entry_size);
        auto bytes = Builder().usable().done();
        std::memcpy(bytes.data() + 16, &entry_size, 4);
        expect_error(bytes, BootInfoError::malformed_memory_map);
    }
    // An entry that is cut.
    std::vector<std::byte> body(8 + 24 + 16);
    body[0] = std::byte{24};
    expect_error(Builder().tag(6, body).done(), BootInfoError::malformed_memory_map);
    // Entries of a later version of the specification are larger.
    parse(Builder().memory_map({{0x100000, 0x1000, 1}, {0x200000, 0x1000, 1}}, 32).done());
    ASSERT_TRUE(result_.has_value());
    ASSERT_EQ(info_.memory_map().size(), 2u);
    EXPECT_EQ(info_.memory_map()[1].range.start, HostPhys{0x200000});
}

TEST_F(BootInfoTest, ARangeThatWrapsIsCutAtTheTop) {
    parse(Builder().memory_map({{0xffffffffffff0000, 0x20000, 2}}).done());
    ASSERT_TRUE(result_.has_value());
    EXPECT_GE(info_.memory_map()[0].range.end(), info_.memory_map()[0].range.start);
}

TEST_F(BootInfoTest, MoreThanThereIsRoomFor) {
    Builder modules;
    modules.usable();
    for (std::size_t i = 0; i < max_modules; ++i) modules.module(0, 1, "m");
    parse(modules.done());
    ASSERT_TRUE(result_.has_value());
    EXPECT_EQ(info_.modules().size(), max_modules);

    Builder more;
    more.usable();
    for (std::size_t i = 0; i <= max_modules; ++i) more.module(0, 1, "m");
    expect_error(more.done(), BootInfoError::too_many_modules);

    std::vector<Builder::Range> ranges(max_memory_map_entries + 1, {0x100000, 0x1000, 1});
    expect_error(Builder().memory_map(ranges).done(), BootInfoError::too_many_memory_ranges);
    ranges.pop_back();
    parse(Builder().memory_map(ranges).done());
    EXPECT_TRUE(result_.has_value());
}

}  // namespace
}  // namespace bulkhead::boot
