// SPDX-License-Identifier: Apache-2.0
// The loop of a CPU over guests that are played, from one entry to the next exit.
#include "monitor_fixture.hpp"

namespace bulkhead::monitor {
namespace {

struct Curtain {};  // the play is over

class CpuLoopTest : public MonitorTest {
  protected:
    void SetUp() override {
        MonitorTest::SetUp();
        start(one());
        start(two());
        test::guest() = [this](isa::Registers& registers, bool) {
            if (++entries == limit) throw Curtain{};
            return &registers == &two().vcpu(0).registers ? play_two() : play_one();
        };
        // An idle CPU sleeps until its timer.
        cpu_state().halt = [] {
            auto& c = cpu_state();
            if (!c.timer) throw Curtain{};
            c.tsc = std::max(c.tsc, *c.timer);
        };
    }
    void run() { EXPECT_THROW(loop->run(), Curtain); }

    vmx::EntryOutcome leave(ExitReason reason, std::uint32_t length = 1) {
        set(vmcs::exit_reason, static_cast<std::uint32_t>(reason));
        set(vmcs::exit_length, length);
        return vmx::EntryOutcome::exited;
    }
    // Computes until its time is up, or for so long.
    vmx::EntryOutcome compute(std::uint64_t& computed) {
        const std::uint64_t time = get(vmcs::preemption_timer);
        cpu_state().tsc += time;
        computed += time;
        return leave(ExitReason::PREEMPTION_TIMER_EXPIRED);
    }

    virtual vmx::EntryOutcome play_one() { return compute(computed_one); }
    virtual vmx::EntryOutcome play_two() { return compute(computed_two); }

    std::uint64_t computed_one{}, computed_two{};
    unsigned entries{}, limit{400};
};

TEST_F(CpuLoopTest, TwoGuestsShareTheCpu) {
    run();
    EXPECT_GT(computed_one, 1'000'000u);
    EXPECT_NEAR(static_cast<double>(computed_one) / static_cast<double>(computed_two), 1, 0.05);
    EXPECT_EQ(one().vcpu(0).account.guest / 1000, computed_one / 1000);
}

// One masks everything and halts, with a local APIC timer that expires with each tick of its clock.
class VainTimerTest : public CpuLoopTest {
  protected:
    vmx::EntryOutcome play_one() override {
        set_rflags(0);
        return leave(ExitReason::HLT);
    }
    void arm(std::uint32_t count) {
        guest::Lapic& lapic = one().vcpu(0).lapic;
        lapic.write(isa::apic::SVR, 4, 0x1ff);
        lapic.write(isa::apic::TIMER_DIVIDE, 4, 0xb);
        lapic.write(isa::apic::LVT_TIMER, 4, 0x2'0030);  // periodic
        lapic.write(isa::apic::TIMER_INITIAL, 4, count);
    }
};

TEST_F(VainTimerTest, TimersThatWakeNobodyLeaveTheNeighbourItsTime) {
    arm(1);
    const std::uint64_t began = cpu_state().tsc;
    run();
    const std::uint64_t elapsed = cpu_state().tsc - began;
    EXPECT_GT(computed_two, elapsed * 98 / 100) << elapsed;
    EXPECT_GT(elapsed / entries, tsc_hz / 20'000) << "ticks from one interruption to the next";
}

TEST_F(VainTimerTest, TheirCostIsTheirOwn) {
    arm(1);
    run();
    // Each look at the host's clock takes a tick here: most of those that were not the guests' were for one's timers.
    EXPECT_GT(one().vcpu(0).account.root, entries / 2);
}

// The other guest's slice is not cut by the timer of one that is runnable and waits for its turn.
class RunnableTimerTest : public VainTimerTest {
  protected:
    vmx::EntryOutcome play_one() override { return compute(computed_one); }
};

TEST_F(RunnableTimerTest, AGuestThatWaitsForItsTurnInterruptsNobody) {
    limit = 100'000;
    arm(1'000'000);  // 1 ms
    unsigned interrupted = 0;
    auto play = test::guest();
    test::guest() = [&, play](isa::Registers& registers, bool launched) {
        if (&registers == &two().vcpu(0).registers) {
            const std::uint64_t time = get(vmcs::preemption_timer);
            if (time < 1'900'000) ++interrupted;  // a slice is 2 ms at least
            if (computed_two > tsc_hz) throw Curtain{};
        }
        return play(registers, launched);
    };
    run();
    EXPECT_LE(interrupted, 2u);
}

// HLT with interrupts on: the timer's interrupt ends it, on time.
class SleeperTest : public VainTimerTest {
  protected:
    vmx::EntryOutcome play_one() override {
        if ((get(vmcs::entry_interruption) >> 31) != 0) {
            set(vmcs::entry_interruption, 0);
            late = std::max(late, cpu_state().tsc - due);
            one().vcpu(0).lapic.write(isa::apic::EOI, 4, 0);
            ++woken;
        }
        due = one().tsc_base() + one().seat(0).timers.earliest();
        set_rflags(IF);
        return leave(ExitReason::HLT);
    }
    std::uint64_t due{}, late{};
    unsigned woken{};
};

TEST_F(SleeperTest, ATimerThatWakesItsGuestIsOnTime) {
    arm(5'000'000);  // 5 ms
    run();
    EXPECT_GT(woken, 50u);
    EXPECT_LT(late, 1'000u) << "ticks of 1 ns";
}

}  // namespace
}  // namespace bulkhead::monitor
