// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>

#include "guest/bus.hpp"
#include "guest/clock.hpp"
#include "guest/line.hpp"
#include "guest/pit_channel.hpp"

namespace bulkhead::guest {

// The 8254 of a PC at ports 40h to 43h, with the part of port 61h that belongs to its channel 2.
class Pit final : public PortDevice {
  public:
    static constexpr std::uint64_t hz = 1'193'182;

    explicit Pit(TimerQueue& timers);

    // OUT of channel 0. Only its rises are on time: what falls by itself falls right before it rises again, so that a
    // guest that did not run in between finds its interrupt.
    InterruptLine& irq() { return irq_; }
    // Whether anybody would see a rise. Those that nobody saw become one.
    void watch(bool watched);

    void reset();

    std::uint32_t in(std::uint16_t port, unsigned size) override;
    void out(std::uint16_t port, unsigned size, std::uint32_t value) override;

  private:
    std::uint8_t read(std::uint16_t port);
    void write(std::uint16_t port, std::uint8_t value);
    void write_control(std::uint8_t value);
    std::uint8_t read_system_control();
    PitChannel::Clock clock() const { return scale(timers_.now(), hz, timers_.hz()); }
    void programmed();
    void catch_up();
    void rearm();

    TimerQueue& timers_;
    std::array<PitChannel, 3> channels_{PitChannel{true}, PitChannel{true}, PitChannel{false}};
    std::uint8_t system_control_{};  // port 61h bits 3:0
    bool watched_{true};
    PitChannel::Clock next_rise_{PitChannel::no_clock};
    InterruptLine irq_;
    Timer timer_;
};

}  // namespace bulkhead::guest
