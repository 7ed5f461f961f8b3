// SPDX-License-Identifier: Apache-2.0
#include "guest/lapic_timer.hpp"

namespace bulkhead::guest {

LapicTimer::LapicTimer(TimerQueue& timers, std::uint64_t crystal_hz, Delegate<void()> expired)
    : timers_(timers),
      crystal_hz_(crystal_hz),
      expired_(expired),
      timer_(timers, Delegate<void()>::to<&LapicTimer::fire>(this)) {}

void LapicTimer::reset() {
    mode_ = Mode::one_shot;
    interrupt_enabled_ = false;
    divisor_ = 2;
    initial_ = 0;
    running_ = false;
    count_ = 0;
    deadline_ = 0;
    timer_.disarm();
}

// Since `origin_`.
std::uint64_t LapicTimer::counted() const {
    return scale(timers_.now() - origin_, crystal_hz_, timers_.hz() * divisor_);
}

void LapicTimer::start(std::uint64_t count) {
    origin_ = timers_.now();
    count_ = count;
    running_ = count != 0;
}

// Brings the state up to now, before anything looks at it or changes it. An expiry that is due comes first: on hardware
// it was before. A one-shot count that has reached 0 stays there, whatever mode follows.
void LapicTimer::settle() {
    if (timer_.deadline() <= timers_.now()) {
        timer_.disarm();
        fire();
    }
    if (mode_ == Mode::tsc_deadline) {
        if (deadline_ != 0 && tsc() >= deadline_) deadline_ = 0;
        return;
    }
    if (!running_ || !counts()) return;
    if (mode_ == Mode::one_shot && counted() >= count_) {
        running_ = false;
        count_ = 0;
    }
}

std::uint32_t LapicTimer::current_count() {
    settle();
    if (!counts() || !running_) return 0;
    const std::uint64_t gone = counted();
    if (gone < count_) return static_cast<std::uint32_t>(count_ - gone);
    // Only a periodic count gets here. It goes on from the initial count each time it reaches 0.
    return static_cast<std::uint32_t>(initial_ - (gone - count_) % initial_);
}

Tick LapicTimer::next_expiry() const {
    if (mode_ == Mode::tsc_deadline) {
        if (deadline_ == 0) return never;
        const std::uint64_t left = deadline_ > tsc() ? deadline_ - tsc() : 0;
        return left < never - timers_.now() ? timers_.now() + left : never;
    }
    if (!running_ || !counts()) return never;
    const std::uint64_t gone = counted();
    std::uint64_t target = count_;
    if (gone >= count_) target += initial_ * ((gone - count_) / initial_ + 1);
    return origin_ + scale_up(target, timers_.hz() * divisor_, crystal_hz_);
}

void LapicTimer::rearm() { timer_.arm(interrupt_enabled_ ? next_expiry() : never); }

void LapicTimer::fire() {
    settle();
    rearm();
    expired_();
}

void LapicTimer::set_mode(Mode mode) {
    if (mode == mode_) return;
    if (const std::uint32_t left = current_count(); running_) start(left);
    // "A write to the LVT Timer Register that changes the timer mode disarms the local APIC timer" (10.5.4.1) is about
    // the deadline; between one-shot and periodic the count goes on.
    const bool deadline_before = mode_ == Mode::tsc_deadline;
    mode_ = mode;
    if (deadline_before || !counts()) {
        deadline_ = 0;
        running_ = false;
        count_ = 0;
    }
    rearm();
}

void LapicTimer::enable_interrupt(bool enabled) {
    if (enabled == interrupt_enabled_) return;
    settle();
    interrupt_enabled_ = enabled;
    rearm();
}

void LapicTimer::set_initial_count(std::uint32_t count) {
    if (mode_ == Mode::tsc_deadline) return;  // ignored (10.5.4.1)
    settle();
    initial_ = count;
    start(count);
    rearm();
}

// Bits 3, 1 and 0 are the binary logarithm of the divisor, less one; 111b divides by 1 (figure 10-10).
void LapicTimer::set_divide(std::uint32_t configuration) {
    const unsigned code = (configuration & 3) | (configuration >> 1 & 4);
    const unsigned divisor = code == 7 ? 1 : 2u << code;
    if (divisor == divisor_) return;
    const std::uint32_t left = current_count();
    divisor_ = divisor;
    if (running_) start(left);
    rearm();
}

void LapicTimer::set_deadline(std::uint64_t tsc) {
    if (mode_ != Mode::tsc_deadline) return;  // ignored (10.5.4.1)
    settle();
    deadline_ = tsc;
    rearm();
}

std::uint64_t LapicTimer::deadline() {
    if (mode_ != Mode::tsc_deadline) return 0;
    settle();
    return deadline_;
}

void LapicTimer::set_tsc_adjust(std::uint64_t adjust) {
    settle();
    tsc_adjust_ = adjust;
    if (mode_ == Mode::tsc_deadline) rearm();
}

}  // namespace bulkhead::guest
