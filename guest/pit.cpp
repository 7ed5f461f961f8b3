// SPDX-License-Identifier: Apache-2.0
#include "guest/pit.hpp"

namespace bulkhead::guest {
namespace {

constexpr std::uint16_t control_port = 0x43, system_control_port = 0x61;

// Port 61h.
constexpr std::uint8_t speaker_gate = 1u << 0, refresh_toggle = 1u << 4, speaker_output = 1u << 5;
constexpr std::uint8_t system_control_writable = 0x0f;
// A PC's memory is refreshed every 18 clocks, about 15 us.
constexpr std::uint64_t refresh_clocks = 18;
// 20 us, or 50 kHz. Interrupts that follow each other faster are one, in the phase of the count: an 8259A or an I/O
// APIC remembers one edge, and a PC that has to end each interrupt by an access to its 8 MHz bus does not keep up with
// more. Each one costs the hypervisor a timer.
constexpr PitChannel::Clock shortest_interval = 24;

}  // namespace

Pit::Pit(TimerQueue& timers) : timers_(timers), timer_(timers, Delegate<void()>::to<&Pit::catch_up>(this)) {}

// Without a control word the counters stand still, OUT low.
void Pit::reset() {
    channels_ = {PitChannel{true}, PitChannel{true}, PitChannel{false}};
    system_control_ = 0;
    programmed();
}

void Pit::watch(bool watched) {
    if (watched == watched_) return;
    watched_ = watched;
    catch_up();
}

void Pit::catch_up() {
    const PitChannel::Clock now = clock();
    if (next_rise_ <= now && watched_) {
        next_rise_ = channels_[0].next_rise(now, now + shortest_interval);
        rearm();
        irq_.set(false);
        irq_.set(true);
        return;
    }
    rearm();
}

void Pit::rearm() {
    const bool due = watched_ && next_rise_ != PitChannel::no_clock;
    timer_.arm(due ? scale_up(next_rise_, timers_.hz(), hz) : never);
}

// Channel 0 was: what it did before is over and done with.
void Pit::programmed() {
    const PitChannel::Clock now = clock();
    irq_.set(channels_[0].output(now));
    next_rise_ = channels_[0].next_rise(now);
    rearm();
}

std::uint8_t Pit::read(std::uint16_t port) {
    if (port == system_control_port) return read_system_control();
    if (port == control_port) return 0xff;  // the data bus floats
    return channels_[port & 3u].read(clock());
}

void Pit::write(std::uint16_t port, std::uint8_t value) {
    if (port == system_control_port) {
        system_control_ = value & system_control_writable;
        channels_[2].set_gate(clock(), (value & speaker_gate) != 0);
        return;
    }
    if (port == control_port) {
        write_control(value);
        return;
    }
    const unsigned channel = port & 3u;
    if (channel == 0) catch_up();
    channels_[channel].write(clock(), value);
    if (channel == 0) programmed();
}

void Pit::write_control(std::uint8_t value) {
    const PitChannel::Clock now = clock();
    const unsigned select = value >> 6;
    if (select == 3) {  // read-back
        for (unsigned i = 0; i < channels_.size(); ++i) {
            if ((value & 2u << i) == 0) continue;
            if ((value & 0x20) == 0) channels_[i].latch_count(now);
            if ((value & 0x10) == 0) channels_[i].latch_status(now);
        }
        return;
    }
    if ((value & 0x30) == 0) {
        channels_[select].latch_count(now);
        return;
    }
    if (select == 0) catch_up();
    channels_[select].write_control(now, value);
    if (select == 0) programmed();
}

std::uint8_t Pit::read_system_control() {
    const PitChannel::Clock now = clock();
    std::uint8_t value = system_control_;
    if ((now / refresh_clocks & 1) != 0) value |= refresh_toggle;
    if (channels_[2].output(now)) value |= speaker_output;
    return value;
}

std::uint32_t Pit::in(std::uint16_t port, unsigned size) {
    // Port 61h is not followed by another of this device.
    if (port == system_control_port) return read_system_control() | 0xffff'ff00;
    return bytewise_in(port, size,
                       [this](std::uint16_t p) { return p <= control_port ? read(p) : std::uint8_t{0xff}; });
}

void Pit::out(std::uint16_t port, unsigned size, std::uint32_t value) {
    if (port == system_control_port) size = 1;
    bytewise_out(port, size, value, [this](std::uint16_t p, std::uint8_t v) {
        if (p <= control_port || p == system_control_port) write(p, v);
    });
}

}  // namespace bulkhead::guest
