// SPDX-License-Identifier: Apache-2.0
#include "guest/keyboard.hpp"

namespace bulkhead::guest {
namespace {

enum Command : std::uint8_t {
    SET_LEDS = 0xed,
    ECHO = 0xee,
    SCAN_SET = 0xf0,
    IDENTIFY = 0xf2,
    SET_RATE = 0xf3,
    ENABLE = 0xf4,
    DISABLE = 0xf5,
    SET_DEFAULTS = 0xf6,
    RESEND = 0xfe,
    RESET = 0xff,
};
// F7h to FDh say which keys repeat and make; three of them name a key each.
constexpr std::uint8_t first_of_key_types = 0xf7, first_of_one_key = 0xfb;

constexpr std::uint8_t acknowledge = 0xfa, please_resend = 0xfe, self_test_passed = 0xaa;
constexpr std::uint8_t id_first = 0xab, id_second = 0x83;
constexpr std::uint8_t last_scan_set = 2, all_leds = 0x07, highest_rate = 0x7f;
constexpr std::uint8_t set2_break = 0xf0, set1_break = 0x80;

}  // namespace

std::optional<std::uint8_t> Keyboard::send() {
    while (output_.empty() && scanning_ && typist_) {
        const auto character = typist_();
        if (!character) break;
        if (const auto stroke = stroke_of(*character)) type(*stroke);
    }
    const auto value = output_.pop();
    if (value) last_sent_ = *value;
    return value;
}

void Keyboard::press(KeyCode key) { reply(scan_set_ == 1 ? key.set1 : key.set2); }

void Keyboard::release(KeyCode key) {
    if (scan_set_ == 1) return reply(key.set1 | set1_break);
    reply(set2_break);
    reply(key.set2);
}

void Keyboard::type(const KeyStroke& stroke) {
    const KeyCode modifier = stroke.control ? left_control : left_shift;
    const bool modified = stroke.control || stroke.shift;
    if (modified) press(modifier);
    press(stroke.key);
    release(stroke.key);
    if (modified) release(modifier);
}

// A command while a parameter is awaited takes its place.
void Keyboard::receive(std::uint8_t value) {
    const std::uint8_t command = awaiting_;
    awaiting_ = 0;
    if (command != 0 && value < SET_LEDS) return take_parameter(command, value);
    obey(value);
}

void Keyboard::obey(std::uint8_t command) {
    if (command < SET_LEDS || command == 0xef || command == 0xf1) return reply(please_resend);
    if (command == ECHO || command == RESEND) return reply(command == ECHO ? command : last_sent_);
    reply(acknowledge);
    switch (command) {
        case SET_LEDS:
        case SCAN_SET:
        case SET_RATE: awaiting_ = command; return;
        case IDENTIFY: reply(id_first); return reply(id_second);
        case RESET: reply(self_test_passed); [[fallthrough]];
        case SET_DEFAULTS:
        case DISABLE:
            scan_set_ = 2;
            scanning_ = command != DISABLE;
            return;
        case ENABLE: scanning_ = true; return;
        default:
            if (command >= first_of_one_key) awaiting_ = first_of_key_types;
            return;
    }
}

void Keyboard::take_parameter(std::uint8_t command, std::uint8_t value) {
    const bool good = command == SET_LEDS ? value <= all_leds
        : command == SCAN_SET             ? value <= last_scan_set
        : command == SET_RATE             ? value <= highest_rate
                                          : true;
    if (!good) {
        awaiting_ = command;
        return reply(please_resend);
    }
    reply(acknowledge);
    if (command != SCAN_SET) return;
    if (value == 0)
        reply(scan_set_);
    else
        scan_set_ = value;
}

}  // namespace bulkhead::guest
