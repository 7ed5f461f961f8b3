// SPDX-License-Identifier: Apache-2.0
// The 8254's counts and interrupts after Intel's data sheet (order 231164), and the part of port 61h that belongs to
// it.
#include "tests/unit/pit_fixture.hpp"

namespace bulkhead::guest {
namespace {

class PitTest : public PitFixture {};

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

TEST_F(PitTest, ANewRateHoldsFromTheNextPeriod) {
    program(0, 2, 1'000);
    rises = 0;
    go_to(401);
    write_count(0, 300);
    EXPECT_EQ(timers.earliest(), 1'001 * ticks_per_clock);
    go_to(1'001);
    EXPECT_EQ(rises, 1);
    EXPECT_EQ(timers.earliest(), 1'301 * ticks_per_clock);
}

TEST_F(PitTest, ANewRateOfASquareWaveHoldsFromTheNextHalf) {
    program(0, 3, 1'000);
    go_to(401);
    write_count(0, 300);
    EXPECT_EQ(timers.earliest(), (501 + 150) * ticks_per_clock) << "from the low half";
    go_to(501 + 150);
    EXPECT_EQ(timers.earliest(), (501 + 450) * ticks_per_clock);
    go_to(501 + 450 + 200);  // 50 clocks into the low half
    write_count(0, 1'000);
    EXPECT_EQ(timers.earliest(), (501 + 750) * ticks_per_clock) << "from the high half";
    go_to(501 + 750);
    EXPECT_EQ(timers.earliest(), (501 + 1'750) * ticks_per_clock);
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

TEST_F(PitTest, InterruptsThatNobodyCouldTellApartAreOne) {
    for (const unsigned count : {2u, 3u, 7u, 23u}) {
        for (const unsigned mode : {2u, 3u}) {
            program(0, mode, count);
            const std::uint64_t loaded = clock.now / ticks_per_clock + 1;
            const Tick until = clock.now + 2'400 * ticks_per_clock;
            rises = 0;
            for (;;) {
                const Tick due = timers.earliest();
                ASSERT_GT(due, clock.now);
                if (due > until) break;
                clock.now = due;
                EXPECT_EQ((clock.now / ticks_per_clock - loaded) % count, 0u) << "in the phase of the count";
                timers.expire();
            }
            EXPECT_LE(rises, 101) << "50 kHz at most, count " << count;
            EXPECT_GE(rises, 50) << "and no slower than it has to be";
        }
    }
}

TEST_F(PitTest, TheFastestRateThatIsUsedIsKept) {
    program(0, 2, 24);
    rises = 0;
    for (unsigned i = 0; i < 100; ++i) {
        clock.now = timers.earliest();
        timers.expire();
    }
    EXPECT_EQ(rises, 100);
    EXPECT_EQ(clock.now, (1 + 100 * 24) * ticks_per_clock);
}

// 1 is no count for modes 2 and 3 (data sheet, figure 21).
TEST_F(PitTest, APeriodicCountOfOneArmsNothing) {
    for (const unsigned mode : {2u, 3u}) {
        program(0, mode, 1);
        EXPECT_EQ(timers.earliest(), never) << mode;
        pass(10);
        for (const unsigned phase : {30u, 70u}) {
            program(0, mode, 100);
            pass(phase);
            write_count(0, 1);
            for (int i = 0; i < 3 && timers.earliest() != never; ++i) {
                clock.now = timers.earliest();
                timers.expire();
            }
            EXPECT_EQ(timers.earliest(), never) << mode << " " << phase;
        }
    }
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
    fast.irq().connect(Delegate<void(bool)>::to<&PitFixture::irq>(this));
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
