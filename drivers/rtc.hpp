// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>

namespace bulkhead::drivers {

// The time registers of an MC146818 as they were read, with status register B, which says how they are coded.
struct CmosTime {
    std::uint8_t seconds{}, minutes{}, hours{}, day{}, month{}, year{};
    std::optional<std::uint8_t> century;  // of the register that the FADT names
    std::uint8_t status_b{};

    friend constexpr bool operator==(const CmosTime&, const CmosTime&) = default;
};

// Seconds since 1970-01-01, or nothing when it is no date. Without a century, the years 70 to 99 are of the twentieth.
std::optional<std::uint64_t> seconds_since_1970(const CmosTime& time);

// Reads the host's clock, which is taken to run in UTC. `century_register` is 0 when the machine has none. Nothing when
// there is no clock, or none that holds still long enough to be read.
std::optional<std::uint64_t> read_rtc(std::uint8_t century_register);

}  // namespace bulkhead::drivers
