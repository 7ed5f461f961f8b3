// SPDX-License-Identifier: Apache-2.0
#include "boot/trampoline.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace bulkhead::boot {
namespace {

mm::MemoryMapEntry usable(std::uint64_t start, std::uint64_t size) { return {{HostPhys{start}, size}, true}; }
mm::MemoryMapEntry unusable(std::uint64_t start, std::uint64_t size) { return {{HostPhys{start}, size}, false}; }

using Map = std::vector<mm::MemoryMapEntry>;

TEST(Trampoline, TheLowestPageOfAnOrdinaryPc) {
    const Map map = {usable(0, 0x9fc00), unusable(0x9fc00, 0x400), usable(0x100000, 0x1000000)};
    EXPECT_EQ(choose_trampoline(map, {}), HostPhys{0x8000});
}

TEST(Trampoline, ReservedPagesAreLeftOut) {
    const Map map = {usable(0, 0x9fc00)};
    const std::vector<mm::MemoryRange> reserved = {{HostPhys{0x8fff}, 1}, {HostPhys{0x9000}, 0x1001}};
    EXPECT_EQ(choose_trampoline(map, reserved), HostPhys{0xb000});
}

TEST(Trampoline, ThePageMustBeWholeAndFreeInEveryEntry) {
    // The usable range begins inside the page at 20000h, and another entry claims a byte of the next.
    const Map map = {usable(0x20001, 0x10000), unusable(0x21010, 1)};
    EXPECT_EQ(choose_trampoline(map, {}), HostPhys{0x22000});
}

TEST(Trampoline, NothingAboveConventionalMemory) {
    EXPECT_EQ(choose_trampoline(Map{usable(0xa0000, 0x60000), usable(0x100000, 0x1000000)}, {}), std::nullopt);
    EXPECT_EQ(choose_trampoline(Map{usable(0x9f000, 0xfff)}, {}), std::nullopt);
    EXPECT_EQ(choose_trampoline(Map{usable(0x9f000, 0x1000)}, {}), HostPhys{0x9f000});
    EXPECT_EQ(choose_trampoline({}, {}), std::nullopt);
}

TEST(Trampoline, FirmwareDataBelowIsLeftAlone) {
    EXPECT_EQ(choose_trampoline(Map{usable(0, 0x8000)}, {}), std::nullopt);
    EXPECT_EQ(choose_trampoline(Map{usable(0, 0x9000)}, {}), HostPhys{0x8000});
}

}  // namespace
}  // namespace bulkhead::boot
