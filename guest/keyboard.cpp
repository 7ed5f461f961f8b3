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
constexpr std::uint8_t last_scan_set = 3, longest_led_mask = 0x07, highest_rate = 0x7f;

}  // namespace

std::optional<std::uint8_t> Keyboard::send() {
    const auto value = output_.pop();
    if (value) last_sent_ = *value;
    return value;
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
        case DISABLE: scan_set_ = 2; return;
        default:
            if (command >= first_of_one_key) awaiting_ = first_of_key_types;
            return;
    }
}

void Keyboard::take_parameter(std::uint8_t command, std::uint8_t value) {
    const bool good = command == SET_LEDS ? value <= longest_led_mask
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
