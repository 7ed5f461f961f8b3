// SPDX-License-Identifier: Apache-2.0
// A keyboard at the controller, and what the console types at it (IBM PS/2 Technical Reference, Keyboards).
#include "guest/keyboard.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <string>
#include <vector>

#include "guest/console_input.hpp"
#include "guest/i8042.hpp"
#include "guest/uart.hpp"

namespace bulkhead::guest {
namespace {

using Bytes = std::vector<unsigned>;

class KeyboardTest : public testing::Test {
  protected:
    Bytes sent() {
        Bytes bytes;
        while (const auto byte = keyboard.send()) bytes.push_back(*byte);
        return bytes;
    }
    Bytes command(std::initializer_list<std::uint8_t> values) {
        for (const std::uint8_t value : values) keyboard.receive(value);
        return sent();
    }
    std::optional<std::uint8_t> typed() {
        if (text.empty()) return std::nullopt;
        const auto c = static_cast<std::uint8_t>(text[0]);
        text.erase(0, 1);
        return c;
    }
    Bytes type(const std::string& what) {
        text = what;
        return sent();
    }
    KeyboardTest() { keyboard.set_typist(Keyboard::Typist::to<&KeyboardTest::typed>(this)); }

    std::string text;
    Keyboard keyboard;
};

TEST_F(KeyboardTest, Commands) {
    EXPECT_EQ(command({0xff}), (Bytes{0xfa, 0xaa})) << "reset: acknowledged, self-test passed";
    EXPECT_EQ(command({0xf2}), (Bytes{0xfa, 0xab, 0x83})) << "an MF2 keyboard";
    EXPECT_EQ(command({0xee}), (Bytes{0xee}));
    EXPECT_EQ(command({0xed, 0x07}), (Bytes{0xfa, 0xfa}));
    EXPECT_EQ(command({0xf3, 0x20}), (Bytes{0xfa, 0xfa}));
    EXPECT_EQ(command({0xf6}), (Bytes{0xfa}));
    EXPECT_EQ(command({0x55}), (Bytes{0xfe})) << "no command";
    EXPECT_EQ(command({0xfe}), (Bytes{0xfe})) << "the last byte once more";
}

TEST_F(KeyboardTest, ABadParameterIsAskedForAgain) {
    EXPECT_EQ(command({0xed, 0x08}), (Bytes{0xfa, 0xfe}));
    EXPECT_EQ(command({0x01}), (Bytes{0xfa}));
    EXPECT_EQ(command({0xed, 0xf4}), (Bytes{0xfa, 0xfa})) << "a command in place of the parameter";
    EXPECT_EQ(command({0x00}), (Bytes{0xfe})) << "is no parameter any more";
}

TEST_F(KeyboardTest, ScanCodeSets) {
    EXPECT_EQ(command({0xf0, 0x00}), (Bytes{0xfa, 0xfa, 0x02}));
    EXPECT_EQ(type("a"), (Bytes{0x1c, 0xf0, 0x1c}));
    EXPECT_EQ(command({0xf0, 0x01}), (Bytes{0xfa, 0xfa}));
    EXPECT_EQ(type("a"), (Bytes{0x1e, 0x9e}));
    EXPECT_EQ(command({0xf6, 0xf0, 0x00}), (Bytes{0xfa, 0xfa, 0xfa, 0x02})) << "the default again";
}

TEST_F(KeyboardTest, ModifiersAreHeld) {
    EXPECT_EQ(type("A"), (Bytes{0x12, 0x1c, 0xf0, 0x1c, 0xf0, 0x12}));
    EXPECT_EQ(type("\x03"), (Bytes{0x14, 0x21, 0xf0, 0x21, 0xf0, 0x14})) << "Ctrl-C";
    EXPECT_EQ(type("\r\n\x7f"), (Bytes{0x5a, 0xf0, 0x5a, 0x5a, 0xf0, 0x5a, 0x66, 0xf0, 0x66}));
    EXPECT_EQ(type("\xe9!"), (Bytes{0x12, 0x16, 0xf0, 0x16, 0xf0, 0x12})) << "what has no key is not typed";
}

TEST_F(KeyboardTest, EveryPrintableCharacterHasAKeyOfItsOwn) {
    std::vector<std::pair<unsigned, bool>> seen;
    for (int c = ' '; c < 0x7f; ++c) {
        const auto stroke = stroke_of(static_cast<std::uint8_t>(c));
        ASSERT_TRUE(stroke) << static_cast<char>(c);
        EXPECT_FALSE(stroke->control);
        const std::pair<unsigned, bool> place{stroke->key.set1, stroke->shift};
        EXPECT_EQ(std::ranges::find(seen, place), seen.end()) << static_cast<char>(c);
        EXPECT_EQ(translate_scan_code(stroke->key.set2), stroke->key.set1);
        seen.push_back(place);
    }
}

TEST_F(KeyboardTest, IsSilentWhileItIsDisabled) {
    command({0xf5});
    EXPECT_EQ(type("a"), Bytes{});
    EXPECT_EQ(command({0xf4}), (Bytes{0xfa, 0x1c, 0xf0, 0x1c}));
}

// ---- with the controller, the serial port and the console

class Console final : public SerialPeer {
  public:
    bool put(std::uint8_t) override { return true; }
    std::optional<std::uint8_t> get() override {
        if (typed.empty()) return std::nullopt;
        const auto c = static_cast<std::uint8_t>(typed.front());
        typed.pop_front();
        return c;
    }
    std::deque<char> typed;
};

class ConsoleInputTest : public testing::Test {
  protected:
    ConsoleInputTest() {
        input.connect(uart, controller);
        keyboard.set_typist(Keyboard::Typist::to<&ConsoleInput::next_key>(&input));
        uart.out(0x3fb, 1, 3);  // 8 bits
        uart.out(0x3fa, 1, 1);
        command(0x60, 0x45);  // interrupt on, translated, keyboard on
    }
    void nothing() {}
    void command(std::uint8_t value, int parameter = -1) {
        controller.out(0x64, 1, value);
        if (parameter >= 0) controller.out(0x60, 1, static_cast<std::uint32_t>(parameter));
    }
    void type(std::string_view text) {
        console.typed.insert(console.typed.end(), text.begin(), text.end());
        uart.input_available();
        input.input_available();
    }
    void pass_ms(unsigned ms) {
        for (; ms != 0; --ms) {
            clock.now += clock.hz / 1000;
            timers.expire();
        }
    }
    bool key_waits() { return (controller.in(0x64, 1) & 1) != 0; }
    // What a keyboard driver reads in so many milliseconds.
    Bytes keys(unsigned ms) {
        Bytes bytes;
        for (; ms != 0; --ms) {
            while (key_waits()) {
                EXPECT_TRUE(controller.irq().level());
                bytes.push_back(controller.in(0x60, 1));
            }
            pass_ms(1);
        }
        return bytes;
    }
    bool serial_waits() { return (uart.in(0x3fd, 1) & 1) != 0; }
    std::string serial() {
        std::string text;
        while (serial_waits()) text += static_cast<char>(uart.in(0x3f8, 1));
        return text;
    }

    void become_keyboard_reader() {
        type(" ");
        pass_ms(1001);
        EXPECT_EQ(keys(200).size(), 2u);
    }

    Clock clock{.now = 0, .hz = 1'000'000};
    TimerQueue timers{clock};
    Console console;
    Keyboard keyboard;
    ConsoleInput input{timers, console};
    Uart uart{timers, input, 0x3f8, Uart::Pacing::instant};
    I8042 controller{Delegate<void()>::to<&ConsoleInputTest::nothing>(this), &keyboard};
};

TEST_F(ConsoleInputTest, ReaderOfTheSerialPortGetsAll) {
    type("a line that is longer than the FIFO");
    EXPECT_EQ(serial(), "a line that is longer than the FIFO");
    EXPECT_EQ(keys(500), Bytes{});
}

TEST_F(ConsoleInputTest, OneThatLooksNowAndThenToo) {
    type("abc");
    for (const char c : {'a', 'b', 'c'}) {
        pass_ms(900);
        ASSERT_TRUE(serial_waits());
        EXPECT_EQ(uart.in(0x3f8, 1), static_cast<std::uint32_t>(c));
    }
    EXPECT_EQ(keys(2000), Bytes{});
}

TEST_F(ConsoleInputTest, WhatNobodyReadsThereIsTypedAtTheKeyboard) {
    type("aB");
    pass_ms(999);
    EXPECT_FALSE(key_waits());
    pass_ms(2);
    EXPECT_EQ(keys(100), (Bytes{0x1e, 0x9e, 0x2a, 0x30, 0xb0, 0xaa})) << "in set 1, as the controller translates it";
    EXPECT_FALSE(serial_waits());
}

TEST_F(ConsoleInputTest, WhoReadsTheKeyboardWaitsLess) {
    become_keyboard_reader();
    type("a");
    pass_ms(99);
    EXPECT_FALSE(key_waits());
    pass_ms(2);
    EXPECT_EQ(keys(20), (Bytes{0x1e, 0x9e}));
}

TEST_F(ConsoleInputTest, AGuestThatWritesHasMoreTime) {
    const auto write_for = [&](unsigned ms) {
        for (unsigned past = 0; past < ms; past += 50) {
            uart.out(0x3f8, 1, '.');
            pass_ms(50);
        }
    };
    become_keyboard_reader();
    type("a");
    write_for(1000);
    EXPECT_EQ(serial(), "a");
    type("b");
    write_for(1000);
    EXPECT_FALSE(key_waits());
    pass_ms(110);
    EXPECT_EQ(keys(20), (Bytes{0x30, 0xb0})) << "it has stopped writing";
    type("c");
    write_for(2100);
    EXPECT_EQ(keys(20), (Bytes{0x2e, 0xae})) << "one that never stops gets its keys, too";
}

TEST_F(ConsoleInputTest, KeysComeInOrderAndNoFasterThan50ASecond) {
    const std::string text = "the quick brown fox jumps over the lazy dog";
    type(text.substr(0, 20));
    pass_ms(1001);
    Bytes all = keys(50);
    EXPECT_EQ(all.size(), 6u) << "three keys in 50 ms";
    type(text.substr(20));
    EXPECT_FALSE(serial_waits()) << "nothing overtakes those that are being typed";
    const Bytes rest = keys(1500);
    all.insert(all.end(), rest.begin(), rest.end());
    ASSERT_EQ(all.size(), 2 * text.size());
    for (std::size_t i = 0; i < text.size(); ++i)
        EXPECT_EQ(all[2 * i], stroke_of(static_cast<std::uint8_t>(text[i]))->key.set1) << i;
}

TEST_F(ConsoleInputTest, NotWithTheReceiveInterruptOn) {
    uart.out(0x3fc, 1, 8);  // OUT2
    uart.out(0x3f9, 1, 1);
    type("a");
    pass_ms(3000);
    EXPECT_FALSE(key_waits());
    EXPECT_EQ(serial(), "a");
}

// Small kernels leave OUT2 off, so that the interrupt that they wait for never comes: they have the keyboard.
TEST_F(ConsoleInputTest, AnInterruptThatCannotComeIsNone) {
    uart.out(0x3fc, 1, 0);
    uart.out(0x3f9, 1, 1);
    type("a");
    pass_ms(1001);
    EXPECT_EQ(keys(20), (Bytes{0x1e, 0x9e}));
}

TEST_F(ConsoleInputTest, AGuestThatReadsNeitherLosesNothing) {
    type("longer than the serial port's FIFO");
    pass_ms(1500);
    EXPECT_TRUE(key_waits());
    EXPECT_FALSE(serial_waits()) << "nothing comes twice";
    pass_ms(1000);
    EXPECT_EQ(timers.earliest(), never) << "nobody waits for anything";
    type(" and more");
    EXPECT_EQ(serial(), "longer than the serial port's FIFO and more");
}

TEST_F(ConsoleInputTest, WhatWasTakenFromTheKeyboardDoesNotComeAgain) {
    type("abc");
    pass_ms(1001);
    EXPECT_EQ(keys(30), (Bytes{0x1e, 0x9e, 0x30, 0xb0}));
    pass_ms(3000);
    EXPECT_EQ(serial(), "c");
}

TEST_F(ConsoleInputTest, AGuestThatBeginsToListenGetsWhatItDidNotRead) {
    type("abc");
    pass_ms(1010);
    EXPECT_TRUE(key_waits());
    uart.out(0x3fc, 1, 8);
    uart.out(0x3f9, 1, 1);
    type("d");
    EXPECT_EQ(serial(), "abcd");
}

TEST_F(ConsoleInputTest, TheControllerHoldsTheKeyboardBack) {
    command(0xad);
    type("a");
    pass_ms(1005);
    EXPECT_FALSE(key_waits());
    command(0xae);
    EXPECT_TRUE(key_waits());
    EXPECT_EQ(controller.in(0x60, 1), 0x1eu);
    EXPECT_EQ(controller.in(0x60, 1), 0x9eu);
    EXPECT_FALSE(key_waits());
}

TEST_F(ConsoleInputTest, CommandsToTheKeyboardEnableItsLine) {
    command(0xad);
    controller.out(0x60, 1, 0xf2);
    EXPECT_EQ(controller.in(0x60, 1), 0xfau);
    EXPECT_EQ(controller.in(0x60, 1), 0xabu);
    EXPECT_EQ(controller.in(0x60, 1), 0x41u) << "83h, translated";
    command(0x60, 0x04);
    controller.out(0x60, 1, 0xf2);
    controller.in(0x60, 1);
    controller.in(0x60, 1);
    EXPECT_EQ(controller.in(0x60, 1), 0x83u);
}

}  // namespace
}  // namespace bulkhead::guest
