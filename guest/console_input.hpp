// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>

#include "guest/clock.hpp"
#include "guest/console.hpp"
#include "lib/ring.hpp"

namespace bulkhead::guest {

class I8042;
class Uart;

// Between the console and a machine that has a serial port and a keyboard, when one person types at both. What is typed
// goes to the serial port. What the guest leaves unread there, with the port's receive interrupt off, is typed at the
// keyboard instead, for programs that know no other: among them those that wait in INT 16h, where Debian's sgabios
// looks at the serial port no more than once a call. What it does not take from there either goes back to the serial
// port, so that nothing is lost on the way. A guest that reads now and then has a second for it, one that took its last
// key from the keyboard a tenth. A guest that is busy writing has more time: one that draws a menu at the pace of its
// line looks at what was typed when it is done.
class ConsoleInput final : public SerialPeer {
  public:
    ConsoleInput(TimerQueue& timers, SerialPeer& console);
    // Before anything is typed.
    void connect(Uart& uart, I8042& controller);

    bool put(std::uint8_t byte) override {
        wrote_ = true;
        return console_.put(byte);
    }
    // The serial port asks, after each byte that the guest has read from it too.
    std::optional<std::uint8_t> get() override;

    // The keyboard asks for the next character to type.
    std::optional<std::uint8_t> next_key();
    // More may be there for the keyboard.
    void input_available();

  private:
    // A BIOS keeps 15 keys for a program that is busy: who types faster than it reads loses some.
    static constexpr std::uint64_t keys_per_second = 50;
    static constexpr unsigned tenths_for_reader = 10, tenths_for_typist = 1, most_tenths_for_writer = 20;

    void begin_wait();
    void extend_wait();
    void lose_patience();
    void type_at_keyboard();
    void stop_typing();
    void return_to_serial();
    void next_is_due();
    std::optional<std::uint8_t> next_character();

    TimerQueue& timers_;
    SerialPeer& console_;
    Uart* uart_{};
    I8042* controller_{};
    Timer patience_, pace_;
    std::optional<std::uint8_t> offered_;  // typed at the keyboard, and not yet read from there
    std::optional<std::uint8_t> refused_;  // was never read there
    Ring<std::uint8_t, 16> withdrawn_;     // from the serial port, after that one
    Tick writer_waits_until_{};
    bool wrote_{};             // since the last extension
    bool typing_{};            // at the keyboard
    bool keyboard_is_read_{};  // the last key was
};

}  // namespace bulkhead::guest
