// SPDX-License-Identifier: Apache-2.0
// ACPI fixed hardware, after chapter 4.8 of the specification.
#include "guest/acpi_pm.hpp"

#include <gtest/gtest.h>

namespace bulkhead::guest {
namespace {

constexpr std::uint16_t STS = AcpiPm::pm1_event, EN = STS + 2, CNT = AcpiPm::pm1_control, TMR = AcpiPm::pm_timer;

class AcpiPmTest : public testing::Test {
  protected:
    void count_power_off() { ++power_offs; }
    std::uint32_t in(std::uint16_t port, unsigned size = 2) { return pm.in(port, size); }
    void out(std::uint16_t port, std::uint32_t value, unsigned size = 2) { pm.out(port, size, value); }
    bool sci() { return pm.sci().level(); }
    void at_timer(std::uint64_t count) {
        clock.now = scale_up(count, clock.hz, AcpiPm::timer_hz);
        timers.expire();
    }

    int power_offs = 0;
    Clock clock{.now = 0, .hz = 2'400'000'000};
    TimerQueue timers{clock};
    AcpiPm pm{timers, Delegate<void()>::to<&AcpiPmTest::count_power_off>(this)};
};

TEST_F(AcpiPmTest, AlwaysInAcpiMode) {
    EXPECT_EQ(in(CNT), 0x0001u);
    out(CNT, 0x0000);
    EXPECT_EQ(in(CNT), 0x0001u);
    EXPECT_EQ(in(STS), 0u);
    EXPECT_EQ(in(EN), 0u);
}

TEST_F(AcpiPmTest, TimerCountsAt3579545Hz) {
    clock.now = clock.hz;
    EXPECT_EQ(in(TMR, 4), 3'579'545u);
    EXPECT_EQ(in(TMR, 1), 3'579'545u & 0xff);
    EXPECT_EQ(in(TMR + 1, 2), 3'579'545u >> 8 & 0xffff);
    clock.now = 5 * clock.hz;
    EXPECT_EQ(in(TMR, 4), 5u * 3'579'545 - 0x1000000) << "24 bits";
    out(TMR, 0, 4);
    EXPECT_EQ(in(TMR, 4), 5u * 3'579'545 - 0x1000000) << "read-only";
}

TEST_F(AcpiPmTest, TimerStatusWhenTheHighestBitChanges) {
    at_timer(0x7fffff);
    EXPECT_EQ(in(STS), 0u);
    at_timer(0x800000);
    EXPECT_EQ(in(STS), 1u);
    out(STS, 1);
    EXPECT_EQ(in(STS), 0u) << "a one clears";
    at_timer(0x1000000);
    EXPECT_EQ(in(STS), 1u);
    EXPECT_FALSE(sci());
}

TEST_F(AcpiPmTest, TimerInterrupt) {
    out(EN, 1);
    at_timer(0x7fffff);
    EXPECT_FALSE(sci());
    EXPECT_EQ(timers.earliest(), scale_up(0x800000, clock.hz, AcpiPm::timer_hz));
    at_timer(0x800000);
    EXPECT_TRUE(sci());
    out(STS, 1);
    EXPECT_FALSE(sci());
    at_timer(0x1000000);
    EXPECT_TRUE(sci());
    out(EN, 0);
    EXPECT_FALSE(sci());
    EXPECT_EQ(timers.earliest(), never);
}

TEST_F(AcpiPmTest, PowerButton) {
    pm.press_power_button();
    EXPECT_EQ(in(STS), 0x100u);
    EXPECT_FALSE(sci());
    out(EN + 1, 0x01, 1);
    EXPECT_TRUE(sci());
    out(STS, 0x100);
    EXPECT_FALSE(sci());
}

TEST_F(AcpiPmTest, AlarmOfTheRealTimeClock) {
    pm.rtc_interrupt(true);
    EXPECT_EQ(in(STS), 0x400u);
    EXPECT_FALSE(sci());
    out(EN, 0x400);
    EXPECT_TRUE(sci());
    out(STS, 0x400);
    EXPECT_FALSE(sci()) << "the level alone is no event";
    pm.rtc_interrupt(false);
    EXPECT_EQ(in(STS), 0u);
    pm.rtc_interrupt(true);
    EXPECT_TRUE(sci());
}

TEST_F(AcpiPmTest, UnimplementedEnablesReadZero) {
    out(EN, 0xffff);
    EXPECT_EQ(in(EN), 0x0521u);
    EXPECT_EQ(in(STS, 4), 0x0521'0000u);
}

TEST_F(AcpiPmTest, PowerOff) {
    out(CNT, 5u << 10);
    EXPECT_EQ(in(CNT), 5u << 10 | 1);
    out(CNT, 0);
    EXPECT_EQ(power_offs, 0) << "without SLP_EN";
    out(CNT, 1u << 13 | 3u << 10);
    EXPECT_EQ(power_offs, 0) << "S3 is not there";
    out(CNT, 1u << 13 | 5u << 10);
    EXPECT_EQ(power_offs, 0) << "in PIIX4, the working state";
    out(CNT, 1u << 13);
    EXPECT_EQ(power_offs, 1);
    EXPECT_EQ(in(CNT) & (1u << 13), 0u) << "SLP_EN reads as zero";
    out(CNT + 1, 0x20, 1);
    EXPECT_EQ(power_offs, 2) << "by its high byte alone";
}

}  // namespace
}  // namespace bulkhead::guest
