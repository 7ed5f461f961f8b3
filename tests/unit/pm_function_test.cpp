// SPDX-License-Identifier: Apache-2.0
// The 82371AB's power management function (data sheet 290562, 7.2): ACPI's registers are where PMBA says, once
// PMREGMISC lets them.
#include "guest/pm_function.hpp"

#include <gtest/gtest.h>

namespace bulkhead::guest {
namespace {

class PmFunctionTest : public testing::Test {
  protected:
    void count_power_off() { ++power_offs; }
    void write(unsigned offset, unsigned size, std::uint32_t value) {
        for (unsigned i = 0; i < size; ++i) function.write(offset + i, static_cast<std::uint8_t>(value >> (8 * i)));
    }
    std::uint32_t read(unsigned offset) {
        std::uint32_t value = 0;
        for (unsigned i = 0; i < 4; ++i) value |= std::uint32_t{function.read(offset + i)} << (8 * i);
        return value;
    }

    Clock clock{.now = 0, .hz = 3'579'545};
    TimerQueue timers{clock};
    int power_offs = 0;
    PortBus ports;
    AcpiPm registers{timers, Delegate<void()>::to<&PmFunctionTest::count_power_off>(this)};
    PmFunction function{registers, ports};
};

TEST_F(PmFunctionTest, Identity) {
    EXPECT_EQ(read(0x00), 0x7113'8086u);
    EXPECT_EQ(read(0x08) >> 16, 0x0680u) << "a bridge of another kind";
    EXPECT_EQ(read(0x3c) >> 8 & 0xff, 1u) << "INTA#";
    EXPECT_EQ(function.read(0x5b) & 2, 2) << "APMC_EN: nobody sets up system management mode";
}

TEST_F(PmFunctionTest, RegistersAreNowhereAfterReset) {
    EXPECT_TRUE(ports.ranges().empty());
    write(0x40, 4, 0xb001);
    EXPECT_TRUE(ports.ranges().empty());
    EXPECT_EQ(read(0x40), 0xb001u);
}

TEST_F(PmFunctionTest, RegistersAreWhereTheBaseSays) {
    write(0x40, 4, 0xffff'ffff);
    EXPECT_EQ(read(0x40), 0xffc1u) << "64 ports, and the I/O indicator";
    write(0x40, 4, 0xb000);
    write(0x80, 1, 0x01);
    clock.now = 1000;
    EXPECT_EQ(ports.in(0xb008, 4), 1000u);
    EXPECT_EQ(ports.in(0xb004, 2), 1u) << "SCI_EN";
    EXPECT_EQ(ports.in(0x608, 4), 0xffff'ffffu);
    write(0x40, 2, 0x600);
    EXPECT_EQ(ports.in(0xb008, 4), 0xffff'ffffu);
    EXPECT_EQ(ports.in(0x608, 4), 1000u);
    ports.out(0x604, 2, 0x2000);
    EXPECT_EQ(power_offs, 1);
    write(0x80, 1, 0x00);
    EXPECT_EQ(ports.in(0x608, 4), 0xffff'ffffu);
}

class Nobody final : public PortDevice {
  public:
    std::uint32_t in(std::uint16_t, unsigned) override { return 0x11; }
    void out(std::uint16_t, unsigned, std::uint32_t) override {}
};

TEST_F(PmFunctionTest, AnothersPlaceIsNotTaken) {
    Nobody other;
    ASSERT_TRUE(ports.claim(0x500, 0x500, other));
    write(0x40, 4, 0x500);
    write(0x80, 1, 0x01);
    EXPECT_EQ(ports.in(0x500, 1), 0x11u);
    EXPECT_EQ(ports.in(0x508, 4), 0xffff'ffffu);
    write(0x40, 4, 0x540);
    EXPECT_EQ(ports.in(0x544, 1), 1u);
    EXPECT_EQ(ports.in(0x500, 1), 0x11u);
}

}  // namespace
}  // namespace bulkhead::guest
