// SPDX-License-Identifier: Apache-2.0
#include "guest/pit_channel.hpp"

// After Intel's 8254 data sheet (order 231164): the modes' definitions and their figures 15 to 20.
namespace bulkhead::guest {
namespace {

// The half of the square wave with OUT high is the longer one of an odd count.
constexpr std::uint64_t high_half(std::uint64_t count) { return (count + 1) / 2; }

}  // namespace

std::uint32_t PitChannel::decode(std::uint16_t written) const {
    std::uint32_t count = written;
    if (bcd_) count = (written >> 12) * 1000u + (written >> 8 & 15) * 100u + (written >> 4 & 15) * 10u + (written & 15);
    return count == 0 ? modulus() : count;
}

std::uint16_t PitChannel::encode(std::uint64_t count) const {
    const auto n = static_cast<std::uint32_t>(count % modulus());
    if (!bcd_) return static_cast<std::uint16_t>(n);
    return static_cast<std::uint16_t>(n / 1000 << 12 | n / 100 % 10 << 8 | n / 10 % 10 << 4 | n % 10);
}

// ---- the counting element

// Takes the count register over if its clock has come.
void PitChannel::settle(Clock now) {
    if (load_at_ > now) return;
    initial_ = count_register_;
    origin_ = load_low_half_ ? load_at_ - high_half(initial_) : load_at_;
    held_.reset();
    if (!gate_ && !hardware_triggered()) held_ = 0;
    null_count_ = false;
    load(no_clock);
}

void PitChannel::stop(Clock now) {
    standing_ = count_at(now);
    origin_.reset();
    held_.reset();
    load(no_clock);
}

void PitChannel::load(Clock at) {
    load_at_ = at;
    load_low_half_ = load_ends_cycle_ = false;
}

std::uint16_t PitChannel::count_at(Clock now) const {
    if (!origin_) return standing_;
    const std::uint64_t gone = elapsed(now);
    if (mode_ == 2) return encode(initial_ - gone % initial_);
    if (mode_ == 3) {
        // It counts by two, each half of the wave from the start, an odd count from the number below.
        const std::uint64_t phase = gone % initial_, high = high_half(initial_);
        return encode((initial_ & ~1u) - 2 * (phase < high ? phase : phase - high));
    }
    return encode(initial_ + modulus() - gone % modulus());
}

// A gate that stops a periodic count sets OUT high until the next one is loaded.
bool PitChannel::output_at(Clock now) const {
    if (!origin_) return mode_ != 0;
    const std::uint64_t gone = elapsed(now);
    switch (mode_) {
        case 0: return gone >= initial_;
        case 1: return gone >= initial_;
        case 2: return held_ || gone % initial_ != initial_ - 1;
        case 3: return held_ || gone % initial_ < high_half(initial_);
        default: return gone != initial_;
    }
}

bool PitChannel::output(Clock now) {
    settle(now);
    return output_at(now);
}

// When a new count of a periodic mode is taken over: at the end of the period, or of the half of a square wave.
PitChannel::Clock PitChannel::end_of_cycle(Clock now) const {
    const std::uint64_t phase = elapsed(now) % initial_;
    if (mode_ == 3 && phase < high_half(initial_)) return now + high_half(initial_) - phase;
    return now + initial_ - phase;
}

// A periodic count of 1 is illegal: here OUT has no edges then.
PitChannel::Clock PitChannel::next_rise(Clock now) {
    settle(now);
    if (load_at_ != no_clock) {
        switch (mode_) {
            case 2:
            case 3:
                if (count_register_ == 1) return mode_ == 3 && origin_ && !load_low_half_ ? load_at_ : no_clock;
                if (load_low_half_) return load_at_ + count_register_ / 2;
                return origin_ ? load_at_ : load_at_ + count_register_;
            case 4:
            case 5: return load_at_ + count_register_ + 1;
            default: return load_at_ + count_register_;
        }
    }
    if (!origin_ || held_) return no_clock;
    const std::uint64_t gone = now - *origin_;
    switch (mode_) {
        case 2:
        case 3: return initial_ == 1 ? no_clock : now + initial_ - gone % initial_;
        case 4:
        case 5: return gone <= initial_ ? *origin_ + initial_ + 1 : no_clock;
        default: return gone < initial_ ? *origin_ + initial_ : no_clock;
    }
}

PitChannel::Clock PitChannel::next_rise(Clock now, Clock earliest) {
    const Clock rise = next_rise(now);
    if (rise >= earliest || !periodic() || load_at_ != no_clock) return rise;
    return rise + (earliest - rise + initial_ - 1) / initial_ * initial_;
}

void PitChannel::set_gate(Clock now, bool gate) {
    settle(now);
    if (gate == gate_) return;
    gate_ = gate;
    if (!gate) {
        if (origin_ && !hardware_triggered()) held_ = elapsed(now);
        // The cycle does not end any more: the new count waits for the trigger (figures 17 and 18).
        if (load_ends_cycle_) load(no_clock);
        return;
    }
    if (mode_ == 0 || mode_ == 4) {
        if (origin_ && held_) origin_ = now - *held_;
        held_.reset();
        return;
    }
    // A trigger. It starts a count that was written, or the same one again.
    if (!armed_) return;
    load(now + 1);
}

// ---- programming

void PitChannel::write_control(Clock now, std::uint8_t control) {
    settle(now);
    stop(now);
    control_ = control & 0x3f;
    access_ = static_cast<Access>(control >> 4 & 3);
    const unsigned mode = control >> 1 & 7;
    mode_ = static_cast<std::uint8_t>(mode > 5 ? mode - 4 : mode);
    bcd_ = (control & 1) != 0;
    null_count_ = true;
    armed_ = false;
    low_written_.reset();
    latched_count_.reset();
    latched_status_.reset();
    read_high_next_ = false;
}

void PitChannel::write(Clock now, std::uint8_t value) {
    settle(now);
    switch (access_) {
        case Access::low: set_count(now, value); return;
        case Access::high: set_count(now, static_cast<std::uint16_t>(value << 8)); return;
        case Access::both: break;
    }
    if (low_written_) {
        const unsigned low = *low_written_;
        low_written_.reset();
        set_count(now, static_cast<std::uint16_t>(value << 8 | low));
        return;
    }
    low_written_ = value;
    if (mode_ == 0) stop(now);  // the first byte of two stops it, with OUT low
}

void PitChannel::set_count(Clock now, std::uint16_t written) {
    count_register_ = decode(written);
    null_count_ = true;
    armed_ = true;
    if (hardware_triggered()) return;
    if (!periodic() || !origin_) {
        if (mode_ == 0) stop(now);
        load(now + 1);
    } else if (!held_ && load_at_ == no_clock) {
        load(end_of_cycle(now));
        load_ends_cycle_ = true;
        load_low_half_ = mode_ == 3 && elapsed(now) % initial_ < high_half(initial_);
    }
}

void PitChannel::latch_count(Clock now) {
    settle(now);
    if (!latched_count_) latched_count_ = count_at(now);
}

void PitChannel::latch_status(Clock now) {
    settle(now);
    if (latched_status_) return;
    latched_status_ = static_cast<std::uint8_t>((output_at(now) ? 0x80 : 0) | (null_count_ ? 0x40 : 0) | control_);
}

std::uint8_t PitChannel::read(Clock now) {
    settle(now);
    if (latched_status_) {
        const std::uint8_t status = *latched_status_;
        latched_status_.reset();
        return status;
    }
    const std::uint16_t count = latched_count_ ? *latched_count_ : count_at(now);
    const bool high = access_ == Access::high || (access_ == Access::both && read_high_next_);
    if (access_ == Access::both) read_high_next_ = !read_high_next_;
    if (high || access_ == Access::low) latched_count_.reset();
    return static_cast<std::uint8_t>(high ? count >> 8 : count);
}

}  // namespace bulkhead::guest
