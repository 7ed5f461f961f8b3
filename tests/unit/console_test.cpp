// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/console_fixture.hpp"

namespace {

std::string all_bytes() {
    std::string text;
    for (int i = 0; i < 256; ++i) text += static_cast<char>(i);
    return text;
}

TEST_F(ConsoleTest, FocusIsRawByteForByteBothWays) {
    EXPECT_EQ(write(one, all_bytes()), 256u);
    EXPECT_EQ(drain(), all_bytes());
    std::string keys = all_bytes();
    keys.erase(1, 1);  // Ctrl-A
    type(keys);
    EXPECT_EQ(typed(one), keys);
    EXPECT_EQ(typed(two), "");
    EXPECT_EQ(inputs, 255);
    EXPECT_EQ(drain(), "");
}

TEST_F(ConsoleTest, CtrlATwiceSendsCtrlA) {
    type(
        "a\x01\x01"
        "b");
    EXPECT_EQ(typed(one),
              "a\x01"
              "b");
}

TEST_F(ConsoleTest, HiddenOutputWaitsForTheSwitch) {
    write(two, "hidden\r\n");
    write(one, "seen");
    EXPECT_EQ(drain(), "seen");
    type(
        "\x01"
        "2");
    const std::string text = drain();
    // A new line, the coloured tag, and then what was not seen.
    EXPECT_EQ(text, "\033[0m\r\n\033[1;32m[two]\033[0m is off\r\nhidden\r\n");
    type("x");
    EXPECT_EQ(typed(two), "x");
    write(one, "later");
    EXPECT_EQ(drain(), "");
    type(
        "\x01"
        "1");
    EXPECT_TRUE(drain().ends_with("\r\nlater"));
}

TEST_F(ConsoleTest, HiddenOutputOverwritesTheOldestAndSaysHowMuch) {
    std::string text;
    for (int i = 0; text.size() < 2 * capacity; ++i) text += "line " + std::to_string(i) + "\r\n";
    EXPECT_EQ(write(two, text), text.size());
    type(
        "\x01"
        "2");
    const std::string shown = drain();
    const std::size_t note = shown.find(" bytes of older output were lost\r\n");
    ASSERT_NE(note, shown.npos);
    const std::string rest = shown.substr(note + 34);
    EXPECT_TRUE(text.ends_with(rest));
    EXPECT_TRUE(rest.starts_with("line "));  // no half line
    EXPECT_GT(rest.size(), capacity - 20);
    EXPECT_TRUE(contains(shown, " " + std::to_string(text.size() - rest.size()) + " bytes"));
    type(
        "\x01"
        "1\x01"
        "2");
    EXPECT_FALSE(contains(drain(), "lost"));
}

TEST_F(ConsoleTest, PressureGoesBackToTheFlooderAlone) {
    const std::string flood(capacity + 10, 'x');
    EXPECT_EQ(write(one, flood), capacity);
    EXPECT_FALSE(one->put('y'));
    // The other one is never held up, in view or not.
    EXPECT_EQ(write(two, flood), flood.size());
    EXPECT_EQ(rooms, 0);
    EXPECT_EQ(drain(capacity / 4 - 1), std::string(capacity / 4 - 1, 'x'));
    EXPECT_EQ(rooms, 0);
    drain(1);
    EXPECT_EQ(rooms, 1);
    EXPECT_TRUE(one->put('y'));
    const std::string rest = drain();
    EXPECT_EQ(rest, std::string(capacity - capacity / 4, 'x') + "y");
    EXPECT_EQ(rooms, 1);
}

TEST_F(ConsoleTest, LeavingTheFlooderLetsItGoOn) {
    write(one, std::string(capacity + 1, 'x'));
    type(
        "\x01"
        "2");
    EXPECT_EQ(rooms, 1);
    EXPECT_TRUE(one->put('y'));
    // The switch is seen at once, not after 64 KiB.
    EXPECT_TRUE(contains(drain(100), "[two]"));
}

TEST_F(ConsoleTest, FullInputRingsTheBell) {
    type(std::string(4096, 'k'));
    EXPECT_EQ(drain(), "");
    type("k");
    EXPECT_EQ(drain(), "\a");
    EXPECT_EQ(typed(one).size(), 4096u);
}

TEST_F(ConsoleTest, LinesOfDifferentCpusDoNotMix) {
    console->line("a line with \033[2J");
    console->line("another");
    EXPECT_EQ(drain(), "");
    type(
        "\x01"
        "0");
    EXPECT_TRUE(drain().ends_with("[bulkhead]\033[0m log of the hypervisor\r\na line with ?[2J\r\nanother\r\n"));
    console->line("shown at once");
    EXPECT_EQ(drain(), "shown at once\r\n");
    type("k");
    EXPECT_EQ(drain(), "\a");
}

TEST_F(ConsoleTest, TheLogNeverWaitsAndCountsWhatItLost) {
    type(
        "\x01"
        "0");
    drain();
    const std::string text(200, 'l');
    for (int i = 0; i < 1000; ++i) console->line(text);
    const std::string shown = drain();
    const std::size_t kept = shown.size() / 202;
    console->line("after");
    EXPECT_EQ(drain(), "[" + std::to_string(1000 - kept) + " lines were lost here]\r\nafter\r\n");
}

TEST_F(ConsoleTest, BootLogIsShownBeforeTheFirstGuest) {
    Console fresh{ConsoleMode::terminal, log_storage};
    Partition& guest = fresh.add(3, "three", storage[0]);
    fresh.line("2 CPUs");
    static_cast<void>(guest.put('!'));
    fresh.start(3);
    std::string text;
    while (const auto byte = fresh.next_to_send()) text += static_cast<char>(*byte);
    EXPECT_TRUE(text.starts_with("2 CPUs\r\n")) << text;
    EXPECT_TRUE(text.ends_with("[three]\033[0m is off\r\n!")) << text;
}

TEST_F(ConsoleTest, Commands) {
    type(
        "\x01"
        "?");
    EXPECT_TRUE(contains(drain(), "Ctrl-A then\r\n"));
    type(
        "\x01"
        "r");
    type(
        "\x01"
        "x");
    ASSERT_EQ(actions.size(), 2u);
    EXPECT_EQ(actions[0].kind, Action::Kind::restart);
    EXPECT_EQ(actions[0].partition, 1u);
    EXPECT_EQ(actions[1].kind, Action::Kind::quit);
    drain();
    type(
        "\x01"
        "s");
    EXPECT_EQ(drain(), "one: 10 exits\r\ntwo: 20 exits\r\n");
    type(
        "\x01"
        "d");
    EXPECT_EQ(drain(), "rip of 1: 1000?[2J\r\n");
    type(
        "\x01"
        "9");
    EXPECT_EQ(drain(), "no guest has that number\r\n");
    type(
        "\x01"
        "!");
    EXPECT_TRUE(contains(drain(), "Ctrl-A ?"));
    type(
        "\x01"
        "n");
    EXPECT_TRUE(contains(drain(), "[two]"));
    type(
        "\x01"
        "n");
    EXPECT_TRUE(contains(drain(), "[bulkhead]"));
    type(
        "\x01"
        "r");
    EXPECT_TRUE(contains(drain(), "no guest is in focus"));
    EXPECT_EQ(actions.size(), 2u);
    EXPECT_EQ(typed(one) + typed(two), "");
}

TEST_F(ConsoleTest, CommandsInFloodsDoNotGarbleASwitch) {
    for (int i = 0; i < 200; ++i)
        type(
            "\x01"
            "?");
    type(
        "\x01"
        "2");
    EXPECT_TRUE(drain().ends_with("[two]\033[0m is off\r\n"));
}

TEST_F(ConsoleTest, TheTransmitterIsWokenOnceWhenItRests) {
    wakes = 0;
    drain();
    write(one, "abc");
    EXPECT_EQ(wakes, 1);
    EXPECT_EQ(drain(2), "ab");
    write(one, "d");
    EXPECT_EQ(wakes, 1) << "it is still at work";
    EXPECT_EQ(drain(), "cd");
    EXPECT_TRUE(console->drained());
    write(two, "hidden");
    EXPECT_EQ(wakes, 1);
    write(one, "e");
    EXPECT_EQ(wakes, 2);
    EXPECT_FALSE(console->drained());
    std::array<std::uint8_t, 16> fifo;
    EXPECT_EQ(console->take(fifo), 1u);
    EXPECT_EQ(fifo[0], 'e');
}

TEST_F(ConsoleTest, LastWordsOnATerminal) {
    std::string sent;
    struct Transmitter {
        std::string& to;
        void transmit(std::uint8_t byte) { to += static_cast<char>(byte); }
    } transmitter{sent};
    console->line("what led to it");
    LastWords words{*console, Delegate<void(std::uint8_t)>::to<&Transmitter::transmit>(&transmitter)};
    print(words, "panic: {}\n", "no reason");
    words.finish();
    EXPECT_TRUE(sent.ends_with("what led to it\r\npanic: no reason\r\n"));
}

}  // namespace
