// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <ctime>
#include <random>

#include "arch/cpu/clock.hpp"
#include "drivers/rtc.hpp"

namespace bulkhead {
namespace {

using drivers::CmosTime;
using drivers::seconds_since_1970;

constexpr std::uint8_t binary_24 = 0x06, bcd_24 = 0x02, bcd_12 = 0x00, binary_12 = 0x04;

TEST(PmTimer, WrapsAt24And32Bits) {
    EXPECT_EQ(cpu::pm_timer_elapsed(100, 350, false), 250u);
    EXPECT_EQ(cpu::pm_timer_elapsed(0xff'fff0, 0x10, false), 0x20u);
    EXPECT_EQ(cpu::pm_timer_elapsed(0xffff'fff0, 0x10, true), 0x20u);
    EXPECT_EQ(cpu::pm_timer_elapsed(0xff'fff0, 0x100'0010, true), 0x20u);
}

TEST(Frequency, IsRoundedAndHasRoom) {
    EXPECT_EQ(cpu::frequency({2'500'000, 178'977}, cpu::pm_timer_hz), 50'000'070u);
    // 6 GHz for a fifth of a second.
    EXPECT_EQ(cpu::frequency({1'200'000'000, 715'909}, cpu::pm_timer_hz), 6'000'000'000u);
    EXPECT_TRUE(cpu::agree(3'000'000'000, 3'000'700'000));
    EXPECT_FALSE(cpu::agree(3'000'000'000, 3'001'000'000));
    EXPECT_FALSE(cpu::agree(3'001'000'000, 3'000'000'000));
}

TEST(Rtc, ReadsEveryCoding) {
    // 2024-02-29 23:59:58 UTC.
    constexpr std::uint64_t expected = 1709251198;
    EXPECT_EQ(seconds_since_1970({58, 59, 23, 29, 2, 24, 20, binary_24}), expected);
    EXPECT_EQ(seconds_since_1970({0x58, 0x59, 0x23, 0x29, 0x02, 0x24, 0x20, bcd_24}), expected);
    EXPECT_EQ(seconds_since_1970({0x58, 0x59, 0x91, 0x29, 0x02, 0x24, 0x20, bcd_12}), expected);
    EXPECT_EQ(seconds_since_1970({58, 59, 0x80 | 11, 29, 2, 24, 20, binary_12}), expected);
    EXPECT_EQ(seconds_since_1970({58, 59, 23, 29, 2, 24, std::nullopt, binary_24}), expected);
}

TEST(Rtc, TwelveOClock) {
    EXPECT_EQ(seconds_since_1970({0, 0, 0x12, 1, 1, 0x70, 0x19, bcd_12}), 0u);
    EXPECT_EQ(seconds_since_1970({0, 0, 0x92, 1, 1, 0x70, 0x19, bcd_12}), 12u * 3600);
    EXPECT_EQ(seconds_since_1970({0, 0, 0x81, 1, 1, 0x70, 0x19, bcd_12}), 13u * 3600);
    EXPECT_FALSE(seconds_since_1970({0, 0, 0x00, 1, 1, 0x70, 0x19, bcd_12}));
    EXPECT_FALSE(seconds_since_1970({0, 0, 0x93, 1, 1, 0x70, 0x19, bcd_12}));
}

TEST(Rtc, GuessesAMissingCentury) {
    EXPECT_EQ(seconds_since_1970({0, 0, 0, 1, 1, 70, std::nullopt, binary_24}), 0u);
    EXPECT_EQ(seconds_since_1970({0, 0, 0, 1, 1, 0, std::nullopt, binary_24}), 946684800u);
    EXPECT_EQ(seconds_since_1970({0, 0, 0, 1, 1, 0, 0xff, binary_24}), 946684800u);
    EXPECT_EQ(seconds_since_1970({0, 0, 0, 1, 1, 0x00, 0xff, bcd_24}), 946684800u);
}

TEST(Rtc, RefusesWhatIsNoDate) {
    EXPECT_FALSE(seconds_since_1970({60, 0, 0, 1, 1, 20, 20, binary_24}));
    EXPECT_FALSE(seconds_since_1970({0, 60, 0, 1, 1, 20, 20, binary_24}));
    EXPECT_FALSE(seconds_since_1970({0, 0, 24, 1, 1, 20, 20, binary_24}));
    EXPECT_FALSE(seconds_since_1970({0, 0, 0, 0, 1, 20, 20, binary_24}));
    EXPECT_FALSE(seconds_since_1970({0, 0, 0, 29, 2, 23, 20, binary_24}));
    EXPECT_FALSE(seconds_since_1970({0, 0, 0, 31, 4, 23, 20, binary_24}));
    EXPECT_FALSE(seconds_since_1970({0, 0, 0, 1, 13, 20, 20, binary_24}));
    EXPECT_FALSE(seconds_since_1970({0, 0, 0, 1, 0, 20, 20, binary_24}));
    EXPECT_FALSE(seconds_since_1970({0x0a, 0, 0, 1, 1, 0x20, 0x20, bcd_24}));
    EXPECT_FALSE(seconds_since_1970({0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}));
}

TEST(Rtc, AgreesWithTheLibrary) {
    std::mt19937_64 random(3);
    for (int i = 0; i < 10000; ++i) {
        const auto when = static_cast<std::time_t>(random() % 4'102'444'800);  // up to 2100
        std::tm utc{};
        gmtime_r(&when, &utc);
        const auto byte = [](int n) { return static_cast<std::uint8_t>(n); };
        EXPECT_EQ(seconds_since_1970({byte(utc.tm_sec), byte(utc.tm_min), byte(utc.tm_hour), byte(utc.tm_mday),
                                      byte(utc.tm_mon + 1), byte(utc.tm_year % 100), byte(19 + utc.tm_year / 100),
                                      binary_24}),
                  static_cast<std::uint64_t>(when));
    }
}

}  // namespace
}  // namespace bulkhead
