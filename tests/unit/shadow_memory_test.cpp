// SPDX-License-Identifier: Apache-2.0
// The area from C0000h to FFFFFh as the 82441FX's attribute map governs it (data sheet 290549, 3.2.19), and the ROM.
#include "guest/shadow_memory.hpp"

#include <gtest/gtest.h>

#include <map>
#include <numeric>

#include "fake_memory.hpp"
#include "guest/host_bridge.hpp"
#include "guest/pci.hpp"

namespace bulkhead::guest {
namespace {

// What each 4 KiB page was backed with last.
class Pages final : public AddressMap {
  public:
    struct Page {
        Backing backing{};
        std::uint64_t offset{};
    };
    void back(GuestPhys first, std::uint64_t size, Backing backing, std::uint64_t offset) override {
        for (std::uint64_t at = 0; at < size; at += page_size) pages[first.value + at] = {backing, offset + at};
    }
    Page at(std::uint64_t address) { return pages.at(address & ~(page_size - 1)); }

    std::map<std::uint64_t, Page> pages;
};

class ShadowMemoryTest : public testing::Test {
  protected:
    ShadowMemoryTest() {
        EXPECT_TRUE(pci.attach(0, 0, bridge));
        for (std::size_t i = 0; i < rom.size(); ++i) rom[i] = static_cast<std::byte>(i / 4096 + i);
    }
    void nothing() {}
    void attribute(unsigned reg, std::uint8_t value) {
        pci.out(0xcf8, 4, 0x8000'0000 | (reg & ~3u));
        pci.out(static_cast<std::uint16_t>(0xcfc + (reg & 3)), 1, value);
    }
    std::uint8_t attribute(unsigned reg) {
        pci.out(0xcf8, 4, 0x8000'0000 | (reg & ~3u));
        return static_cast<std::uint8_t>(pci.in(static_cast<std::uint16_t>(0xcfc + (reg & 3)), 1));
    }
    std::uint64_t read(std::uint64_t address, unsigned size) { return shadow.read(address - 0xc0000, size); }
    void write(std::uint64_t address, unsigned size, std::uint64_t value) {
        shadow.write(address - 0xc0000, size, value);
    }

    FakeMemory ram{2 * mib};
    Pages map;
    std::vector<std::byte> rom = std::vector<std::byte>(256 * kib);
    ShadowMemory shadow{ram, rom, map};
    HostBridge bridge{&shadow};
    PciHost pci{Delegate<void()>::to<&ShadowMemoryTest::nothing>(this)};
};

TEST_F(ShadowMemoryTest, AfterResetTheLast128KibAreTheEndOfTheImageAndTheRestIsNothing) {
    for (std::uint64_t at = 0xc0000; at < 0xe0000; at += 4096) EXPECT_EQ(map.at(at).backing, Backing::nothing);
    for (std::uint64_t at = 0xe0000; at < 0x100000; at += 4096) {
        EXPECT_EQ(map.at(at).backing, Backing::rom);
        EXPECT_EQ(map.at(at).offset, at - 0xe0000 + 128 * kib);
    }
    EXPECT_EQ(map.pages.size(), 64u) << "and nothing else is touched";
    for (unsigned reg = 0x59; reg <= 0x5f; ++reg) EXPECT_EQ(attribute(reg), 0);
    EXPECT_EQ(read(0xc0000, 4) & 0xffffffff, 0xffffffffu);
    EXPECT_EQ(read(0xffff0, 1) & 0xff, static_cast<std::uint8_t>(rom[256 * kib - 16]));
}

TEST_F(ShadowMemoryTest, EachNibbleGovernsItsSegment) {
    attribute(0x5a, 0x13);
    EXPECT_EQ(map.at(0xc0000).backing, Backing::ram);
    EXPECT_EQ(map.at(0xc3fff).backing, Backing::ram);
    EXPECT_EQ(map.at(0xc4000).backing, Backing::ram_to_read);
    EXPECT_EQ(map.at(0xc7fff).backing, Backing::ram_to_read);
    EXPECT_EQ(map.at(0xc8000).backing, Backing::nothing);
    attribute(0x5f, 0x30);
    EXPECT_EQ(map.at(0xebfff).backing, Backing::rom);
    EXPECT_EQ(map.at(0xec000).backing, Backing::ram);
    EXPECT_EQ(map.at(0xf0000).backing, Backing::rom);
    attribute(0x59, 0x30);
    for (std::uint64_t at = 0xf0000; at < 0x100000; at += 4096) EXPECT_EQ(map.at(at).backing, Backing::ram);
}

TEST_F(ShadowMemoryTest, RegistersKeepTheBitsThatTheChipHas) {
    attribute(0x59, 0xff);
    EXPECT_EQ(attribute(0x59), 0x30);
    attribute(0x5c, 0xff);
    EXPECT_EQ(attribute(0x5c), 0x33);
    attribute(0x58, 0xff);
    EXPECT_EQ(attribute(0x58), 0x00);
    EXPECT_EQ(attribute(0x72), 0x12) << "SMRAM is locked, and off";
    attribute(0x72, 0x4a);
    EXPECT_EQ(attribute(0x72), 0x12);
}

// How firmware copies itself where a segment can be written but not yet read.
TEST_F(ShadowMemoryTest, WritesGoToRamWhileReadsComeFromTheImage) {
    attribute(0x59, 0x20);
    EXPECT_EQ(map.at(0xf0000).backing, Backing::rom) << "not to be had from a processor: read without write, then";
    write(0xf1234, 4, 0x11223344);
    EXPECT_EQ(ram.at<std::uint32_t>(0xf1234), 0x11223344u);
    EXPECT_EQ(read(0xf1234, 1) & 0xff, static_cast<std::uint8_t>(rom[0x31234]));
    attribute(0x59, 0x10);
    write(0xf1234, 4, 0);
    EXPECT_EQ(read(0xf1234, 4), 0x11223344u) << "read only";
    attribute(0x59, 0x00);
    write(0xf1234, 4, 0);
    EXPECT_EQ(ram.at<std::uint32_t>(0xf1234), 0x11223344u);
}

TEST_F(ShadowMemoryTest, AnImageOf64KibFillsTheLast64Kib) {
    Pages pages;
    const ShadowMemory small{ram, std::span{rom}.first(64 * kib), pages};
    EXPECT_EQ(pages.at(0xe0000).backing, Backing::nothing);
    EXPECT_EQ(pages.at(0xec000).backing, Backing::nothing);
    EXPECT_EQ(pages.at(0xf0000).backing, Backing::rom);
    EXPECT_EQ(pages.at(0xf0000).offset, 0u);
}

TEST_F(ShadowMemoryTest, TheImageEndsAt4GibAndCannotBeWritten) {
    Rom top{rom};
    EXPECT_EQ(top.base().value, 0xfffc0000u);
    EXPECT_EQ(top.size(), 256 * kib);
    const std::uint64_t before = top.read(0x3fff8, 8);
    top.write(0x3fff8, 8, ~before);
    EXPECT_EQ(top.read(0x3fff8, 8), before);
    EXPECT_EQ(before & 0xff, static_cast<std::uint8_t>(rom[0x3fff8]));
}

TEST(HostBridge, WithoutFirmwareTheAreaIsRamAndStaysSo) {
    HostBridge bridge{nullptr};
    EXPECT_EQ(bridge.read(0x59), 0x30);
    EXPECT_EQ(bridge.read(0x5a), 0x33);
    bridge.write(0x5a, 0x00);
    EXPECT_EQ(bridge.read(0x5a), 0x33);
    EXPECT_EQ(bridge.read(0x2c), 0);
}

TEST_F(ShadowMemoryTest, FirmwareKnowsTheMachineByItsSubsystem) {
    EXPECT_EQ(bridge.read(0x2c) | bridge.read(0x2d) << 8, 0x1af4);
    EXPECT_EQ(bridge.read(0x2e) | bridge.read(0x2f) << 8, 0x1100);
}

}  // namespace
}  // namespace bulkhead::guest
