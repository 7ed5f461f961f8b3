// SPDX-License-Identifier: Apache-2.0
#include "arch/cpu/clock.hpp"

#include "arch/cpu/instructions.hpp"

namespace bulkhead::cpu {
namespace {

std::uint64_t registered_hz;

constexpr unsigned attempts = 6;
// Reads of a port that stands still before it counts as dead: 2 s and more on hardware.
constexpr unsigned poll_limit = 2'000'000;

constexpr std::uint32_t pm_timer_interval = pm_timer_hz / 20;  // 50 ms

struct Edge {
    std::uint64_t tsc{};
    std::uint32_t count{};
};

// Waits until the timer has moved by `ticks` from `from`, then for its next change. An edge is known to a poll's
// length; a value read at any time only to a tick, or to a whole microsecond where the timer is derived from one.
std::optional<Edge> edge_after(PmTimer timer, std::uint32_t from, std::uint32_t ticks) {
    std::uint32_t last = in32(timer.port);
    for (unsigned still = 0; still < poll_limit;) {
        const std::uint32_t count = in32(timer.port);
        const std::uint64_t tsc = rdtsc();
        const bool moved = count != last;
        if (moved && pm_timer_elapsed(from, count, timer.is_32_bit) >= ticks) return Edge{tsc, count};
        still = moved ? 0 : still + 1;
        last = count;
    }
    return std::nullopt;
}

std::optional<Interval> pm_timer_measurement(PmTimer timer) {
    const auto begin = edge_after(timer, in32(timer.port), 0);
    if (!begin) return std::nullopt;
    const auto end = edge_after(timer, begin->count, pm_timer_interval);
    if (!end) return std::nullopt;
    return Interval{end->tsc - begin->tsc, pm_timer_elapsed(begin->count, end->count, timer.is_32_bit)};
}

// Port 61h (Intel 8255 heritage): bit 0 is the gate of channel 2, bit 1 the speaker, bit 5 reads the output.
constexpr std::uint16_t pit_channel_2 = 0x42, pit_control = 0x43, system_control = 0x61;
constexpr std::uint8_t gate = 0x01, speaker = 0x02, output = 0x20;
constexpr std::uint8_t channel_2_mode_0 = 0xb0;      // both bytes, interrupt on terminal count, binary
constexpr std::uint16_t pit_interval = pit_hz / 20;  // 50 ms

// In mode 0 the output rises one clock after the count that was written (Intel 8254 data sheet, mode 0).
std::optional<Interval> pit_measurement() {
    const std::uint8_t saved = in8(system_control);
    out8(system_control, static_cast<std::uint8_t>((saved & ~speaker) | gate));
    out8(pit_control, channel_2_mode_0);
    out8(pit_channel_2, pit_interval & 0xff);
    out8(pit_channel_2, pit_interval >> 8);
    const std::uint64_t begin = rdtsc();
    std::optional<Interval> interval;
    // Without a PIT the port may read as all ones: an output that is high at once is no measurement.
    for (unsigned i = 0; i < poll_limit; ++i) {
        const bool done = (in8(system_control) & output) != 0;
        if (!done) continue;
        if (i > 0) interval = Interval{rdtsc() - begin, pit_interval + 1u};
        break;
    }
    out8(system_control, saved);
    return interval;
}

// A system-management interrupt, or a hypervisor below, can steal time from one measurement: two in a row have to
// agree, and their sum is the result.
template <class Measure>
std::optional<TscFrequency> measure(Measure measurement, std::uint64_t reference_hz, ClockSource source) {
    auto previous = measurement();
    if (!previous || previous->reference == 0) return std::nullopt;
    for (unsigned i = 1; i < attempts; ++i) {
        const auto next = measurement();
        if (!next || next->reference == 0) return std::nullopt;
        if (agree(frequency(*previous, reference_hz), frequency(*next, reference_hz))) {
            const Interval both{previous->tsc + next->tsc, previous->reference + next->reference};
            return TscFrequency{frequency(both, reference_hz), source, true};
        }
        previous = next;
    }
    return TscFrequency{frequency(*previous, reference_hz), source, false};
}

}  // namespace

std::optional<TscFrequency> measure_tsc(std::optional<PmTimer> pm_timer) {
    if (pm_timer) {
        const auto by_pm_timer = [&] { return pm_timer_measurement(*pm_timer); };
        if (const auto result = measure(by_pm_timer, pm_timer_hz, ClockSource::pm_timer)) return result;
    }
    return measure(pit_measurement, pit_hz, ClockSource::pit);
}

void set_tsc_hz(std::uint64_t hz) {
    registered_hz = hz;
}
std::uint64_t tsc_hz() {
    return registered_hz;
}

void delay_us(std::uint64_t microseconds) {
    const std::uint64_t begin = rdtsc();
    const std::uint64_t ticks = registered_hz / 1000 * microseconds / 1000;
    while (rdtsc() - begin < ticks) pause();
}

}  // namespace bulkhead::cpu
