// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <limits>

#include "lib/delegate.hpp"

namespace bulkhead::guest {

// Time in a guest: ticks of the invariant TSC since the guest was started. All its clocks derive from this one.
using Tick = std::uint64_t;
inline constexpr Tick never = std::numeric_limits<Tick>::max();

// `now` is set by the monitor when a VM exit reaches the model and stands still until the next one.
struct Clock {
    Tick now{};
    std::uint64_t hz{};  // of the TSC, measured at boot
};

// floor(value * to / from), exact over the whole range: 128 bits in between.
constexpr std::uint64_t scale(std::uint64_t value, std::uint64_t to, std::uint64_t from) {
    return static_cast<std::uint64_t>(static_cast<unsigned __int128>(value) * to / from);
}
constexpr std::uint64_t scale_up(std::uint64_t value, std::uint64_t to, std::uint64_t from) {
    return static_cast<std::uint64_t>((static_cast<unsigned __int128>(value) * to + from - 1) / from);
}

class Timer;

// The deadlines of a guest's devices that are served on one CPU. `earliest` is what the monitor arms the VMX preemption
// timer with; it alone may be asked while another CPU is in the model.
class TimerQueue {
  public:
    explicit TimerQueue(Clock& clock) : clock_(clock) {}

    Clock& clock() { return clock_; }
    Tick now() const { return clock_.now; }
    std::uint64_t hz() const { return clock_.hz; }
    // How often a timer was armed or disarmed: who has asked for `earliest` in between may have seen neither the old
    // answer nor the new one.
    unsigned changes() const { return changes_; }
    Tick earliest() const { return earliest_.load(std::memory_order_relaxed); }

    // Fires every timer whose deadline is at or before `clock().now`, in order of deadline.
    void expire();

  private:
    friend class Timer;
    void insert(Timer& timer);
    void remove(Timer& timer);

    Clock& clock_;
    Timer* first_{};  // of those that are armed, by deadline; of equal ones the first to be armed comes first
    std::atomic<Tick> earliest_{never};
    unsigned changes_{};
};

// One deadline of a device. It is disarmed before its callback runs; the callback may arm it again.
class Timer {
  public:
    Timer(TimerQueue& queue, Delegate<void()> fire) : queue_(queue), fire_(fire) {}
    ~Timer() { disarm(); }
    Timer(const Timer&) = delete;
    Timer& operator=(const Timer&) = delete;

    void arm(Tick deadline);
    void disarm() { arm(never); }
    bool armed() const { return deadline_ != never; }
    Tick deadline() const { return deadline_; }

  private:
    friend class TimerQueue;
    TimerQueue& queue_;
    Delegate<void()> fire_;
    Tick deadline_{never};
    Timer* next_{};  // while armed
};

}  // namespace bulkhead::guest
