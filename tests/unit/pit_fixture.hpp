// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "guest/pit.hpp"

namespace bulkhead::guest {
namespace {

// Time is in clocks of the 8254: the TSC runs at a multiple of it, so that every clock has its tick.
class PitFixture : public testing::Test {
  protected:
    static constexpr std::uint64_t ticks_per_clock = 1'000;

    PitFixture() { pit.irq().connect(Delegate<void(bool)>::to<&PitFixture::irq>(this)); }

  public:
    void irq(bool level) { rises += level ? 1 : 0; }

  protected:
    void go_to(std::uint64_t c) {
        clock.now = c * ticks_per_clock;
        timers.expire();
    }
    void pass(std::uint64_t clocks) { go_to(clock.now / ticks_per_clock + clocks); }
    void out(int port, unsigned value) { pit.out(static_cast<std::uint16_t>(port), 1, value); }
    unsigned in(int port) { return pit.in(static_cast<std::uint16_t>(port), 1) & 0xff; }
    // Access mode both, binary.
    void program(unsigned channel, unsigned mode, unsigned count, unsigned bcd = 0) {
        out(0x43, channel << 6 | 0x30 | mode << 1 | bcd);
        write_count(channel, count);
    }
    void write_count(unsigned channel, unsigned count) {
        out(0x40 + static_cast<int>(channel), count & 0xff);
        out(0x40 + static_cast<int>(channel), count >> 8 & 0xff);
    }
    unsigned count(unsigned channel) {
        out(0x43, channel << 6);
        const unsigned low = in(0x40 + static_cast<int>(channel));
        return low | in(0x40 + static_cast<int>(channel)) << 8;
    }
    unsigned status(unsigned channel) {
        out(0x43, 0xe0 | 2u << channel);
        return in(0x40 + static_cast<int>(channel));
    }
    void gate2(bool level) { out(0x61, level ? 1 : 0); }
    bool out2() { return (in(0x61) & 0x20) != 0; }
    // OUT of channel 2 in this clock and the following ones.
    std::string wave(unsigned clocks) {
        std::string levels;
        for (unsigned i = 0; i < clocks; ++i, pass(1)) levels += out2() ? '-' : '_';
        return levels;
    }
    std::string counts(unsigned channel, unsigned clocks) {
        std::string values;
        for (unsigned i = 0; i < clocks; ++i, pass(1)) values += std::to_string(count(channel)) + " ";
        return values;
    }

    int rises = 0;
    Clock clock{.now = 0, .hz = Pit::hz * ticks_per_clock};
    TimerQueue timers{clock};
    Pit pit{timers};
};

}  // namespace
}  // namespace bulkhead::guest
