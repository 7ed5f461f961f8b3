// SPDX-License-Identifier: Apache-2.0
// The interval timer against the 8254 data sheet (231164), and port 61h of a PC.
#include "guest/pit.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace bulkhead::guest {
namespace {

enum : std::uint16_t { control = 0x43, port_61 = 0x61 };
constexpr std::uint64_t pit_hz = 1'193'182;
constexpr std::uint64_t ticks_per_period = 1000;

// The data sheet loads the counting element with the clock pulse after the write: one period of slack either way.
constexpr unsigned slack = 2;

class PitTest : public testing::Test {
  protected:
    void SetUp() override { pit.irq().connect(Delegate<void(bool)>::to<&PitTest::irq>(this)); }
    void irq(bool level) { edges += level; }

    void out(std::uint16_t port, std::uint8_t value) { pit.out(port, 1, value); }
    std::uint8_t in(std::uint16_t port) { return static_cast<std::uint8_t>(pit.in(port, 1)); }
    // As the processor runs: to each deadline in turn.
    void pass(std::uint64_t periods) {
        const Tick end = clock.now + periods * ticks_per_period;
        while (timers.earliest() <= end) {
            clock.now = timers.earliest();
            timers.expire();
        }
        clock.now = end;
    }
    // The guest was not run, and everything was due at once.
    void sleep(std::uint64_t periods) {
        clock.now += periods * ticks_per_period;
        timers.expire();
    }
    void mode(unsigned channel, unsigned number, unsigned access = 3, bool bcd = false) {
        out(control, static_cast<std::uint8_t>(channel << 6 | access << 4 | number << 1 | bcd));
    }
    void count(unsigned channel, unsigned value) {
        out(static_cast<std::uint16_t>(0x40 + channel), static_cast<std::uint8_t>(value));
        out(static_cast<std::uint16_t>(0x40 + channel), static_cast<std::uint8_t>(value >> 8));
    }
    unsigned read_word(unsigned channel) {
        const unsigned low = in(static_cast<std::uint16_t>(0x40 + channel));
        return low | in(static_cast<std::uint16_t>(0x40 + channel)) << 8;
    }
    unsigned latched(unsigned channel) {
        out(control, static_cast<std::uint8_t>(channel << 6));
        return read_word(channel);
    }
    std::uint8_t status(unsigned channel) {
        out(control, static_cast<std::uint8_t>(0xe0 | 2 << channel));
        return in(static_cast<std::uint16_t>(0x40 + channel));
    }
    void gate(bool level) { out(port_61, level); }
    bool out2() { return (in(port_61) & 0x20) != 0; }
    unsigned edges_in(std::uint64_t periods) {
        edges = 0;
        pass(periods);
        return edges;
    }
    // How long OUT of channel 2 is low and then high, from now on.
    std::vector<unsigned> levels_of_out2(unsigned periods) {
        std::vector<unsigned> lengths{0};
        bool level = out2();
        for (unsigned i = 0; i < periods; ++i) {
            if (out2() != level) {
                level = !level;
                lengths.push_back(0);
            }
            ++lengths.back();
            pass(1);
        }
        return lengths;
    }

    Clock clock{.now = 77 * ticks_per_period + 1, .hz = pit_hz * ticks_per_period};
    TimerQueue timers{clock};
    Pit pit{timers};
    unsigned edges{};
};

// ---- counting and reading

TEST_F(PitTest, CountsDown) {
    mode(2, 0);
    gate(true);
    count(2, 0x1234);
    pass(0x34);
    EXPECT_NEAR(latched(2), 0x1200u, slack);
    pass(0x1000);
    EXPECT_NEAR(latched(2), 0x0200u, slack);
}

TEST_F(PitTest, ZeroIsTheLargestCount) {
    mode(2, 0);
    gate(true);
    count(2, 0);
    pass(0xfff0);
    EXPECT_NEAR(latched(2), 0x10u, slack);
    EXPECT_FALSE(out2());
    pass(0x10 + slack);
    EXPECT_TRUE(out2());
}

TEST_F(PitTest, CountsInBcd) {
    mode(2, 0, 3, true);
    gate(true);
    count(2, 0x1000);
    pass(501);
    const unsigned value = latched(2);
    EXPECT_TRUE(value >= 0x0498 && value <= 0x0501) << std::hex << value;
    EXPECT_LE(value & 0xf, 9u);
}

TEST_F(PitTest, ZeroInBcdIsTenThousand) {
    mode(2, 0, 3, true);
    gate(true);
    count(2, 0);
    pass(9'990);
    EXPECT_FALSE(out2());
    pass(10 + slack);
    EXPECT_TRUE(out2());
}

TEST_F(PitTest, OneByteAccess) {
    mode(2, 0, 1);
    gate(true);
    out(0x42, 100);
    pass(40);
    EXPECT_NEAR(in(0x42), 60, slack);
    EXPECT_NEAR(in(0x42), 60, slack) << "the low byte each time";
    mode(2, 0, 2);
    out(0x42, 0x20);
    pass(0x1010);
    EXPECT_EQ(in(0x42), 0x0f);
    EXPECT_EQ(in(0x42), 0x0f);
}

TEST_F(PitTest, TheLatchHoldsUntilItIsRead) {
    mode(2, 0);
    gate(true);
    count(2, 5000);
    pass(1000);
    out(control, 0x80);
    pass(1000);
    out(control, 0x80);  // ignored: the first is still there
    EXPECT_NEAR(read_word(2), 4000u, slack);
    EXPECT_NEAR(latched(2), 3000u, slack);
}

TEST_F(PitTest, TheLatchOfOneChannelIsItsOwn) {
    mode(0, 2);
    count(0, 5000);
    mode(2, 2);
    gate(true);
    count(2, 4000);
    pass(1);
    out(control, 0xc0 | 0x10 | 2 << 0 | 2 << 2);  // read-back of the counts of 0 and 2
    pass(500);
    EXPECT_NEAR(read_word(0), 5000u, slack);
    EXPECT_NEAR(read_word(2), 4000u, slack);
    EXPECT_NEAR(read_word(0), 4500u, slack);
}

TEST_F(PitTest, ReadBackOfBothGivesTheStatusFirst) {
    mode(2, 2);
    gate(true);
    count(2, 5000);
    pass(1000);
    out(control, 0xc0 | 2 << 2);
    pass(100);
    EXPECT_EQ(in(0x42), 0xb4) << "OUT high, low and high byte, mode 2";
    EXPECT_NEAR(read_word(2), 4000u, slack);
}

TEST_F(PitTest, TheStatusSaysHowTheChannelIsProgrammed) {
    mode(2, 3, 1, true);
    EXPECT_EQ(status(2) & 0x3f, 0x17);
    mode(2, 0, 2);
    EXPECT_EQ(status(2) & 0x3f, 0x20);
    EXPECT_EQ(status(2) & 0x40, 0x40) << "null count: none was written";
    gate(true);
    out(0x42, 1);
    pass(slack);
    EXPECT_EQ(status(2) & 0xc0, 0);
    pass(256 + slack);
    EXPECT_EQ(status(2) & 0xc0, 0x80) << "OUT";
}

TEST_F(PitTest, ModesSixAndSevenAreTwoAndThree) {
    gate(true);
    mode(2, 6);
    count(2, 100);
    pass(250);
    EXPECT_NEAR(latched(2), 50u, slack);
    mode(2, 7);
    count(2, 100);
    const auto lengths = levels_of_out2(400);
    ASSERT_GE(lengths.size(), 4u);
    EXPECT_EQ(lengths[1], 50u);
    EXPECT_EQ(lengths[2], 50u);
}

TEST_F(PitTest, TheControlWordCannotBeRead) { EXPECT_EQ(in(control), 0xff); }

// ---- the modes, on channel 2

TEST_F(PitTest, Mode0GoesHighAtItsEndAndStays) {
    gate(true);
    mode(2, 0);
    EXPECT_FALSE(out2());
    count(2, 100);
    pass(98);
    EXPECT_FALSE(out2());
    pass(2 + slack);
    EXPECT_TRUE(out2());
    pass(70'000);
    EXPECT_TRUE(out2());
}

TEST_F(PitTest, Mode0CountsOnBelowZero) {
    gate(true);
    mode(2, 0);
    count(2, 100);
    pass(110);
    EXPECT_NEAR(latched(2), 0xfff6u, slack);
}

TEST_F(PitTest, InBcdTheCountBelowZeroIs9999) {
    gate(true);
    mode(2, 0, 3, true);
    count(2, 0x0100);
    pass(110);
    const unsigned value = latched(2);
    EXPECT_TRUE(value >= 0x9989 && value <= 0x9992) << std::hex << value;
}

TEST_F(PitTest, Mode0StopsWhileTheGateIsLow) {
    gate(true);
    mode(2, 0);
    count(2, 100);
    pass(40);
    gate(false);
    pass(1000);
    EXPECT_FALSE(out2());
    EXPECT_NEAR(latched(2), 60u, slack);
    gate(true);
    pass(55);
    EXPECT_FALSE(out2());
    pass(5 + slack);
    EXPECT_TRUE(out2());
}

TEST_F(PitTest, Mode0StartsAgainWithANewCount) {
    gate(true);
    mode(2, 0);
    count(2, 100);
    pass(200);
    ASSERT_TRUE(out2());
    out(0x42, 50);
    EXPECT_FALSE(out2()) << "with the first byte";
    pass(1000);
    EXPECT_FALSE(out2()) << "which stops the counting";
    out(0x42, 0);
    pass(45);
    EXPECT_FALSE(out2());
    pass(5 + slack);
    EXPECT_TRUE(out2());
}

TEST_F(PitTest, Mode1IsLowForItsCountFromTheTrigger) {
    gate(false);
    mode(2, 1);
    count(2, 100);
    pass(500);
    EXPECT_TRUE(out2()) << "not triggered";
    gate(true);
    pass(slack);
    EXPECT_FALSE(out2());
    gate(false);
    pass(90);
    EXPECT_FALSE(out2()) << "the level of the gate does nothing";
    pass(10);
    EXPECT_TRUE(out2());
}

TEST_F(PitTest, Mode1CanBeTriggeredAgain) {
    mode(2, 1);
    count(2, 100);
    gate(true);
    pass(60);
    gate(false);
    gate(true);
    pass(95);
    EXPECT_FALSE(out2());
    pass(5 + slack);
    EXPECT_TRUE(out2());
}

TEST_F(PitTest, Mode1TakesANewCountWithTheNextTrigger) {
    mode(2, 1);
    count(2, 100);
    gate(true);
    pass(20);
    count(2, 300);
    pass(90);
    EXPECT_TRUE(out2()) << "the pulse is the old count's";
    gate(false);
    gate(true);
    pass(290);
    EXPECT_FALSE(out2());
    pass(10 + slack);
    EXPECT_TRUE(out2());
}

TEST_F(PitTest, Mode1IsNotTriggeredByAGateThatRoseBefore) {
    mode(2, 1);
    gate(true);
    pass(10);
    count(2, 100);
    pass(10);
    EXPECT_TRUE(out2());
}

TEST_F(PitTest, Mode2TakesANewCountAtTheEndOfItsPeriod) {
    gate(true);
    mode(2, 2);
    count(2, 100);
    pass(30);
    count(2, 20);
    EXPECT_NEAR(latched(2), 70u, slack);
    const auto lengths = levels_of_out2(200);
    ASSERT_GE(lengths.size(), 5u);
    EXPECT_NEAR(lengths[0], 69u, slack);
    EXPECT_EQ(lengths[1], 1u);
    EXPECT_EQ(lengths[2], 19u);
    EXPECT_EQ(lengths[4], 19u);
}

TEST_F(PitTest, Mode3TakesANewCountAtTheEndOfTheHalf) {
    gate(true);
    mode(2, 3);
    count(2, 100);
    pass(30);
    count(2, 20);
    const auto lengths = levels_of_out2(200);
    ASSERT_GE(lengths.size(), 5u);
    EXPECT_NEAR(lengths[0], 20u, slack);
    EXPECT_EQ(lengths[1], 10u);
    EXPECT_EQ(lengths[2], 10u);
}

TEST_F(PitTest, ANewCountOfAPeriodicModeIsTakenAtATrigger) {
    for (const unsigned periodic : {2u, 3u}) {
        gate(true);
        mode(2, periodic);
        count(2, 1000);
        pass(30);
        count(2, 60);
        EXPECT_EQ(status(2) & 0x40, 0x40) << "null count: it is not in use yet";
        gate(false);
        gate(true);
        pass(slack);
        EXPECT_EQ(status(2) & 0x40, 0);
        const auto lengths = levels_of_out2(300);
        ASSERT_GE(lengths.size(), 4u);
        EXPECT_EQ(lengths[1] + lengths[2], 60u) << "mode " << periodic;
    }
}

TEST_F(PitTest, Mode2IsLowForTheLastOfItsPeriods) {
    gate(true);
    mode(2, 2);
    EXPECT_TRUE(out2());
    count(2, 10);
    const auto lengths = levels_of_out2(100);
    ASSERT_GE(lengths.size(), 18u);
    EXPECT_NEAR(lengths[0], 9u, slack);
    for (std::size_t i = 1; i + 1 < lengths.size(); ++i) EXPECT_EQ(lengths[i], i % 2 ? 1u : 9u);
}

TEST_F(PitTest, Mode2StartsOverWithTheGate) {
    gate(true);
    mode(2, 2);
    count(2, 100);
    pass(60);
    gate(false);
    EXPECT_TRUE(out2());
    pass(77);
    EXPECT_TRUE(out2());
    gate(true);
    pass(50);
    EXPECT_NEAR(latched(2), 50u, slack);
}

TEST_F(PitTest, Mode3IsASquareWave) {
    gate(true);
    mode(2, 3);
    EXPECT_TRUE(out2());
    count(2, 10);
    const auto lengths = levels_of_out2(100);
    ASSERT_GE(lengths.size(), 18u);
    for (std::size_t i = 1; i + 1 < lengths.size(); ++i) EXPECT_EQ(lengths[i], 5u);
}

TEST_F(PitTest, Mode3IsHighLongerByOneWhenTheCountIsOdd) {
    gate(true);
    mode(2, 3);
    count(2, 9);
    const auto lengths = levels_of_out2(100);
    ASSERT_GE(lengths.size(), 18u);
    for (std::size_t i = 1; i + 1 < lengths.size(); ++i) EXPECT_EQ(lengths[i], i % 2 ? 4u : 5u);
}

TEST_F(PitTest, Mode3CountsByTwo) {
    gate(true);
    mode(2, 3);
    count(2, 1000);
    pass(100);
    EXPECT_NEAR(latched(2), 800u, 2 * slack);
    pass(500);
    EXPECT_NEAR(latched(2), 800u, 2 * slack);
}

TEST_F(PitTest, Mode4StrobesOnce) {
    gate(true);
    mode(2, 4);
    count(2, 50);
    const auto lengths = levels_of_out2(70'000);
    ASSERT_EQ(lengths.size(), 3u);
    EXPECT_NEAR(lengths[0], 50u, slack);
    EXPECT_EQ(lengths[1], 1u);
}

TEST_F(PitTest, Mode5StrobesAfterTheTrigger) {
    gate(false);
    mode(2, 5);
    count(2, 50);
    EXPECT_EQ(levels_of_out2(200).size(), 1u);
    gate(true);
    const auto lengths = levels_of_out2(500);
    ASSERT_EQ(lengths.size(), 3u);
    EXPECT_NEAR(lengths[0], 50u, slack);
    EXPECT_EQ(lengths[1], 1u);
}

// ---- IRQ 0

TEST_F(PitTest, APeriodicChannelInterruptsOncePerPeriod) {
    for (const unsigned periodic : {2u, 3u}) {
        mode(0, periodic);
        count(0, 1000);
        edges = 0;
        EXPECT_EQ(edges_in(100'500), 100u) << "mode " << periodic;
    }
}

TEST_F(PitTest, ThePeriodDoesNotDrift) {
    clock.hz = 2'100'000'000;  // no multiple of the 8254's
    clock.now = 12'345;
    mode(0, 2);
    count(0, 11932);
    const Tick start = clock.now;
    edges = 0;
    while (clock.now - start < 100 * clock.hz) {
        clock.now = timers.earliest();
        timers.expire();
    }
    EXPECT_NEAR(edges, 100 * pit_hz / 11932, 1u);
}

TEST_F(PitTest, AOneShotInterruptsOnce) {
    for (const unsigned once : {0u, 4u}) {
        mode(0, once);
        count(0, 1000);
        EXPECT_EQ(edges_in(990), 0u);
        EXPECT_EQ(edges_in(10 + slack), 1u) << "mode " << once;
        EXPECT_EQ(edges_in(200'000), 0u);
        EXPECT_EQ(timers.earliest(), never) << "nothing more to see";
    }
}

TEST_F(PitTest, MissedPeriodsAreOneEdge) {
    mode(0, 2);
    count(0, 1000);
    edges = 0;
    sleep(50'500);
    EXPECT_EQ(edges, 1u);
    EXPECT_EQ(edges_in(480), 0u);
    EXPECT_EQ(edges_in(20 + slack), 1u) << "and the phase is kept";
}

TEST_F(PitTest, ANewRateBeginsWithThePeriodAfter) {
    mode(0, 2);
    count(0, 1000);
    pass(500);
    count(0, 100);
    EXPECT_EQ(edges_in(490), 0u);
    EXPECT_EQ(edges_in(10 + slack), 1u);
    EXPECT_EQ(edges_in(1000), 10u);
}

TEST_F(PitTest, ANewRateOfTheSquareWaveBeginsWithTheHalfAfter) {
    mode(0, 3);
    count(0, 1000);
    pass(200);
    count(0, 100);  // 500 high as they were, then 50 low
    EXPECT_EQ(edges_in(345), 0u);
    EXPECT_EQ(edges_in(5 + slack), 1u);
    EXPECT_EQ(edges_in(1000), 10u);
}

TEST_F(PitTest, TheFirstByteOfAMode0CountTakesTheInterruptBack) {
    mode(0, 0);
    count(0, 1000);
    pass(500);
    out(0x40, 0x10);
    EXPECT_EQ(edges_in(5000), 0u);
    out(0x40, 0);
    EXPECT_EQ(edges_in(0x10 + slack), 1u);
}

TEST_F(PitTest, WhatNobodyWatchesNeedsNoTimer) {
    mode(0, 2);
    count(0, 1000);
    pit.watch(false);
    EXPECT_EQ(timers.earliest(), never);
    EXPECT_EQ(edges_in(10'500), 0u);
    EXPECT_NEAR(latched(0), 500u, slack) << "it counts all the same";
    edges = 0;
    pit.watch(true);
    EXPECT_EQ(edges, 1u) << "the ones that went by are one";
    EXPECT_EQ(edges_in(480), 0u);
    EXPECT_EQ(edges_in(20 + slack), 1u);
}

TEST_F(PitTest, ANewModeStopsTheOldOne) {
    mode(0, 2);
    count(0, 1000);
    pass(500);
    mode(0, 2);
    EXPECT_EQ(edges_in(10'000), 0u) << "until a count is written";
}

TEST_F(PitTest, NoTimerRunsForTheOtherChannels) {
    gate(true);
    for (const unsigned channel : {1u, 2u}) {
        mode(channel, 2);
        count(channel, 18);
    }
    EXPECT_EQ(timers.earliest(), never);
    EXPECT_EQ(edges, 0u);
}

// ---- port 61h

TEST_F(PitTest, Port61ReadsBackWhatIsOnlyStored) {
    for (std::uint8_t value = 0; value <= 0x0f; ++value) {
        out(port_61, value);
        EXPECT_EQ(in(port_61) & 0x0f, value);
        EXPECT_EQ(in(port_61) & 0xc0, 0) << "no parity error, no channel check";
    }
}

TEST_F(PitTest, AWideAccessEndsWithTheDevice) {
    gate(true);
    mode(0, 2, 1);
    out(0x40, 50);
    mode(2, 2, 1);
    out(0x42, 50);
    pit.out(port_61, 4, 0x0707'0701);
    pit.out(0x42, 4, 0x0707'b032);  // channel 2's count, a control word for it, and two for nobody
    EXPECT_EQ(pit.in(port_61, 4) & 0xffff'ff0f, 0xffff'ff01u);
    EXPECT_EQ(pit.in(control, 4), 0xffff'ffffu);
    EXPECT_EQ(status(2) & 0x3f, 0x30);
    EXPECT_EQ(edges_in(5010), 100u) << "channel 0 was not touched";
}

TEST_F(PitTest, RefreshToggles) {
    unsigned toggles = 0;
    bool before = (in(port_61) & 0x10) != 0;
    for (unsigned i = 0; i < pit_hz / 100; ++i) {  // 10 ms
        pass(1);
        const bool level = (in(port_61) & 0x10) != 0;
        toggles += level != before;
        before = level;
    }
    EXPECT_NEAR(toggles, 10'000'000 / 15'085, 2u);
}

}  // namespace
}  // namespace bulkhead::guest
