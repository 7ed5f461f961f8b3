#pragma once
#include <cstdint>
#include "guest/clock.hpp"
namespace bulkhead::guest {
class LapicTimer {
  public:
    enum class Mode : std::uint8_t { one_shot = 0, periodic = 1, tsc_deadline = 2, reserved = 3 };
    LapicTimer(TimerQueue& timers, std::uint64_t crystal_hz, Delegate<void()> expired);
    void reset();
    void set_mode(Mode mode);
    std::uint32_t initial_count() const { return initial_; }
    void set_initial_count(std::uint32_t count);
    std::uint32_t current_count() const;
    std::uint32_t divide() const { return divide_; }
    void set_divide(std::uint32_t value);
    std::uint64_t deadline() const { return deadline_; }
    void set_deadline(std::uint64_t tsc);
    void set_tsc_adjust(std::uint64_t adjust);
  private:
    void fire();
    void arm_deadline();
    unsigned divisor() const;
    Tick ticks_for(std::uint64_t counts) const { return scale_up(counts * divisor(), timers_.hz(), crystal_hz_); }
    TimerQueue& timers_;
    const std::uint64_t crystal_hz_;
    const Delegate<void()> expired_;
    Timer timer_;
    Mode mode_{Mode::one_shot};
    std::uint32_t initial_{};
    std::uint32_t divide_{};
    Tick start_{};
    std::uint64_t deadline_{};
    std::uint64_t adjust_{};
};
}
