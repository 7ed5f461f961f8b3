// SPDX-License-Identifier: Apache-2.0
// The IDE function of the 82371SB (PIIX3; data sheet 290550, 2.3): where its channels are, and for whom.
#include "guest/ide_function.hpp"

#include <gtest/gtest.h>

#include "ata_fixture.hpp"

namespace bulkhead::guest {
namespace {

class IdeFunctionTest : public testing::Test {
  protected:
    void write(unsigned offset, unsigned size, std::uint32_t value) {
        for (unsigned i = 0; i < size; ++i) function.write(offset + i, static_cast<std::uint8_t>(value >> (8 * i)));
    }
    std::uint32_t read(unsigned offset) {
        std::uint32_t value = 0;
        for (unsigned i = 0; i < 4; ++i) value |= std::uint32_t{function.read(offset + i)} << (8 * i);
        return value;
    }
    bool is_there(std::uint16_t port) { return ports.in(port, 1) != 0xff; }
    // Of a disk the signature ends in 0000h, of a packet device in EB14h.
    std::uint32_t signature(unsigned channel, unsigned device) {
        const std::uint16_t base = channel == 0 ? 0x1f0 : 0x170;
        ports.out(static_cast<std::uint16_t>(base + 6), 1, 0xa0 | device << 4);
        return ports.in(static_cast<std::uint16_t>(base + 4), 2);
    }

    MemoryStore stores[3]{MemoryStore{8192}, MemoryStore{4096}, MemoryStore{1024}};
    const Drive drives[4]{
        {DriveKind::disk, &stores[0]}, {DriveKind::cdrom, &stores[1]}, {DriveKind::disk, &stores[2]}, {}};
    PortBus ports;
    IdeFunction function{ports, drives};
};

TEST_F(IdeFunctionTest, Identity) {
    EXPECT_EQ(read(0x00), 0x7010'8086u);
    EXPECT_EQ(read(0x08) >> 8, 0x01'01'00u) << "IDE, at the ports of PCs, no bus master";
    EXPECT_EQ(function.read(0x0e), 0) << "function 0 says that there are several";
    for (unsigned bar = 0x10; bar <= 0x24; bar += 4) {
        write(bar, 4, 0xffff'ffff);
        EXPECT_EQ(read(bar), 0u) << "no base address";
    }
    write(0x04, 2, 0xffff);
    EXPECT_EQ(read(0x04) & 0xffff, 0x0001u) << "I/O space can be switched off, nothing else can be switched on";
}

TEST_F(IdeFunctionTest, BothChannelsAreThereFromTheStart) {
    EXPECT_EQ(read(0x40), 0x8000'8000u);
    for (const unsigned port : {0x1f1, 0x1f7, 0x3f6, 0x171, 0x177, 0x376})
        EXPECT_TRUE(is_there(static_cast<std::uint16_t>(port))) << std::hex << port;
    for (const unsigned port : {0x1ef, 0x1f8, 0x3f5, 0x3f7, 0x178, 0x377})
        EXPECT_FALSE(is_there(static_cast<std::uint16_t>(port))) << std::hex << port;
}

TEST_F(IdeFunctionTest, DrivesAreInOrderOnTheCables) {
    EXPECT_EQ(signature(0, 0), 0x0000u);
    EXPECT_EQ(signature(0, 1), 0xeb14u);
    EXPECT_EQ(signature(1, 0), 0x0000u);
    ports.out(0x176, 1, 0xb0);
    EXPECT_EQ(ports.in(0x177, 1), 0u) << "nothing is there";
}

TEST_F(IdeFunctionTest, DecodeEnableSaysWhetherAChannelIsThere) {
    write(0x40, 2, 0x0000);
    EXPECT_FALSE(is_there(0x1f1));
    EXPECT_FALSE(is_there(0x3f6));
    EXPECT_TRUE(is_there(0x171));
    write(0x42, 2, 0x7fff);
    EXPECT_EQ(read(0x40), 0x7fff'0000u) << "timings are kept";
    EXPECT_FALSE(is_there(0x171));
    write(0x40, 2, 0xa377);
    EXPECT_TRUE(is_there(0x1f1));
    EXPECT_TRUE(is_there(0x3f6));
}

TEST_F(IdeFunctionTest, IoSpaceIsForBoth) {
    write(0x04, 2, 0x0000);
    EXPECT_FALSE(is_there(0x1f1));
    EXPECT_FALSE(is_there(0x376));
    write(0x04, 2, 0x0005);
    EXPECT_TRUE(is_there(0x1f1));
    EXPECT_TRUE(is_there(0x376));
}

TEST_F(IdeFunctionTest, EachChannelHasItsInterrupt) {
    ports.out(0x1f6, 1, 0xa0);
    ports.out(0x1f7, 1, 0xec);
    EXPECT_TRUE(function.irq(0).level());
    EXPECT_FALSE(function.irq(1).level());
    ports.out(0x176, 1, 0xa0);
    ports.out(0x177, 1, 0xec);
    EXPECT_TRUE(function.irq(1).level());
    EXPECT_EQ(IdeFunction::irqs[0], 14u);
    EXPECT_EQ(IdeFunction::irqs[1], 15u);
}

TEST_F(IdeFunctionTest, StringInputComesAsRepeatedAccesses) {
    ports.out(0x1f6, 1, 0xe0);
    ports.out(0x1f2, 1, 1);
    ports.out(0x1f3, 1, 5);
    ports.out(0x1f7, 1, 0x20);
    EXPECT_EQ(ports.in(0x1f0, 4), 5u);
    for (unsigned i = 1; i < 127; ++i) ports.in(0x1f0, 4);
    EXPECT_EQ(ports.in(0x1f0, 4), 0xee00'0000u);
}

}  // namespace
}  // namespace bulkhead::guest
