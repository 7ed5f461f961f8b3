// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace bulkhead::guest {

struct CivilTime {
    unsigned year{}, month{}, day{}, hour{}, minute{}, second{};
    unsigned weekday{};  // 0: Sunday
};

// Days from 1970-01-01 to a day of the Gregorian calendar. A year is counted from March, so that the day which leap
// years add is its last.
constexpr std::uint64_t days_from_civil(unsigned year, unsigned month, unsigned day) {
    const std::uint64_t y = month <= 2 ? year - 1 : year;
    const std::uint64_t month_from_march = (month + 9) % 12;
    const std::uint64_t day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    return y * 365 + y / 4 - y / 100 + y / 400 + day_of_year - 719'468;
}

constexpr std::uint64_t seconds_from_civil(const CivilTime& t) {
    return ((days_from_civil(t.year, t.month, t.day) * 24 + t.hour) * 60 + t.minute) * 60 + t.second;
}

constexpr CivilTime civil_from_seconds(std::uint64_t seconds) {
    CivilTime t;
    t.second = static_cast<unsigned>(seconds % 60);
    t.minute = static_cast<unsigned>(seconds / 60 % 60);
    t.hour = static_cast<unsigned>(seconds / 3600 % 24);
    const std::uint64_t days = seconds / 86'400;
    t.weekday = static_cast<unsigned>((days + 4) % 7);
    // Within an era of 400 years; the divisors take out the leap days that have passed.
    const std::uint64_t since_era_0 = days + 719'468;
    const std::uint64_t day_of_era = since_era_0 % 146'097;
    const std::uint64_t year_of_era =
        (day_of_era - day_of_era / 1'460 + day_of_era / 36'524 - day_of_era / 146'096) / 365;
    const std::uint64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    const std::uint64_t month_from_march = (5 * day_of_year + 2) / 153;
    t.day = static_cast<unsigned>(day_of_year - (153 * month_from_march + 2) / 5 + 1);
    t.month = static_cast<unsigned>((month_from_march + 2) % 12 + 1);
    t.year = static_cast<unsigned>(since_era_0 / 146'097 * 400 + year_of_era + (t.month <= 2 ? 1 : 0));
    return t;
}

static_assert(seconds_from_civil({2000, 2, 29, 12, 0, 0, 0}) == 951'825'600);
static_assert(civil_from_seconds(951'825'600).day == 29 && civil_from_seconds(951'825'600).weekday == 2);

}  // namespace bulkhead::guest
