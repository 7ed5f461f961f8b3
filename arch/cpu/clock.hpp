// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>

namespace bulkhead::cpu {

// The ACPI power management timer, as the FADT describes it (ACPI 6.4, 4.8.3.3).
struct PmTimer {
    std::uint16_t port{};
    bool is_32_bit{};  // else 24 bits count
};

enum class ClockSource : std::uint8_t { pm_timer, pit };

struct TscFrequency {
    std::uint64_t hz{};
    ClockSource source{};
    // Two measurements in a row agreed. When they never did, `hz` is the last one: the machine is not a quiet one.
    bool agreed{};
};

// Measures the time stamp counter for a tenth of a second or so against the PM timer, or when there is none or it
// stands still, against channel 2 of the PIT, which it takes over. Nothing when neither counts. The processor's own
// word, CPUID leaf 15h, is not asked: it may be absent or, under another hypervisor, wrong.
std::optional<TscFrequency> measure_tsc(std::optional<PmTimer> pm_timer);

// Registered at boot, once for all CPUs.
void set_tsc_hz(std::uint64_t hz);
std::uint64_t tsc_hz();
void delay_us(std::uint64_t microseconds);

// ---- the arithmetic, apart for its test

inline constexpr std::uint64_t pm_timer_hz = 3'579'545;
inline constexpr std::uint64_t pit_hz = 1'193'182;

struct Interval {
    std::uint64_t tsc{};
    std::uint64_t reference{};
};

constexpr std::uint32_t pm_timer_elapsed(std::uint32_t from, std::uint32_t to, bool is_32_bit) {
    return (to - from) & (is_32_bit ? 0xffff'ffffu : 0x00ff'ffffu);
}
// An interval is shorter than a second, so that the product has room: 2^33 * 2^22.
constexpr std::uint64_t frequency(Interval interval, std::uint64_t reference_hz) {
    return (interval.tsc * reference_hz + interval.reference / 2) / interval.reference;
}
// Within 1/4000.
constexpr bool agree(std::uint64_t a, std::uint64_t b) {
    return (a > b ? a - b : b - a) <= b / 4000;
}

}  // namespace bulkhead::cpu
