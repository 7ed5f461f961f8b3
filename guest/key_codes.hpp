// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>

namespace bulkhead::guest {

// A key of the US keyboard, by its codes when it is pressed.
struct KeyCode {
    std::uint8_t set1{}, set2{};
};

inline constexpr KeyCode left_shift{0x2a, 0x12}, left_control{0x1d, 0x14};

// How a character is typed.
struct KeyStroke {
    KeyCode key;
    bool shift{}, control{};
};

// Nothing where the keyboard has no key for it.
std::optional<KeyStroke> stroke_of(std::uint8_t character);

// The set 1 code that a keyboard controller makes of one of set 2; what is no key's stays as it is.
std::uint8_t translate_scan_code(std::uint8_t set2);

}  // namespace bulkhead::guest
