// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <limits>
#include <optional>

namespace bulkhead::guest {

// One counter of an 8254, as a function of time: nothing has to happen between two calls. Time is in periods of its
// clock input and never goes back.
class PitChannel {
  public:
    using Clock = std::uint64_t;
    static constexpr Clock no_clock = std::numeric_limits<Clock>::max();

    explicit PitChannel(bool gate) : gate_(gate) {}

    void write_control(Clock now, std::uint8_t control);
    void write(Clock now, std::uint8_t value);
    std::uint8_t read(Clock now);
    void latch_count(Clock now);
    void latch_status(Clock now);

    bool gate() const { return gate_; }
    void set_gate(Clock now, bool gate);
    bool output(Clock now);
    // The first clock after `now` with a rise of OUT, if nobody does anything.
    Clock next_rise(Clock now);
    // The same, of those that are not before `earliest`, as long as OUT only repeats itself: a rise that a new count or
    // the end of a single count brings comes when it comes.
    Clock next_rise(Clock now, Clock earliest);

  private:
    // Bits 5:4 of the control word.
    enum class Access : std::uint8_t { low = 1, high = 2, both = 3 };

    bool hardware_triggered() const { return mode_ == 1 || mode_ == 5; }
    bool periodic() const { return mode_ == 2 || mode_ == 3; }
    std::uint32_t modulus() const { return bcd_ ? 10'000 : 0x1'0000; }
    std::uint32_t decode(std::uint16_t written) const;
    std::uint16_t encode(std::uint64_t count) const;

    void settle(Clock now);
    void set_count(Clock now, std::uint16_t written);
    Clock end_of_cycle(Clock now) const;
    void stop(Clock now);
    void load(Clock at);
    std::uint64_t elapsed(Clock now) const { return held_ ? *held_ : now - *origin_; }
    std::uint16_t count_at(Clock now) const;
    bool output_at(Clock now) const;

    std::uint8_t control_{};  // as the status byte shows it
    std::uint8_t mode_{};
    bool bcd_{};
    Access access_{Access::both};
    bool gate_;

    // The count register, and whether (and when, if that is known) the counting element takes it over.
    std::uint32_t count_register_{0x1'0000};
    bool null_count_{true};
    bool armed_{};  // a count was written since the control word: a trigger has something to start
    Clock load_at_{no_clock};
    bool load_low_half_{};    // of the square wave
    bool load_ends_cycle_{};  // the load waits for the end of a cycle, and so for the gate

    // The counting element had `initial_` at `origin_` and counts from there. A gate that holds it has done so when
    // this much had been counted. Without origin it stands still.
    std::uint32_t initial_{0x1'0000};
    std::optional<Clock> origin_;
    std::optional<std::uint64_t> held_;
    std::uint16_t standing_{};

    std::optional<std::uint8_t> low_written_;
    std::optional<std::uint16_t> latched_count_;
    std::optional<std::uint8_t> latched_status_;
    bool read_high_next_{};
};

}  // namespace bulkhead::guest
