// SPDX-License-Identifier: Apache-2.0
#include "monitor/console_terminal.hpp"

namespace bulkhead::monitor {

using namespace std::string_view_literals;

namespace {

constexpr std::uint8_t ESC = 0x1b;

// The modes of ECMA-48, DEC and xterm that change how the next view would look, or what the keyboard sends.
struct Mode {
    unsigned number;
    bool dec;  // CSI ? n h rather than CSI n h
    bool normally_on;
};
constexpr Mode modes[] = {
    {4, false, false},                                              // insert
    {1, true, false},                                               // application cursor keys
    {5, true, false},                                               // reverse screen
    {6, true, false},                                               // origin
    {7, true, true},                                                // autowrap
    {9, true, false},                                               // mouse reports
    {25, true, true},                                               // cursor shown
    {1000, true, false},                                            // mouse reports
    {1002, true, false}, {1003, true, false}, {1004, true, false},  // focus reports
    {1005, true, false},                                            // mouse encodings
    {1006, true, false}, {1015, true, false}, {2004, true, false},  // bracketed paste
    {47, true, false},                                              // alternate screens
    {1047, true, false}, {1049, true, false},
};

}  // namespace

void TerminalState::step(std::uint8_t byte) {
    if (byte == ESC) {
        state_ = state_ == State::string ? State::string_escape : State::escape;
        return;
    }
    if (byte == 0x18 || byte == 0x1a) {  // CAN and SUB end any sequence
        state_ = State::ground;
        return;
    }
    switch (state_) {
        case State::ground:
            return ground(byte);
        case State::escape:
            return escape(byte);
        case State::csi:
            return csi(byte);
        case State::charset:
            charset_ = charset_ || byte != 'B';
            state_ = State::ground;
            return;
        case State::string:
            if (byte == '\a') state_ = State::ground;
            return;
        case State::string_escape:
            state_ = byte == '\\' ? State::ground : State::escape;
            if (state_ == State::escape) escape(byte);
            return;
    }
}

void TerminalState::ground(std::uint8_t byte) {
    if (byte == '\r') column_zero_ = true;
    if (byte == '\n') line_empty_ = true;
    if (byte == '\t') column_zero_ = line_empty_ = false;
    if (byte == 0x0e) charset_ = true;
}

void TerminalState::escape(std::uint8_t byte) {
    state_ = State::ground;
    switch (byte) {
        case '[':
            state_ = State::csi;
            prefix_ = 0;
            parameter_ = 0;
            parameters_.fill(0);
            return;
        case ']':
        case 'P':
        case 'X':
        case '^':
        case '_':
            state_ = State::string;
            return;
        case '(':
        case ')':
        case '*':
        case '+':
            state_ = State::charset;
            return;
        case '=':
            keypad_ = true;
            return;
        case '>':
            keypad_ = false;
            return;
        case 'c':
            *this = TerminalState{};
            return;
        default:
            return;
    }
}

void TerminalState::csi(std::uint8_t byte) {
    if (byte >= '0' && byte <= '9') {
        if (parameter_ < parameters_.size() && parameters_[parameter_] < 6000)
            parameters_[parameter_] = static_cast<std::uint16_t>(parameters_[parameter_] * 10 + (byte - '0'));
    } else if (byte == ';') {
        ++parameter_;
    } else if (byte >= 0x40 && byte <= 0x7e) {
        finish_csi(byte);
        state_ = State::ground;
    } else if (byte >= 0x20) {
        prefix_ = static_cast<char>(byte);
    }
}

void TerminalState::finish_csi(std::uint8_t byte) {
    if (byte != 'm' && byte != 'h' && byte != 'l') column_zero_ = line_empty_ = false;  // the cursor may have moved
    if (byte == 'h' || byte == 'l') {
        for (std::size_t i = 0; i <= parameter_ && i < parameters_.size(); ++i) set_mode(parameters_[i], byte == 'h');
    } else if (byte == 'r' && prefix_ == 0) {
        margins_ = parameters_[0] != 0 || parameters_[1] != 0;
    }
}

void TerminalState::set_mode(unsigned number, bool on) {
    const bool dec = prefix_ == '?';
    if (!dec && prefix_ != 0) return;
    std::uint32_t bit = 1;
    for (const Mode& mode : modes) {
        if (mode.number == number && mode.dec == dec)
            changed_ = on == mode.normally_on ? changed_ & ~bit : changed_ | bit;
        bit <<= 1;
    }
}

void TerminalState::restore(TextSink& sink) {
    // The sink may be one that is observed.
    const TerminalState before = *this;
    *this = TerminalState{};
    before.undo(sink);
}

void TerminalState::undo(TextSink& sink) const {
    if (state_ != State::ground) sink.write("\033\\");  // ESC ends a control sequence, the string terminator a string
    std::uint32_t bit = 1;
    for (const Mode& mode : modes) {
        if (changed_ & bit)
            print(sink, "\033[{}{}{}", mode.dec ? "?"sv : ""sv, mode.number, mode.normally_on ? 'h' : 'l');
        bit <<= 1;
    }
    if (margins_) sink.write("\033[r\033[999;1H");  // full margins put the cursor at the top
    if (charset_) sink.write("\017\033(B");
    if (keypad_) sink.write("\033>");
    sink.write("\033[0m");
    if (!at_line_start()) sink.write("\n");
}

}  // namespace bulkhead::monitor
