// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "guest/clock.hpp"

namespace bulkhead::guest {

// The timer of a local APIC (SDM volume 3, 10.5.4). Counts are computed when they are read; a deadline is armed only
// while its interrupt is wanted.
class LapicTimer {
  public:
    // Bits 18:17 of the LVT timer register.
    enum class Mode : std::uint8_t { one_shot = 0, periodic = 1, tsc_deadline = 2, reserved = 3 };

    // `expired` is called for each expiry while the interrupt is enabled; those of a time when the guest did not run
    // are one.
    LapicTimer(TimerQueue& timers, std::uint64_t crystal_hz, Delegate<void()> expired);

    void reset();
    void set_mode(Mode mode);
    Mode mode() const { return mode_; }
    // Whether an expiry would be seen: the LVT entry is not masked.
    void enable_interrupt(bool enabled);

    void set_initial_count(std::uint32_t count);
    std::uint32_t initial_count() const { return initial_; }
    std::uint32_t current_count();
    void set_divide(std::uint32_t configuration);  // the divide configuration register

    // IA32_TSC_DEADLINE: 0 when disarmed.
    void set_deadline(std::uint64_t tsc);
    std::uint64_t deadline();
    // What IA32_TSC_ADJUST and writes of the TSC added to the guest's TSC.
    void set_tsc_adjust(std::uint64_t adjust);

  private:
    bool counts() const { return mode_ == Mode::one_shot || mode_ == Mode::periodic; }
    std::uint64_t tsc() const { return timers_.now() + tsc_adjust_; }
    std::uint64_t counted() const;
    Tick next_expiry() const;
    void settle();
    void start(std::uint64_t count);
    void rearm();
    void fire();

    TimerQueue& timers_;
    const std::uint64_t crystal_hz_;
    Delegate<void()> expired_;
    Mode mode_{};
    bool interrupt_enabled_{};
    unsigned divisor_{2};
    std::uint32_t initial_{};
    // The current count was `count_` at `origin_`; it stands still when `running_` is false.
    bool running_{};
    Tick origin_{};
    std::uint64_t count_{};
    std::uint64_t deadline_{};
    std::uint64_t tsc_adjust_{};
    Timer timer_;
};

}  // namespace bulkhead::guest
