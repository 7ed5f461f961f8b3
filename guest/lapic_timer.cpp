#include "guest/lapic_timer.hpp"
namespace bulkhead::guest {
LapicTimer::LapicTimer(TimerQueue& timers, std::uint64_t crystal_hz, Delegate<void()> expired)
    : timers_(timers), crystal_hz_(crystal_hz), expired_(expired), timer_(timers, Delegate<void()>::to<&LapicTimer::fire>(this)) {}
void LapicTimer::reset() { timer_.disarm(); mode_ = Mode::one_shot; initial_ = 0; divide_ = 0; deadline_ = 0; }
unsigned LapicTimer::divisor() const { const unsigned code = (divide_ & 3) | (divide_ >> 1 & 4); return 1u << ((code + 1) & 7); }
void LapicTimer::set_mode(Mode mode) {
    if (mode == mode_) return;
    const bool was = mode_ == Mode::tsc_deadline, is = mode == Mode::tsc_deadline;
    mode_ = mode;
    if (was == is) return;
    timer_.disarm(); initial_ = 0; deadline_ = 0;
}
void LapicTimer::set_initial_count(std::uint32_t count) {
    if (mode_ == Mode::tsc_deadline) return;
    initial_ = count; start_ = timers_.now();
    if (count == 0) timer_.disarm(); else timer_.arm(start_ + ticks_for(count));
}
std::uint32_t LapicTimer::current_count() const {
    if (mode_ == Mode::tsc_deadline || initial_ == 0 || !timer_.armed()) return 0;
    const std::uint64_t gone = scale(timers_.now() - start_, crystal_hz_, timers_.hz()) / divisor();
    if (gone < initial_) return initial_ - static_cast<std::uint32_t>(gone);
    return mode_ == Mode::periodic ? initial_ - static_cast<std::uint32_t>(gone % initial_) : 0;
}
void LapicTimer::set_divide(std::uint32_t value) {
    const std::uint32_t left = current_count();
    divide_ = value & 0xb;
    if (left == 0) return;
    timer_.arm(timers_.now() + ticks_for(left));
    start_ = timers_.now() - ticks_for(initial_ - left);
}
void LapicTimer::set_deadline(std::uint64_t tsc) { if (mode_ != Mode::tsc_deadline) return; deadline_ = tsc; arm_deadline(); }
void LapicTimer::set_tsc_adjust(std::uint64_t adjust) { adjust_ = adjust; if (mode_ == Mode::tsc_deadline) arm_deadline(); }
void LapicTimer::arm_deadline() {
    if (deadline_ == 0) { timer_.disarm(); return; }
    const std::uint64_t tsc = timers_.now() + adjust_;
    timer_.arm(deadline_ <= tsc ? timers_.now() : timers_.now() + (deadline_ - tsc));
}
void LapicTimer::fire() {
    if (mode_ == Mode::tsc_deadline) deadline_ = 0;
    else if (mode_ == Mode::periodic) {
        const Tick period = ticks_for(initial_); const Tick late = timers_.now() - start_;
        start_ += late / period * period; timer_.arm(start_ + period);
    }
    expired_();
}
}
