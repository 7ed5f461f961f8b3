// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "guest/bus.hpp"
#include "guest/clock.hpp"
#include "guest/line.hpp"

namespace bulkhead::guest {

// The 8254 interval timer at ports 40h-43h and the bits of port 61h that go with it (Intel 8254 data sheet). Counts are
// computed from the clock when somebody looks; a timer runs for channel 0 alone, whose output is IRQ 0. The gates of
// channels 0 and 1 are tied high, that of channel 2 is bit 0 of port 61h.
class Pit final : public PortDevice {
  public:
    static constexpr std::uint64_t hz = 1'193'182;

    explicit Pit(TimerQueue& timers);

    InterruptLine& irq0() { return irq0_; }

    std::uint32_t in(std::uint16_t port, unsigned size) override;
    void out(std::uint16_t port, unsigned size, std::uint32_t value) override;

  private:
    // Times are in periods of the 8254's own clock.
    struct Channel {
        std::uint8_t mode{}, access{3};
        bool bcd{};
        std::uint32_t count{};  // the initial count, 1 to 65536 (10000 in BCD)
        bool loaded{};          // a count was written since the mode was set
        bool gate{true};
        bool triggered{};       // modes 1 and 5: a rising gate started them
        std::uint64_t start{};  // when the counting element was loaded
        std::uint64_t held{};   // what had elapsed when the gate stopped it
        std::uint8_t low_byte{};
        bool write_high{}, read_high{};
        std::optional<std::uint16_t> latched_count;
        std::optional<std::uint8_t> latched_status;

        bool counting() const;
        std::uint64_t elapsed(std::uint64_t now) const;
        std::uint16_t value(std::uint64_t now) const;
        bool out(std::uint64_t now) const;
        std::uint8_t status(std::uint64_t now) const;
        // The next time after `now` at which OUT rises.
        std::optional<std::uint64_t> next_rise(std::uint64_t now) const;
        void set_mode(std::uint8_t control);
        void load(std::uint32_t raw, std::uint64_t now);
        void set_gate(bool level, std::uint64_t now);
    };

    std::uint64_t now() const { return scale(timers_.now(), hz, timers_.hz()); }
    std::uint8_t read(std::uint16_t port);
    void write(std::uint16_t port, std::uint8_t value);
    std::uint8_t read_channel(Channel& channel);
    void write_channel(unsigned n, std::uint8_t value);
    void write_control(std::uint8_t value);
    std::uint8_t read_port_61() const;
    void rise();
    void arm();

    TimerQueue& timers_;
    std::array<Channel, 3> channels_{};
    bool speaker_{};
    InterruptLine irq0_;
    Timer timer_;
};

}  // namespace bulkhead::guest
