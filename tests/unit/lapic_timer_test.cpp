// SPDX-License-Identifier: Apache-2.0
// The local APIC's timer after SDM volume 3, 10.5.4.
#include "guest/lapic_timer.hpp"

#include <gtest/gtest.h>

namespace bulkhead::guest {
namespace {

using Mode = LapicTimer::Mode;

// A TSC of 2 GHz and a crystal of 25 MHz: 80 TSC ticks a count at divisor 1.
class LapicTimerTest : public testing::Test {
  protected:
    static constexpr Tick count = 80;
    static constexpr std::uint32_t divide_by_1 = 0xb;

    LapicTimerTest() {
        timer.set_divide(divide_by_1);
        timer.enable_interrupt(true);
    }

  public:
    void expired() { ++expiries; }

  protected:
    void go_to(Tick tick) {
        clock.now = tick;
        timers.expire();
    }

    int expiries = 0;
    Clock clock{.now = 1'000, .hz = 2'000'000'000};
    TimerQueue timers{clock};
    LapicTimer timer{timers, 25'000'000, Delegate<void()>::to<&LapicTimerTest::expired>(this)};
};

TEST_F(LapicTimerTest, OneShotCountsDownToZeroAndStays) {
    timer.set_initial_count(100);
    EXPECT_EQ(timer.current_count(), 100u);
    go_to(1'000 + count - 1);
    EXPECT_EQ(timer.current_count(), 100u);
    go_to(1'000 + count);
    EXPECT_EQ(timer.current_count(), 99u);
    go_to(1'000 + 100 * count - 1);
    EXPECT_EQ(timer.current_count(), 1u);
    EXPECT_EQ(expiries, 0);
    go_to(1'000 + 100 * count);
    EXPECT_EQ(expiries, 1);
    EXPECT_EQ(timer.current_count(), 0u);
    EXPECT_EQ(timer.initial_count(), 100u);
    go_to(1'000 + 1'000 * count);
    EXPECT_EQ(expiries, 1);
    EXPECT_EQ(timers.earliest(), never);
}

TEST_F(LapicTimerTest, PeriodicReloads) {
    timer.set_mode(Mode::periodic);
    timer.set_initial_count(10);
    for (int period = 1; period <= 5; ++period) {
        go_to(1'000 + 10 * count * static_cast<Tick>(period));
        EXPECT_EQ(expiries, period);
        EXPECT_EQ(timer.current_count(), 10u);
    }
    go_to(1'000 + 53 * count);
    EXPECT_EQ(timer.current_count(), 7u);
}

TEST_F(LapicTimerTest, PeriodsThatWereMissedAreOneExpiryAndThePhaseStays) {
    timer.set_mode(Mode::periodic);
    timer.set_initial_count(10);
    go_to(1'000 + 47 * count);
    EXPECT_EQ(expiries, 1);
    EXPECT_EQ(timers.earliest(), 1'000 + 50 * count);
}

TEST_F(LapicTimerTest, PeriodsDoNotDriftWhenTheRatesDoNotDivide) {
    clock.hz = 2'499'999'983;
    LapicTimer odd{timers, 25'000'000, Delegate<void()>::to<&LapicTimerTest::expired>(this)};
    odd.set_divide(divide_by_1);
    odd.enable_interrupt(true);
    odd.set_mode(Mode::periodic);
    odd.set_initial_count(25'000);  // 1 ms
    while (expiries < 10'000) go_to(timers.earliest());
    // 10 s: never early, and late by less than a tick.
    const Tick ten_seconds = 10 * clock.hz;
    EXPECT_EQ(clock.now, 1'000 + ten_seconds);
}

TEST_F(LapicTimerTest, EveryDivisor) {
    const std::pair<std::uint32_t, Tick> divisors[] = {{0x0, 2},  {0x1, 4},  {0x2, 8},   {0x3, 16},
                                                       {0x8, 32}, {0x9, 64}, {0xa, 128}, {0xb, 1}};
    for (const auto& [code, divisor] : divisors) {
        timer.set_divide(code);
        timer.set_initial_count(3);
        EXPECT_EQ(timers.earliest(), clock.now + 3 * divisor * count) << code;
    }
    timer.set_divide(0x4);  // bit 2 is not part of it
    timer.set_initial_count(3);
    EXPECT_EQ(timers.earliest(), clock.now + 3 * 2 * count);
}

TEST_F(LapicTimerTest, AfterResetItDividesByTwo) {
    timer.reset();
    timer.enable_interrupt(true);
    timer.set_initial_count(1);
    EXPECT_EQ(timers.earliest(), clock.now + 2 * count);
}

TEST_F(LapicTimerTest, ANewDivisorHoldsForTheRestOfTheCount) {
    timer.set_initial_count(100);
    go_to(1'000 + 60 * count);
    timer.set_divide(0x0);
    EXPECT_EQ(timer.current_count(), 40u);
    go_to(clock.now + 20 * count);
    EXPECT_EQ(timer.current_count(), 30u);
    EXPECT_EQ(timers.earliest(), clock.now + 60 * count);
}

TEST_F(LapicTimerTest, ZeroStops) {
    timer.set_initial_count(100);
    timer.set_initial_count(0);
    EXPECT_EQ(timers.earliest(), never);
    EXPECT_EQ(timer.current_count(), 0u);
}

TEST_F(LapicTimerTest, WritingTheCountStartsAnew) {
    timer.set_initial_count(100);
    go_to(1'000 + 90 * count);
    timer.set_initial_count(50);
    EXPECT_EQ(timer.current_count(), 50u);
    go_to(1'000 + 139 * count);
    EXPECT_EQ(expiries, 0);
    go_to(1'000 + 140 * count);
    EXPECT_EQ(expiries, 1);
}

TEST_F(LapicTimerTest, ModesShareTheCount) {
    timer.set_initial_count(100);
    go_to(1'000 + 60 * count);
    timer.set_mode(Mode::periodic);
    EXPECT_EQ(timer.current_count(), 40u) << "not reset to the initial count";
    go_to(1'000 + 110 * count);
    EXPECT_EQ(expiries, 1);
    EXPECT_EQ(timer.current_count(), 90u) << "now it reloads";
    timer.set_mode(Mode::one_shot);
    EXPECT_EQ(timer.current_count(), 90u);
    go_to(1'000 + 1'000 * count);
    EXPECT_EQ(expiries, 2);
    EXPECT_EQ(timer.current_count(), 0u);
    timer.set_mode(Mode::periodic);
    EXPECT_EQ(timer.current_count(), 0u) << "what has ended does not start by itself";
    EXPECT_EQ(timers.earliest(), never);
}

TEST_F(LapicTimerTest, MaskedItCountsAndIsNotArmed) {
    timer.enable_interrupt(false);
    timer.set_mode(Mode::periodic);
    timer.set_initial_count(10);
    EXPECT_EQ(timers.earliest(), never);
    go_to(1'000 + 24 * count);
    EXPECT_EQ(timer.current_count(), 6u);
    timer.enable_interrupt(true);
    EXPECT_EQ(expiries, 0) << "what expired while it was masked is lost";
    EXPECT_EQ(timers.earliest(), 1'000 + 30 * count);
}

TEST_F(LapicTimerTest, AnExpiryThatIsDueComesBeforeWhatSoftwareDoes) {
    timer.set_initial_count(10);
    clock.now = 1'000 + 11 * count;  // an exit, and nobody has looked at the queue yet
    timer.enable_interrupt(false);
    EXPECT_EQ(expiries, 1);
    timers.expire();
    EXPECT_EQ(expiries, 1);
}

TEST_F(LapicTimerTest, DeadlineFiresOnceAndReadsZero) {
    timer.set_mode(Mode::tsc_deadline);
    timer.set_deadline(5'000);
    EXPECT_EQ(timer.deadline(), 5'000u);
    go_to(4'999);
    EXPECT_EQ(expiries, 0);
    go_to(5'000);
    EXPECT_EQ(expiries, 1);
    EXPECT_EQ(timer.deadline(), 0u);
    EXPECT_EQ(timers.earliest(), never);
}

TEST_F(LapicTimerTest, ADeadlineInThePastFiresAtOnce) {
    timer.set_mode(Mode::tsc_deadline);
    timer.set_deadline(1);
    timers.expire();
    EXPECT_EQ(expiries, 1);
    EXPECT_EQ(timer.deadline(), 0u);
}

TEST_F(LapicTimerTest, ZeroDisarmsTheDeadline) {
    timer.set_mode(Mode::tsc_deadline);
    timer.set_deadline(5'000);
    timer.set_deadline(0);
    go_to(6'000);
    EXPECT_EQ(expiries, 0);
}

TEST_F(LapicTimerTest, TheDeadlineIsOnTheGuestsTsc) {
    timer.set_mode(Mode::tsc_deadline);
    timer.set_tsc_adjust(10'000);
    timer.set_deadline(15'000);
    EXPECT_EQ(timers.earliest(), 5'000u);
    timer.set_tsc_adjust(12'000);
    EXPECT_EQ(timers.earliest(), 3'000u);
    timer.set_tsc_adjust(std::uint64_t{0} - 500);  // the guest wrote an earlier time to its TSC
    EXPECT_EQ(timers.earliest(), 15'500u);
    timer.set_tsc_adjust(20'000);
    timers.expire();
    EXPECT_EQ(expiries, 1);
}

TEST_F(LapicTimerTest, ADeadlineBeyondAllTimeIsNoTimer) {
    timer.set_mode(Mode::tsc_deadline);
    timer.set_deadline(~0ull);
    EXPECT_EQ(timers.earliest(), never);
    EXPECT_EQ(timer.deadline(), ~0ull);
}

TEST_F(LapicTimerTest, DeadlineAndCountIgnoreEachOthersRegisters) {
    timer.set_deadline(5'000);
    EXPECT_EQ(timer.deadline(), 0u);
    EXPECT_EQ(timers.earliest(), never);
    timer.set_mode(Mode::tsc_deadline);
    timer.set_initial_count(100);
    EXPECT_EQ(timer.current_count(), 0u);
    EXPECT_EQ(timers.earliest(), never);
}

TEST_F(LapicTimerTest, LeavingAndEnteringDeadlineModeDisarms) {
    timer.set_initial_count(100);
    timer.set_mode(Mode::tsc_deadline);
    EXPECT_EQ(timers.earliest(), never);
    timer.set_deadline(5'000);
    timer.set_mode(Mode::one_shot);
    EXPECT_EQ(timers.earliest(), never);
    EXPECT_EQ(timer.current_count(), 0u);
    timer.set_mode(Mode::tsc_deadline);
    EXPECT_EQ(timer.deadline(), 0u);
}

TEST_F(LapicTimerTest, ADeadlineThatPassesWhileMaskedIsGone) {
    timer.set_mode(Mode::tsc_deadline);
    timer.enable_interrupt(false);
    timer.set_deadline(5'000);
    go_to(6'000);
    EXPECT_EQ(timer.deadline(), 0u);
    timer.enable_interrupt(true);
    timers.expire();
    EXPECT_EQ(expiries, 0);
}

}  // namespace
}  // namespace bulkhead::guest
