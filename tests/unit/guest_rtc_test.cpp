// SPDX-License-Identifier: Apache-2.0
// The real-time clock against the MC146818 data sheet, on the PC's 32.768 kHz time base.
#include "guest/rtc.hpp"

#include <gtest/gtest.h>

#include <ctime>

#include "guest/civil_time.hpp"
#include "lib/address.hpp"

namespace bulkhead::guest {
namespace {

constexpr std::uint64_t hz = 50'000'000;
constexpr std::uint64_t start = 1'709'208'000;  // Thursday, 2024-02-29 12:00:00 UTC

class RtcTest : public testing::Test {
  protected:
    std::uint8_t read(std::uint8_t index) {
        rtc.out(0x70, 1, index);
        return static_cast<std::uint8_t>(rtc.in(0x71, 1));
    }
    void write(std::uint8_t index, std::uint8_t value) {
        rtc.out(0x70, 1, index);
        rtc.out(0x71, 1, value);
    }
    void pass_us(std::uint64_t us) {
        clock.now += us * (hz / 1'000'000);
        timers.expire();
    }
    std::uint32_t hms() { return static_cast<std::uint32_t>(read(4) << 16 | read(2) << 8 | read(0)); }
    bool irq() { return rtc.irq().level(); }

    Clock clock{.now = 12'345, .hz = hz};
    TimerQueue timers{clock};
    Rtc rtc{timers, start};
};

TEST(CivilTime, AgreesWithTheLibrary) {
    for (std::uint64_t t = 0; t < 6'000'000'000; t += 86'399 * 37) {
        const auto seconds = static_cast<time_t>(t);
        tm expected{};
        gmtime_r(&seconds, &expected);
        const CivilTime got = civil_from_seconds(t);
        ASSERT_EQ(got.year, static_cast<unsigned>(expected.tm_year + 1900)) << t;
        ASSERT_EQ(got.month, static_cast<unsigned>(expected.tm_mon + 1)) << t;
        ASSERT_EQ(got.day, static_cast<unsigned>(expected.tm_mday)) << t;
        ASSERT_EQ(got.hour, static_cast<unsigned>(expected.tm_hour)) << t;
        ASSERT_EQ(got.weekday, static_cast<unsigned>(expected.tm_wday)) << t;
        ASSERT_EQ(seconds_from_civil(got), t);
    }
}

TEST_F(RtcTest, StartsAtTheHostsTime) {
    EXPECT_EQ(hms(), 0x120000u);
    EXPECT_EQ(read(6), 0x05) << "Thursday; Sunday is 1";
    EXPECT_EQ(read(7), 0x29);
    EXPECT_EQ(read(8), 0x02);
    EXPECT_EQ(read(9), 0x24);
    EXPECT_EQ(read(0x32), 0x20);
    EXPECT_EQ(read(0x0a), 0x26);
    EXPECT_EQ(read(0x0b), 0x02);
    EXPECT_EQ(read(0x0d), 0x80);
    EXPECT_EQ(rtc.in(0x70, 1), 0xffu);
}

TEST_F(RtcTest, RunsOverMidnightAndALeapDay) {
    pass_us(12ull * 3600 * 1'000'000 - 1'000'000);
    EXPECT_EQ(hms(), 0x235959u);
    pass_us(1'000'000);
    EXPECT_EQ(hms(), 0u);
    EXPECT_EQ(read(7), 0x01);
    EXPECT_EQ(read(8), 0x03);
}

TEST_F(RtcTest, UipBefore) {
    pass_us(1'000'000 - 2500);
    EXPECT_EQ(read(0x0a) & 0x80, 0x00);
    pass_us(500);  // 2 ms before the new second: 244 us + 1984 us
    EXPECT_EQ(read(0x0a) & 0x80, 0x80);
    EXPECT_EQ(hms(), 0x120000u);
    pass_us(2000);
    EXPECT_EQ(read(0x0a) & 0x80, 0x00);
    EXPECT_EQ(hms(), 0x120001u);
}

TEST_F(RtcTest, BinaryAndTwelveHours) {
    write(0x0b, 0x86);  // SET, binary, 24 hours
    write(4, 15);
    write(0x0b, 0x06);
    EXPECT_EQ(read(4), 15);
    write(0x0b, 0x80);  // BCD, 12 hours
    write(4, 0x92);     // 12 PM
    write(0x0b, 0x00);
    EXPECT_EQ(read(4), 0x92);
    pass_us(3'600'000'000);
    EXPECT_EQ(read(4), 0x81);
    pass_us(11 * 3'600'000'000ull);
    EXPECT_EQ(read(4), 0x12) << "midnight is 12 AM";
}

TEST_F(RtcTest, SetFreezesAndStoresTheTime) {
    write(0x0b, 0x82);
    write(0, 0x30);
    write(2, 0x59);
    write(4, 0x23);
    write(7, 0x31);
    write(8, 0x12);
    write(9, 0x99);
    write(0x32, 0x19);
    write(6, 0x06);
    pass_us(5'000'000);
    EXPECT_EQ(hms(), 0x235930u);
    write(0x0b, 0x02);
    pass_us(30'000'000);
    EXPECT_EQ(hms(), 0u);
    EXPECT_EQ(read(9), 0x00);
    EXPECT_EQ(read(0x32), 0x20);
    EXPECT_EQ(read(6), 0x07);
}

TEST_F(RtcTest, FirstUpdateHalfASecondAfterTheDividerIsReleased) {
    write(0x0a, 0x76);
    pass_us(3'000'000);
    EXPECT_EQ(hms(), 0x120000u) << "stopped";
    write(0x0a, 0x26);
    pass_us(499'000);
    EXPECT_EQ(hms(), 0x120000u);
    pass_us(2'000);
    EXPECT_EQ(hms(), 0x120001u);
}

TEST_F(RtcTest, UpdateEndedInterrupt) {
    write(0x0b, 0x12);
    EXPECT_FALSE(irq());
    pass_us(1'000'001);
    EXPECT_TRUE(irq());
    EXPECT_EQ(read(0x0c), 0xd0) << "PF rises as well, at 1024 Hz";
    EXPECT_FALSE(irq());
    EXPECT_EQ(read(0x0c), 0x00);
    pass_us(1'000'000);
    EXPECT_TRUE(irq());
    read(0x0c);
    write(0x0b, 0x92);
    EXPECT_EQ(read(0x0b), 0x82) << "SET clears UIE";
    pass_us(3'000'000);
    EXPECT_FALSE(irq());
}

TEST_F(RtcTest, FlagsRiseWithoutTheirEnables) {
    EXPECT_EQ(timers.earliest(), never) << "no timer without an enabled interrupt";
    pass_us(1'000'001);
    EXPECT_EQ(read(0x0c), 0x50) << "UF and PF, no IRQF";
    EXPECT_FALSE(irq());
}

TEST_F(RtcTest, PeriodicRates) {
    for (const auto& [rate, counts] : {std::pair{1, 128}, {2, 256}, {3, 4}, {6, 32}, {15, 16384}}) {
        write(0x0a, static_cast<std::uint8_t>(0x20 | rate));
        write(0x0b, 0x42);
        read(0x0c);
        unsigned fired = 0;
        const Tick end = clock.now + hz;
        while (timers.earliest() <= end) {
            clock.now = timers.earliest();
            timers.expire();
            EXPECT_EQ(read(0x0c) & 0xc0, 0xc0);
            ++fired;
        }
        clock.now = end;
        EXPECT_EQ(fired, 32'768u / static_cast<unsigned>(counts)) << "rate " << rate;
        write(0x0b, 0x02);
    }
    write(0x0a, 0x20);
    write(0x0b, 0x42);
    EXPECT_EQ(timers.earliest(), never) << "rate 0: none";
}

TEST_F(RtcTest, AlarmOnceADay) {
    write(1, 0x05);
    write(3, 0x01);
    write(5, 0x12);
    read(0x0c);
    write(0x0b, 0x22);
    pass_us(64'999'999);
    EXPECT_FALSE(irq());
    pass_us(2);
    EXPECT_TRUE(irq());
    EXPECT_EQ(read(0x0c) & 0xa0, 0xa0);
    EXPECT_EQ(timers.earliest() - clock.now, 86'400 * hz - hz / 1'000'000);
}

TEST_F(RtcTest, AlarmDontCare) {
    write(1, 0x10);
    write(3, 0xff);
    write(5, 0xc0);
    write(0x0b, 0x22);
    for (int minute = 0; minute < 3; ++minute) {
        pass_us(minute == 0 ? 10'000'001 : 60'000'000);
        EXPECT_TRUE(irq()) << minute;
        read(0x0c);
    }
    write(1, 0xff);
    pass_us(1'000'000);
    EXPECT_TRUE(irq()) << "every second";
}

TEST_F(RtcTest, AlarmThatIsNoTimeNeverComes) {
    write(1, 0x77);
    write(3, 0xff);
    write(5, 0xff);
    write(0x0b, 0x22);
    EXPECT_EQ(timers.earliest(), never);
}

TEST_F(RtcTest, TimeCellsWithGarbageDoNoHarm) {
    for (std::uint8_t cell = 0; cell < 0x40; ++cell) write(cell, 0xff);
    write(0x0b, 0x02);
    write(0x0a, 0x26);
    EXPECT_LT(read(0), 0x60);
}

TEST_F(RtcTest, NvramHoldsAndDescribesMemory) {
    write(0x0f, 0x0a);
    EXPECT_EQ(rtc.nvram(0x0f), 0x0a);
    rtc.out(0x70, 1, 0x8f);
    EXPECT_TRUE(rtc.nmi_masked());
    EXPECT_EQ(rtc.in(0x71, 1), 0x0au);

    rtc.describe_machine(256 * mib, 0, 4);
    EXPECT_EQ(read(0x15) | read(0x16) << 8, 640);
    EXPECT_EQ(read(0x17) | read(0x18) << 8, 0xffff);
    EXPECT_EQ(read(0x30) | read(0x31) << 8, 0xffff) << "255 MiB does not fit";
    EXPECT_EQ(read(0x34) | read(0x35) << 8, (256 - 16) * 16);
    EXPECT_EQ(read(0x5f), 3);
    unsigned sum = 0;
    for (std::uint8_t i = 0x10; i <= 0x2d; ++i) sum += read(i);
    EXPECT_EQ(static_cast<unsigned>(read(0x2e) << 8 | read(0x2f)), sum);

    rtc.describe_machine(32 * mib, 5 * gib, 1);
    EXPECT_EQ(read(0x17) | read(0x18) << 8, 31 * 1024);
    EXPECT_EQ(read(0x5b) | read(0x5c) << 8 | read(0x5d) << 16, 5 * 16384);
}

TEST_F(RtcTest, NvramDescribesDisks) {
    rtc.describe_machine(32 * mib, 0, 1);
    EXPECT_EQ(read(0x12) | read(0x39), 0);
    rtc.describe_disk(0, {.cylinders = 1024, .heads = 16, .sectors = 63});
    EXPECT_EQ(read(0x12), 0xf0);
    EXPECT_EQ(read(0x19), 47);
    EXPECT_EQ(read(0x1b) | read(0x1c) << 8, 1024);
    EXPECT_EQ(read(0x1d), 16);
    EXPECT_EQ(read(0x23), 63);
    EXPECT_EQ(read(0x39), 0) << "INT 13h has so many cylinders";
    rtc.describe_disk(1, {.cylinders = 1025, .heads = 16, .sectors = 63});
    EXPECT_EQ(read(0x12), 0xff);
    EXPECT_EQ(read(0x1a), 47);
    EXPECT_EQ(read(0x24) | read(0x25) << 8, 1025);
    EXPECT_EQ(read(0x2c), 63);
    EXPECT_EQ(read(0x39), 0x04) << "LBA translation";
    rtc.describe_disk(3, {.cylinders = 16383, .heads = 16, .sectors = 63});
    EXPECT_EQ(read(0x39), 0x44);
    unsigned sum = 0;
    for (std::uint8_t i = 0x10; i <= 0x2d; ++i) sum += read(i);
    EXPECT_EQ(static_cast<unsigned>(read(0x2e) << 8 | read(0x2f)), sum);
}

}  // namespace
}  // namespace bulkhead::guest
