// SPDX-License-Identifier: Apache-2.0
#include "guest/key_codes.hpp"

namespace bulkhead::guest {
namespace {

struct Row {
    std::uint8_t set2, set1;
    char plain{}, shifted{};
};

// IBM PS/2 Technical Reference, Keyboards.
constexpr Row rows[] = {
    {0x76, 0x01, 0x1b},      {0x16, 0x02, '1', '!'}, {0x1e, 0x03, '2', '@'},  {0x26, 0x04, '3', '#'},
    {0x25, 0x05, '4', '$'},  {0x2e, 0x06, '5', '%'}, {0x36, 0x07, '6', '^'},  {0x3d, 0x08, '7', '&'},
    {0x3e, 0x09, '8', '*'},  {0x46, 0x0a, '9', '('}, {0x45, 0x0b, '0', ')'},  {0x4e, 0x0c, '-', '_'},
    {0x55, 0x0d, '=', '+'},  {0x66, 0x0e, '\b'},     {0x0d, 0x0f, '\t'},      {0x15, 0x10, 'q', 'Q'},
    {0x1d, 0x11, 'w', 'W'},  {0x24, 0x12, 'e', 'E'}, {0x2d, 0x13, 'r', 'R'},  {0x2c, 0x14, 't', 'T'},
    {0x35, 0x15, 'y', 'Y'},  {0x3c, 0x16, 'u', 'U'}, {0x43, 0x17, 'i', 'I'},  {0x44, 0x18, 'o', 'O'},
    {0x4d, 0x19, 'p', 'P'},  {0x54, 0x1a, '[', '{'}, {0x5b, 0x1b, ']', '}'},  {0x5a, 0x1c, '\r'},
    {0x14, 0x1d},            {0x1c, 0x1e, 'a', 'A'}, {0x1b, 0x1f, 's', 'S'},  {0x23, 0x20, 'd', 'D'},
    {0x2b, 0x21, 'f', 'F'},  {0x34, 0x22, 'g', 'G'}, {0x33, 0x23, 'h', 'H'},  {0x3b, 0x24, 'j', 'J'},
    {0x42, 0x25, 'k', 'K'},  {0x4b, 0x26, 'l', 'L'}, {0x4c, 0x27, ';', ':'},  {0x52, 0x28, '\'', '"'},
    {0x0e, 0x29, '`', '~'},  {0x12, 0x2a},           {0x5d, 0x2b, '\\', '|'}, {0x1a, 0x2c, 'z', 'Z'},
    {0x22, 0x2d, 'x', 'X'},  {0x21, 0x2e, 'c', 'C'}, {0x2a, 0x2f, 'v', 'V'},  {0x32, 0x30, 'b', 'B'},
    {0x31, 0x31, 'n', 'N'},  {0x3a, 0x32, 'm', 'M'}, {0x41, 0x33, ',', '<'},  {0x49, 0x34, '.', '>'},
    {0x4a, 0x35, '/', '?'},  {0x29, 0x39, ' '},
    // What a keyboard answers: its identity's second byte, and the number of its scan code set.
    {0x83, 0x41},            {0x01, 0x43},           {0x02, 0x41},            {0x03, 0x3f},
};

constexpr std::uint8_t last_control = 0x1a, delete_character = 0x7f;
constexpr std::uint8_t letter_of_control = 0x60;

}  // namespace

// A terminal's Backspace is Delete; a line's end is Enter.
std::optional<KeyStroke> stroke_of(std::uint8_t character) {
    if (character == delete_character) character = '\b';
    if (character == '\n') character = '\r';
    if (character == 0) return std::nullopt;
    for (const Row& row : rows) {
        const KeyCode key{row.set1, row.set2};
        if (character == static_cast<std::uint8_t>(row.plain)) return KeyStroke{.key = key};
        if (character == static_cast<std::uint8_t>(row.shifted)) return KeyStroke{.key = key, .shift = true};
    }
    if (character > last_control) return std::nullopt;
    auto stroke = stroke_of(static_cast<std::uint8_t>(character + letter_of_control));
    if (stroke) stroke->control = true;
    return stroke;
}

std::uint8_t translate_scan_code(std::uint8_t set2) {
    for (const Row& row : rows)
        if (row.set2 == set2) return row.set1;
    return set2;
}

}  // namespace bulkhead::guest
