// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

// Interrupt vectors of the host.
namespace bulkhead::monitor::vector {

inline constexpr std::uint8_t uart = 0x40;
inline constexpr std::uint8_t timer = 0xf0;
inline constexpr std::uint8_t kick = 0xf1;
inline constexpr std::uint8_t apic_error = 0xfe;
inline constexpr std::uint8_t spurious = 0xff;

}  // namespace bulkhead::monitor::vector
