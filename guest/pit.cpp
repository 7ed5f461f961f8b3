// SPDX-License-Identifier: Apache-2.0
#include "guest/pit.hpp"

namespace bulkhead::guest {
namespace {

// DRAM refresh toggles bit 4 of port 61h every 18 periods (15.085 us).
constexpr std::uint64_t refresh_periods = 18;

std::uint16_t to_bcd(std::uint32_t value) {
    return static_cast<std::uint16_t>(value % 10 | value / 10 % 10 << 4 | value / 100 % 10 << 8 |
                                      value / 1000 % 10 << 12);
}

std::uint32_t from_bcd(std::uint32_t raw) {
    return (raw & 0xf) + (raw >> 4 & 0xf) * 10 + (raw >> 8 & 0xf) * 100 + (raw >> 12 & 0xf) * 1000;
}

}  // namespace

// ---- one channel

bool Pit::Channel::counting() const {
    if (!loaded) return false;
    return mode == 1 || mode == 5 ? triggered : gate;
}

std::uint64_t Pit::Channel::elapsed(std::uint64_t now) const {
    return counting() ? held + (now - start) : held;
}

std::uint16_t Pit::Channel::value(std::uint64_t now) const {
    if (!loaded) return 0;
    const std::uint64_t gone = elapsed(now);
    const std::uint32_t modulus = bcd ? 10'000 : 0x1'0000;
    std::uint64_t left;
    if (mode == 2) {
        left = count - gone % count;
    } else if (mode == 3) {
        // Counts down by two, twice in each period.
        const std::uint64_t high = (count + 1) / 2, at = gone % count;
        const std::uint64_t in_half = at < high ? at : at - high;
        left = (count & ~1u) - 2 * in_half;
    } else {
        // Past zero the count goes round.
        left = count + modulus - gone % modulus;
    }
    left %= modulus;
    return bcd ? to_bcd(static_cast<std::uint32_t>(left)) : static_cast<std::uint16_t>(left);
}

bool Pit::Channel::out(std::uint64_t now) const {
    if (!loaded) return mode != 0;
    const std::uint64_t gone = elapsed(now);
    switch (mode) {
        case 0: return gone >= count;
        case 1: return !triggered || gone >= count;
        case 2: return !gate || gone % count != count - 1;
        case 3: return !gate || gone % count < (count + 1) / 2;
        default: return !counting() || gone != count;  // 4 and 5: low for one period
    }
}

std::uint8_t Pit::Channel::status(std::uint64_t now) const {
    return static_cast<std::uint8_t>(static_cast<unsigned>(out(now)) << 7 | static_cast<unsigned>(!loaded) << 6 |
                                     access << 4 | mode << 1 | static_cast<unsigned>(bcd));
}

std::optional<std::uint64_t> Pit::Channel::next_rise(std::uint64_t now) const {
    if (!counting()) return std::nullopt;
    const std::uint64_t gone = elapsed(now);
    std::uint64_t at;
    if (mode == 2 || mode == 3)
        at = (gone / count + 1) * count;
    else if (const std::uint64_t once = mode >= 4 ? count + 1u : count; gone < once)
        at = once;
    else
        return std::nullopt;
    return now + (at - gone);
}

void Pit::Channel::set_mode(std::uint8_t control) {
    const bool level = gate;
    *this = Channel{};
    gate = level;
    access = control >> 4 & 3;
    mode = control >> 1 & 7;
    if (mode > 5) mode &= 3;  // 6 and 7 are 2 and 3
    bcd = (control & 1) != 0;
}

// A new count takes effect at once. The hardware lets modes 2 and 3 end their period first, which shows only to
// software that changes the rate while it runs.
void Pit::Channel::load(std::uint32_t raw, std::uint64_t now) {
    const std::uint32_t written = bcd ? from_bcd(raw) : raw;
    count = written != 0 ? written : bcd ? 10'000u : 0x1'0000u;
    const bool first = !loaded;
    loaded = true;
    if ((mode == 1 || mode == 5) && !first) return;  // the next trigger uses it
    start = now;
    held = 0;
}

void Pit::Channel::set_gate(bool level, std::uint64_t now) {
    if (level == gate) return;
    const std::uint64_t gone = elapsed(now);
    gate = level;
    if (mode == 0 || mode == 4) {  // stops and goes on
        held = gone;
        start = now;
    } else if (level) {  // starts over
        triggered = true;
        held = 0;
        start = now;
    }
}

// ---- the three of them

Pit::Pit(TimerQueue& timers) : timers_(timers), timer_(timers, Delegate<void()>::to<&Pit::rise>(this)) {
    channels_[2].gate = false;
}

void Pit::arm() {
    if (const auto at = channels_[0].next_rise(now()))
        timer_.arm(scale_up(*at, timers_.hz(), hz));
    else
        timer_.disarm();
}

// Rises that went by while the guest did not run are one.
void Pit::rise() {
    irq0_.set(false);
    irq0_.set(true);
    arm();
}

void Pit::write_control(std::uint8_t value) {
    const unsigned select = value >> 6;
    if (select == 3) {  // read-back
        for (unsigned n = 0; n < 3; ++n) {
            if ((value >> (n + 1) & 1) == 0) continue;
            Channel& c = channels_[n];
            if ((value & 0x20) == 0 && !c.latched_count) c.latched_count = c.value(now());
            if ((value & 0x10) == 0 && !c.latched_status) c.latched_status = c.status(now());
        }
        return;
    }
    Channel& channel = channels_[select];
    if ((value >> 4 & 3) == 0) {  // counter latch
        if (!channel.latched_count) channel.latched_count = channel.value(now());
        return;
    }
    channel.set_mode(value);
    if (select == 0) {
        irq0_.set(channel.mode != 0);
        arm();
    }
}

void Pit::write_channel(unsigned n, std::uint8_t value) {
    Channel& channel = channels_[n];
    switch (channel.access) {
        case 1: channel.load(value, now()); break;
        case 2: channel.load(static_cast<std::uint32_t>(value) << 8, now()); break;
        default:
            channel.write_high = !channel.write_high;
            if (channel.write_high) {
                channel.low_byte = value;
                if (channel.mode == 0) channel.loaded = false;  // the first byte stops the counting
                return;
            }
            channel.load(static_cast<std::uint32_t>(value) << 8 | channel.low_byte, now());
    }
    if (n != 0) return;
    if (channel.mode == 0) irq0_.set(false);
    arm();
}

std::uint8_t Pit::read_channel(Channel& channel) {
    if (channel.latched_status) {
        const std::uint8_t status = *channel.latched_status;
        channel.latched_status.reset();
        return status;
    }
    const std::uint16_t count = channel.latched_count.value_or(channel.value(now()));
    bool high = channel.access == 2;
    bool last = true;
    if (channel.access == 3) {
        high = channel.read_high;
        last = high;
        channel.read_high = !channel.read_high;
    }
    if (last) channel.latched_count.reset();
    return static_cast<std::uint8_t>(high ? count >> 8 : count);
}

std::uint8_t Pit::read_port_61() const {
    const std::uint64_t t = now();
    return static_cast<std::uint8_t>(static_cast<unsigned>(channels_[2].gate) | static_cast<unsigned>(speaker_) << 1 |
                                     (t / refresh_periods & 1) << 4 |
                                     static_cast<unsigned>(channels_[2].out(t)) << 5);
}

std::uint8_t Pit::read(std::uint16_t port) {
    if (port == 0x61) return read_port_61();
    if (port == 0x43) return 0xff;  // the control word cannot be read
    return read_channel(channels_[port & 3]);
}

void Pit::write(std::uint16_t port, std::uint8_t value) {
    if (port == 0x61) {
        channels_[2].set_gate((value & 1) != 0, now());
        speaker_ = (value & 2) != 0;
    } else if (port == 0x43) {
        write_control(value);
    } else {
        write_channel(port & 3, value);
    }
}

std::uint32_t Pit::in(std::uint16_t port, unsigned size) {
    return bytewise_in(port, size, [&](std::uint16_t p) { return read(p); });
}

void Pit::out(std::uint16_t port, unsigned size, std::uint32_t value) {
    bytewise_out(port, size, value, [&](std::uint16_t p, std::uint8_t byte) { write(p, byte); });
}

}  // namespace bulkhead::guest
