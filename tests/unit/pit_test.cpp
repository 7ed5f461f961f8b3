// SPDX-License-Identifier: Apache-2.0
// The 8254 after Intel's data sheet (order 231164), and the part of port 61h that belongs to it. Time is in clocks of
// the 8254: the TSC runs at a multiple of it, so that every clock has its tick.
#include "guest/pit.hpp"

#include <gtest/gtest.h>

#include <string>

namespace bulkhead::guest {
namespace {

class PitTest : public testing::Test {
  protected:
    static constexpr std::uint64_t ticks_per_clock = 1'000;

    PitTest() { pit.irq().connect(Delegate<void(bool)>::to<&PitTest::irq>(this)); }

  public:
    void irq(bool level) { rises += level ? 1 : 0; }

  protected:
    void go_to(std::uint64_t c) {
        clock.now = c * ticks_per_clock;
        timers.expire();
    }
    void pass(std::uint64_t clocks) { go_to(clock.now / ticks_per_clock + clocks); }
    void out(int port, unsigned value) { pit.out(static_cast<std::uint16_t>(port), 1, value); }
    unsigned in(int port) { return pit.in(static_cast<std::uint16_t>(port), 1) & 0xff; }
    // Access mode both, binary.
    void program(unsigned channel, unsigned mode, unsigned count, unsigned bcd = 0) {
        out(0x43, channel << 6 | 0x30 | mode << 1 | bcd);
        write_count(channel, count);
    }
    void write_count(unsigned channel, unsigned count) {
        out(0x40 + static_cast<int>(channel), count & 0xff);
        out(0x40 + static_cast<int>(channel), count >> 8 & 0xff);
    }
    unsigned count(unsigned channel) {
        out(0x43, channel << 6);
        const unsigned low = in(0x40 + static_cast<int>(channel));
        return low | in(0x40 + static_cast<int>(channel)) << 8;
    }
    unsigned status(unsigned channel) {
        out(0x43, 0xe0 | 2u << channel);
        return in(0x40 + static_cast<int>(channel));
    }
    void gate2(bool level) { out(0x61, level ? 1 : 0); }
    bool out2() { return (in(0x61) & 0x20) != 0; }
    // OUT of channel 2 in this clock and the following ones.
    std::string wave(unsigned clocks) {
        std::string levels;
        for (unsigned i = 0; i < clocks; ++i, pass(1)) levels += out2() ? '-' : '_';
        return levels;
    }
    std::string counts(unsigned channel, unsigned clocks) {
        std::string values;
        for (unsigned i = 0; i < clocks; ++i, pass(1)) values += std::to_string(count(channel)) + " ";
        return values;
    }

    int rises = 0;
    Clock clock{.now = 0, .hz = Pit::hz * ticks_per_clock};
    TimerQueue timers{clock};
    Pit pit{timers};
};

// ---- the six modes, on channel 2, by the figures of the data sheet. The first clock of a wave is the one in which the
// count was written; it is loaded with the next.

TEST_F(PitTest, Mode0InterruptOnTerminalCount) {
    gate2(true);
    out(0x43, 0xb0);
    EXPECT_FALSE(out2()) << "low from the control word on";
    write_count(2, 4);
    EXPECT_EQ(wave(8), "_____---") << "high N + 1 clocks after the write";
    EXPECT_EQ(count(2), 0x10000u - 3) << "counting goes on, around";
}

TEST_F(PitTest, Mode0Counts) {
    gate2(true);
    program(2, 0, 3);
    pass(1);
    EXPECT_EQ(counts(2, 6), "3 2 1 0 65535 65534 ");
}

TEST_F(PitTest, Mode0GateHolds) {
    gate2(true);
    program(2, 0, 5);
    pass(3);
    EXPECT_EQ(count(2), 3u);
    gate2(false);
    pass(100);
    EXPECT_EQ(count(2), 3u);
    EXPECT_FALSE(out2());
    gate2(true);
    EXPECT_EQ(wave(5), "___--");
}

TEST_F(PitTest, Mode0CountWrittenWithTheGateLowIsLoaded) {
    program(2, 0, 5);
    pass(10);
    EXPECT_EQ(count(2), 5u);
    gate2(true);
    EXPECT_EQ(wave(7), "_____--");
}

TEST_F(PitTest, Mode0ANewCountStartsAnew) {
    gate2(true);
    program(2, 0, 4);
    pass(10);
    EXPECT_TRUE(out2());
    write_count(2, 2);
    EXPECT_EQ(wave(5), "___--");
}

TEST_F(PitTest, Mode0TheFirstByteOfTwoStopsIt) {
    gate2(true);
    program(2, 0, 10);
    pass(4);
    out(0x42, 3);
    const unsigned standing = count(2);
    pass(100);
    EXPECT_EQ(count(2), standing);
    EXPECT_FALSE(out2());
    out(0x42, 0);
    EXPECT_EQ(wave(6), "____--");
}

TEST_F(PitTest, Mode1OneShot) {
    program(2, 1, 3);
    EXPECT_EQ(wave(4), "----") << "it waits for the trigger";
    gate2(true);
    EXPECT_EQ(wave(6), "-___--");
    gate2(false);
    EXPECT_EQ(wave(3), "---");
    gate2(true);
    EXPECT_EQ(wave(6), "-___--") << "the same count again";
}

TEST_F(PitTest, Mode1RetriggersAndTakesANewCountThen) {
    program(2, 1, 4);
    gate2(true);
    EXPECT_EQ(wave(3), "-__");
    gate2(false);
    gate2(true);
    EXPECT_EQ(wave(7), "_____--") << "four from the new trigger";
    gate2(false);
    gate2(true);
    pass(2);
    write_count(2, 2);
    EXPECT_EQ(wave(5), "___--") << "the running pulse is not changed";
    gate2(false);
    gate2(true);
    EXPECT_EQ(wave(5), "-__--");
}

TEST_F(PitTest, Mode2RateGenerator) {
    gate2(true);
    program(2, 2, 3);
    EXPECT_EQ(wave(11), "---_--_--_-");
}

TEST_F(PitTest, Mode2Counts) {
    gate2(true);
    program(2, 2, 3);
    pass(1);
    EXPECT_EQ(counts(2, 7), "3 2 1 3 2 1 3 ");
}

TEST_F(PitTest, Mode2GateStopsAndRestarts) {
    gate2(true);
    program(2, 2, 3);
    pass(3);
    EXPECT_FALSE(out2());
    gate2(false);
    EXPECT_EQ(wave(4), "----") << "a low gate sets OUT high at once";
    gate2(true);
    EXPECT_EQ(wave(7), "---_--_") << "loaded with the clock after the trigger";
}

TEST_F(PitTest, Mode2TakesANewCountAtTheEndOfThePeriod) {
    gate2(true);
    program(2, 2, 4);
    pass(2);
    EXPECT_EQ(status(2) & 0x40, 0u);
    write_count(2, 3);
    EXPECT_EQ(status(2) & 0x40, 0x40u) << "null count";
    EXPECT_EQ(counts(2, 6), "3 2 1 3 2 1 ");
    EXPECT_EQ(status(2) & 0x40, 0u);
}

TEST_F(PitTest, Mode3SquareWaveOfAnEvenCount) {
    gate2(true);
    program(2, 3, 4);
    EXPECT_EQ(wave(10), "---__--__-");
}

TEST_F(PitTest, Mode3SquareWaveOfAnOddCount) {
    gate2(true);
    program(2, 3, 5);
    EXPECT_EQ(wave(12), "----__---__-") << "(N + 1) / 2 high, (N - 1) / 2 low";
}

TEST_F(PitTest, Mode3CountsByTwo) {
    gate2(true);
    program(2, 3, 4);
    pass(1);
    EXPECT_EQ(counts(2, 6), "4 2 4 2 4 2 ");
    program(2, 3, 5);
    pass(1);
    EXPECT_EQ(counts(2, 11), "4 2 0 4 2 4 2 0 4 2 4 ");
}

TEST_F(PitTest, Mode3TakesANewCountAtTheEndOfTheHalf) {
    gate2(true);
    program(2, 3, 8);
    pass(2);  // one clock into the high half
    write_count(2, 4);
    EXPECT_EQ(wave(11), "---__--__--") << "the low half has the new count";
    program(2, 3, 8);
    pass(6);  // one clock into the low half
    write_count(2, 4);
    EXPECT_EQ(wave(9), "___--__--");
}

TEST_F(PitTest, Mode3GateStopsAndRestarts) {
    gate2(true);
    program(2, 3, 6);
    pass(5);
    EXPECT_FALSE(out2());
    gate2(false);
    EXPECT_EQ(wave(3), "---");
    gate2(true);
    EXPECT_EQ(wave(8), "----___-");
}

TEST_F(PitTest, Mode4SoftwareTriggeredStrobe) {
    gate2(true);
    out(0x43, 0xb8);
    EXPECT_TRUE(out2());
    write_count(2, 3);
    EXPECT_EQ(wave(8), "----_---") << "one clock low, N + 1 after the write, once";
    pass(0x10000);
    EXPECT_EQ(wave(8), "--------");
    write_count(2, 1);
    EXPECT_EQ(wave(4), "--_-");
}

TEST_F(PitTest, Mode4GateHolds) {
    gate2(true);
    program(2, 4, 3);
    pass(2);
    gate2(false);
    EXPECT_EQ(wave(5), "-----");
    gate2(true);
    EXPECT_EQ(wave(4), "--_-");
}

TEST_F(PitTest, Mode5HardwareTriggeredStrobe) {
    program(2, 5, 3);
    EXPECT_EQ(wave(5), "-----");
    gate2(true);
    EXPECT_EQ(wave(7), "----_--");
    gate2(false);
    gate2(true);
    pass(2);
    gate2(false);
    gate2(true);
    EXPECT_EQ(wave(7), "----_--") << "retriggered";
}

TEST_F(PitTest, Modes6And7Are2And3) {
    gate2(true);
    program(2, 6, 3);
    EXPECT_EQ(wave(7), "---_--_");
    EXPECT_EQ(status(2) & 0x3f, 0x3cu) << "read back as written";
    program(2, 7, 4);
    EXPECT_EQ(wave(7), "---__--");
}

TEST_F(PitTest, ATriggerWithoutACountDoesNothing) {
    out(0x43, 0xb2);
    gate2(true);
    EXPECT_EQ(wave(5), "-----");
}

// ---- counts: widths, BCD, latches, read-back

TEST_F(PitTest, ZeroIsTheLargestCount) {
    program(1, 2, 0);
    pass(1);
    EXPECT_EQ(count(1), 0u) << "10000h";
    pass(1);
    EXPECT_EQ(count(1), 0xffffu);
    pass(0xffff);
    EXPECT_EQ(count(1), 0u);
}

TEST_F(PitTest, Bcd) {
    program(1, 0, 0x1000, 1);
    pass(2);
    EXPECT_EQ(count(1), 0x0999u);
    pass(999);
    EXPECT_EQ(count(1), 0x0000u);
    pass(1);
    EXPECT_EQ(count(1), 0x9999u);
    program(1, 2, 0, 1);
    pass(2);
    EXPECT_EQ(count(1), 0x9999u) << "0 is 10000";
    pass(9'999);
    EXPECT_EQ(count(1), 0x0000u);
    EXPECT_EQ(status(1) & 1, 1u);
}

TEST_F(PitTest, OneByteCounts) {
    out(0x43, 0x54);  // channel 1, low byte, mode 2
    out(0x41, 0x20);
    pass(5);
    EXPECT_EQ(in(0x41), 0x1cu);
    EXPECT_EQ(in(0x41), 0x1cu) << "always the low byte";
    out(0x43, 0x64);  // high byte
    out(0x41, 0x20);
    pass(2);
    EXPECT_EQ(in(0x41), 0x1fu);
    pass(0x1fff);
    EXPECT_EQ(in(0x41), 0x20u) << "the low byte of the count is 0";
}

TEST_F(PitTest, ALatchedCountStaysUntilItIsRead) {
    program(1, 2, 0x1234);
    pass(1);
    out(0x43, 0x40);
    pass(100);
    out(0x43, 0x40);  // ignored: there is one
    EXPECT_EQ(in(0x41), 0x34u);
    EXPECT_EQ(in(0x41), 0x12u);
    EXPECT_EQ(in(0x41), (0x1234u - 100) & 0xff) << "now the count itself";
}

TEST_F(PitTest, AControlWordDropsTheLatches) {
    program(1, 2, 0x1234);
    pass(1);
    out(0x43, 0xc4);  // both
    program(1, 2, 0x4321);
    pass(1);
    EXPECT_EQ(in(0x41), 0x21u);
}

TEST_F(PitTest, ReadBackOfSeveralChannels) {
    program(0, 2, 0x100);
    program(1, 2, 0x200);
    pass(1);
    out(0x43, 0xd6);  // counts of 0 and 1
    pass(50);
    EXPECT_EQ(in(0x40) | in(0x40) << 8, 0x100u);
    EXPECT_EQ(in(0x41) | in(0x41) << 8, 0x200u);
}

TEST_F(PitTest, ReadBackGivesTheStatusFirst) {
    program(1, 2, 0x1234);
    out(0x43, 0xc4);
    EXPECT_EQ(in(0x41), 0xf4u) << "OUT high, not loaded yet, both bytes, mode 2";
    in(0x41);
    in(0x41);
    pass(1);
    out(0x43, 0xc4);
    pass(7);
    EXPECT_EQ(in(0x41), 0xb4u) << "loaded";
    EXPECT_EQ(in(0x41), 0x34u);
    EXPECT_EQ(in(0x41), 0x12u);
}

TEST_F(PitTest, TheStatusHasOut) {
    gate2(true);
    program(2, 0, 5);
    pass(5);
    EXPECT_EQ(status(2), 0x30u);
    pass(1);
    EXPECT_EQ(status(2), 0xb0u);
}

TEST_F(PitTest, TheControlPortCannotBeRead) { EXPECT_EQ(in(0x43), 0xffu); }

// ---- port 61h

TEST_F(PitTest, Port61) {
    out(0x61, 0xff);
    EXPECT_EQ(in(0x61) & 0xcf, 0x0fu) << "four bits are software's, no parity or channel error";
    out(0x61, 0x02);
    EXPECT_EQ(in(0x61) & 0x0f, 0x02u);
}

TEST_F(PitTest, TheRefreshBitTogglesEvery18Clocks) {
    for (unsigned i = 0; i < 100; ++i, pass(1)) EXPECT_EQ(in(0x61) >> 4 & 1, i / 18 & 1) << i;
}

// ---- interrupts

TEST_F(PitTest, PeriodicInterrupts) {
    for (const unsigned mode : {2u, 3u}) {
        program(0, mode, 1'000);
        const std::uint64_t loaded = clock.now / ticks_per_clock + 1;
        rises = 0;
        for (unsigned period = 1; period <= 10; ++period) {
            go_to(loaded + 1'000 * period - 1);
            EXPECT_EQ(rises, static_cast<int>(period) - 1);
            go_to(loaded + 1'000 * period);
            EXPECT_EQ(rises, static_cast<int>(period));
        }
    }
}

TEST_F(PitTest, InterruptsMissedAreOneAndThePhaseStays) {
    program(0, 2, 1'000);
    rises = 0;
    go_to(1 + 5'500);
    EXPECT_EQ(rises, 1);
    go_to(1 + 5'999);
    EXPECT_EQ(rises, 1);
    go_to(1 + 6'000);
    EXPECT_EQ(rises, 2);
}

TEST_F(PitTest, OneShotInterrupt) {
    program(0, 0, 500);
    EXPECT_FALSE(pit.irq().level());
    go_to(500);
    EXPECT_EQ(rises, 0);
    go_to(501);
    EXPECT_EQ(rises, 1);
    EXPECT_TRUE(pit.irq().level());
    EXPECT_EQ(timers.earliest(), never);
    write_count(0, 500);
    EXPECT_FALSE(pit.irq().level());
}

TEST_F(PitTest, StrobeInterrupt) {
    program(0, 4, 500);
    rises = 0;
    go_to(501);
    EXPECT_EQ(rises, 0);
    go_to(502);
    EXPECT_EQ(rises, 1) << "with the end of the low clock";
    go_to(200'000);
    EXPECT_EQ(rises, 1);
}

TEST_F(PitTest, AControlWordCanRaiseTheLine) {
    out(0x43, 0x30);
    EXPECT_FALSE(pit.irq().level());
    out(0x43, 0x34);
    EXPECT_EQ(rises, 1);
}

TEST_F(PitTest, NobodyWatchingItIsNotArmed) {
    program(0, 2, 1'000);
    rises = 0;
    pit.watch(false);
    EXPECT_EQ(timers.earliest(), never);
    go_to(1 + 3'500);
    EXPECT_EQ(rises, 0);
    pit.watch(true);
    EXPECT_EQ(rises, 1) << "an 8259A has latched the edge";
    EXPECT_EQ(timers.earliest(), (1 + 4'000) * ticks_per_clock);
    pit.watch(false);
    go_to(1 + 3'900);
    pit.watch(true);
    EXPECT_EQ(rises, 1) << "there was none";
}

TEST_F(PitTest, FrequencyIsExactOverAnHour) {
    clock.hz = 2'893'201'337;
    TimerQueue queue{clock};
    Pit fast{queue};
    fast.irq().connect(Delegate<void(bool)>::to<&PitTest::irq>(this));
    fast.out(0x43, 1, 0x34);
    fast.out(0x40, 1, 0x9c);
    fast.out(0x40, 1, 0x2e);  // 11932
    rises = 0;
    constexpr std::uint64_t periods = 360'000;
    for (std::uint64_t i = 0; i < periods; ++i) {
        clock.now = queue.earliest();
        queue.expire();
    }
    EXPECT_EQ(rises, static_cast<int>(periods));
    EXPECT_EQ(clock.now, scale_up(1 + periods * 11'932, clock.hz, Pit::hz));
}

TEST_F(PitTest, ResetStopsIt) {
    program(0, 2, 1'000);
    pit.reset();
    EXPECT_EQ(timers.earliest(), never);
    EXPECT_FALSE(pit.irq().level());
}

}  // namespace
}  // namespace bulkhead::guest
