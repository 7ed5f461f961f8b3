// SPDX-License-Identifier: Apache-2.0
#include "drivers/rtc.hpp"

#include "arch/cpu/instructions.hpp"

namespace bulkhead::drivers {
namespace {

constexpr std::uint16_t index_port = 0x70, data_port = 0x71;
constexpr std::uint8_t register_a = 0x0a, register_b = 0x0b;
constexpr std::uint8_t update_in_progress = 0x80;                 // register A
constexpr std::uint8_t mode_binary = 0x04, mode_24_hours = 0x02;  // register B
constexpr std::uint8_t hours_pm = 0x80;

// An update lasts 2 ms at most; a port access takes about 1 us on hardware.
constexpr unsigned poll_limit = 100'000;

// Bit 7 of the index port masks NMIs; it stays clear.
std::uint8_t read_cmos(std::uint8_t reg) {
    cpu::out8(index_port, reg);
    return cpu::in8(data_port);
}

CmosTime read_once(std::uint8_t century_register) {
    CmosTime time{.seconds = read_cmos(0),
                  .minutes = read_cmos(2),
                  .hours = read_cmos(4),
                  .day = read_cmos(7),
                  .month = read_cmos(8),
                  .year = read_cmos(9),
                  .century = std::nullopt,
                  .status_b = read_cmos(register_b)};
    if (century_register != 0) time.century = read_cmos(century_register);
    return time;
}

std::optional<unsigned> decode(std::uint8_t value, bool binary) {
    if (binary) return value;
    if ((value & 0xf) > 9 || value >> 4 > 9) return std::nullopt;
    return (value >> 4) * 10u + (value & 0xfu);
}

// 12 AM is midnight, 12 PM is noon.
std::optional<unsigned> decode_hours(std::uint8_t value, std::uint8_t status_b) {
    const bool binary = (status_b & mode_binary) != 0;
    if ((status_b & mode_24_hours) != 0) return decode(value, binary);
    const auto hour = decode(static_cast<std::uint8_t>(value & ~hours_pm), binary);
    if (!hour || *hour < 1 || *hour > 12) return std::nullopt;
    return *hour % 12 + ((value & hours_pm) != 0 ? 12u : 0u);
}

constexpr bool is_leap(unsigned year) {
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

constexpr unsigned days_in(unsigned month, unsigned year) {
    if (month == 2) return is_leap(year) ? 29 : 28;
    return month == 4 || month == 6 || month == 9 || month == 11 ? 30 : 31;
}

}  // namespace

std::optional<std::uint64_t> seconds_since_1970(const CmosTime& time) {
    const bool binary = (time.status_b & mode_binary) != 0;
    const auto seconds = decode(time.seconds, binary), minutes = decode(time.minutes, binary);
    const auto hours = decode_hours(time.hours, time.status_b);
    const auto day = decode(time.day, binary), month = decode(time.month, binary), year = decode(time.year, binary);
    if (!seconds || !minutes || !hours || !day || !month || !year) return std::nullopt;
    if (*seconds > 59 || *minutes > 59 || *hours > 23 || *year > 99) return std::nullopt;

    // A century register that does not make sense is one that is not there.
    const auto century = time.century ? decode(*time.century, binary) : std::nullopt;
    const unsigned full_year = *year + (century && *century >= 19 && *century <= 29 ? *century * 100
                                        : *year >= 70                               ? 1900
                                                                                    : 2000);
    if (full_year < 1970 || *month < 1 || *month > 12) return std::nullopt;
    if (*day < 1 || *day > days_in(*month, full_year)) return std::nullopt;

    std::uint64_t days = *day - 1;
    for (unsigned y = 1970; y < full_year; ++y) days += is_leap(y) ? 366 : 365;
    for (unsigned m = 1; m < *month; ++m) days += days_in(m, full_year);
    return ((days * 24 + *hours) * 60 + *minutes) * 60 + *seconds;
}

// The registers are stable while no update is in progress; one may begin in the middle, so that only two equal
// readings count.
std::optional<std::uint64_t> read_rtc(std::uint8_t century_register) {
    std::optional<CmosTime> previous;
    for (unsigned i = 0; i < poll_limit; ++i) {
        if ((read_cmos(register_a) & update_in_progress) != 0) continue;
        const CmosTime time = read_once(century_register);
        if (previous == time) return seconds_since_1970(time);
        previous = time;
    }
    return std::nullopt;
}

}  // namespace bulkhead::drivers
