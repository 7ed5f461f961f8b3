// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "monitor/console.hpp"

namespace {

using namespace bulkhead;
using namespace bulkhead::monitor;
using link::Command;
using link::PartitionState;
using link::Type;

constexpr std::size_t capacity = 65536;

struct Received {
    Type type;
    unsigned partition;
    std::string payload;
    bool operator==(const Received&) const = default;
};

class FramedConsole : public testing::Test {
  protected:
    FramedConsole() {
        console = std::make_unique<Console>(ConsoleMode::framed, log_storage);
        one = &console->add(1, "one", storage[0]);
        two = &console->add(5, "two", storage[1]);
        console->set_operator(Delegate<void(Action)>::to<&FramedConsole::on_action>(this));
        console->set_report(Delegate<void(TextSink&)>::to<&FramedConsole::on_report>(this));
        two->set_input_callback(Delegate<void()>::to<&FramedConsole::on_input>(this));
        two->set_room_callback(Delegate<void()>::to<&FramedConsole::on_room>(this));
    }
    void on_action(Action action) { actions.push_back(action); }
    void on_report(TextSink& sink) { print(sink, "{} exits\n", 10); }
    void on_input() { ++inputs; }
    void on_room() { ++rooms; }

    std::vector<Received> drain(std::size_t limit = ~0ull) {
        std::vector<Received> frames;
        while (frames.size() < limit) {
            const auto byte = console->next_to_send();
            if (!byte) break;
            const auto frame = decoder.feed(*byte);
            if (!frame) continue;
            EXPECT_EQ(frame->sequence, sequence++);
            frames.push_back({frame->type, frame->partition, {frame->payload.begin(), frame->payload.end()}});
        }
        return frames;
    }
    void start() {
        console->start(0);
        drain();
    }
    void send(Type type, unsigned partition, unsigned number, const std::string& payload) {
        link::EncodedFrame out;
        const std::vector<std::uint8_t> bytes{payload.begin(), payload.end()};
        const std::size_t length =
            link::encode({type, static_cast<std::uint8_t>(partition), static_cast<std::uint8_t>(number), bytes}, out);
        for (std::size_t i = 0; i < length; ++i) console->receive(out[i]);
    }
    static std::string byte(unsigned value) { return std::string(1, static_cast<char>(value)); }
    static std::string typed(Partition* partition) {
        std::string text;
        while (const auto got = partition->get()) text += static_cast<char>(*got);
        return text;
    }

    std::vector<std::uint8_t> log_storage = std::vector<std::uint8_t>(capacity);
    std::vector<std::uint8_t> storage[2] = {std::vector<std::uint8_t>(capacity), std::vector<std::uint8_t>(capacity)};
    std::unique_ptr<Console> console;
    link::Decoder decoder;
    std::uint8_t sequence{};
    Partition* one{};
    Partition* two{};
    std::vector<Action> actions;
    int inputs{}, rooms{};
};

TEST_F(FramedConsole, HelloComesFirstAndAnnouncesEverybody) {
    console->line("booted");
    console->set_state(5, PartitionState::running);
    console->start(0);
    const std::vector<Received> expected{
        {Type::hello, 0, "\x01\x80\x03"}, {Type::announce, 0, "bulkhead"}, {Type::announce, 1, "one"},
        {Type::announce, 5, "two"},       {Type::state, 0, byte(0)},       {Type::state, 1, byte(0)},
        {Type::state, 5, byte(0)},        {Type::state, 5, byte(1)},       {Type::data, 0, "booted\r\n"},
    };
    EXPECT_EQ(drain(), expected);
    // Asked again: what is known by now.
    send(Type::command, 0, 77, "h");
    const auto again = drain();
    ASSERT_EQ(again.size(), 7u);
    EXPECT_EQ(again[0].type, Type::hello);
    EXPECT_EQ(again[6], (Received{Type::state, 5, byte(1)}));
}

TEST_F(FramedConsole, EveryPartitionIsCarriedWholeAndWaits) {
    start();
    std::string text[2];
    for (int i = 0; i < 300000; ++i) text[0] += static_cast<char>(i * 7), text[1] += static_cast<char>(i * 11);
    std::map<unsigned, std::string> got;
    std::size_t sent[2] = {};
    int waits = 0;
    while (sent[0] < text[0].size() || sent[1] < text[1].size()) {
        for (int i = 0; i < 2; ++i) {
            Partition* to = i == 0 ? one : two;
            while (sent[i] < text[i].size() && to->put(static_cast<std::uint8_t>(text[i][sent[i]]))) ++sent[i];
            waits += sent[i] < text[i].size();
        }
        for (const Received& frame : drain(100)) got[frame.partition] += frame.payload;
    }
    for (const Received& frame : drain()) got[frame.partition] += frame.payload;
    EXPECT_GT(waits, 0);
    EXPECT_GT(rooms, 0);
    EXPECT_TRUE(got[1] == text[0]);
    EXPECT_TRUE(got[5] == text[1]);
}

TEST_F(FramedConsole, PartitionsTakeTurns) {
    start();
    for (int i = 0; i < 60000; ++i) static_cast<void>(one->put('x'));
    drain(3);
    static_cast<void>(two->put('y'));
    const auto frames = drain(2);
    EXPECT_TRUE(frames[0] == (Received{Type::data, 5, "y"}) || frames[1] == (Received{Type::data, 5, "y"}));
}

TEST_F(FramedConsole, StatesComeAfterTheOutputBeforeThem) {
    start();
    for (int i = 0; i < 200; ++i) static_cast<void>(one->put('a'));
    console->set_state(1, PartitionState::off, "powered off");
    static_cast<void>(one->put('b'));
    console->set_state(1, PartitionState::running);
    const std::vector<Received> expected{{Type::data, 1, std::string(128, 'a')},
                                         {Type::data, 1, std::string(72, 'a')},
                                         {Type::state, 1, byte(0) + "powered off"},
                                         {Type::data, 1, "b"},
                                         {Type::state, 1, byte(1)}};
    EXPECT_EQ(drain(), expected);
}

TEST_F(FramedConsole, TheTextOfAStateIsKept) {
    start();
    std::string text = "43";
    console->set_state(1, PartitionState::exited, text);
    text = "xx";
    console->set_state(1, PartitionState::crashed, std::string(200, 'l'));
    const std::vector<Received> expected{{Type::state, 1, byte(6) + "43"},
                                         {Type::state, 1, byte(3) + std::string(47, 'l')}};
    EXPECT_EQ(drain(), expected) << "a long one is cut";
}

TEST_F(FramedConsole, InputIsTakenOnceAndAcknowledged) {
    start();
    send(Type::input, 5, 0, "ls\r");
    EXPECT_EQ(inputs, 1);
    EXPECT_EQ(drain(), (std::vector<Received>{{Type::ack, 5, byte(0)}}));
    send(Type::input, 5, 0, "ls\r");  // repeated
    EXPECT_EQ(drain(), (std::vector<Received>{{Type::ack, 5, byte(0)}}));
    send(Type::input, 5, 1, "\x01\xc0\xdb");  // Ctrl-A is a key like others
    EXPECT_EQ(drain(), (std::vector<Received>{{Type::ack, 5, byte(1)}}));
    EXPECT_EQ(typed(two), "ls\r\x01\xc0\xdb");
    EXPECT_EQ(typed(one), "");
    EXPECT_EQ(inputs, 2);
    send(Type::input, 5, 7, "out of order");
    EXPECT_TRUE(drain().empty());
    EXPECT_EQ(typed(two), "");
}

TEST_F(FramedConsole, ANumberComesRoundAgain) {
    start();
    for (unsigned i = 0; i < 600; ++i) {
        send(Type::input, 1, i & 0xff, "k");
        EXPECT_EQ(drain(), (std::vector<Received>{{Type::ack, 1, byte(i)}}));
        EXPECT_EQ(typed(one), "k");
    }
}

TEST_F(FramedConsole, InputWithoutRoomIsRefusedWhole) {
    start();
    unsigned number = 0;
    for (int i = 0; i < 32; ++i) send(Type::input, 1, number++, std::string(127, 'k'));  // 4064 of 4096
    drain();
    send(Type::input, 1, number, std::string(33, 'l'));
    EXPECT_EQ(drain(), (std::vector<Received>{{Type::busy, 1, byte(number)}}));
    // The same frame later, and another partition in the meantime.
    send(Type::input, 5, 0, "x");
    EXPECT_EQ(drain(), (std::vector<Received>{{Type::ack, 5, byte(0)}}));
    static_cast<void>(one->get());
    send(Type::input, 1, number, std::string(33, 'l'));
    EXPECT_EQ(drain(), (std::vector<Received>{{Type::ack, 1, byte(number)}}));
    EXPECT_EQ(typed(one), std::string(4063, 'k') + std::string(33, 'l'));
}

TEST_F(FramedConsole, CommandsAreObeyedOnce) {
    start();
    send(Type::command, 5, 0, "r");
    send(Type::command, 5, 0, "r");
    send(Type::command, 0, 0, "q");
    ASSERT_EQ(actions.size(), 2u);
    EXPECT_EQ(actions[0].kind, Action::Kind::restart);
    EXPECT_EQ(actions[0].partition, 5u);
    EXPECT_EQ(actions[1].kind, Action::Kind::quit);
    drain();
    send(Type::command, 0, 1, "s");
    const auto frames = drain();
    EXPECT_EQ(frames, (std::vector<Received>{{Type::ack, 0, byte(1)}, {Type::data, 0, "10 exits\r\n"}}));
    // The hypervisor cannot be restarted; unknown commands and partitions change nothing.
    send(Type::command, 0, 2, "r");
    send(Type::command, 1, 0, "?");
    send(Type::command, 3, 0, "r");
    send(Type::command, 200, 0, "r");
    send(Type::data, 1, 1, "x");
    EXPECT_EQ(actions.size(), 2u);
}

TEST_F(FramedConsole, AfterHelloNumbersStartAgain) {
    start();
    for (unsigned i = 0; i < 3; ++i) send(Type::input, 1, i, "a");
    send(Type::command, 0, 0, "h");
    for (const Received& frame : drain()) EXPECT_NE(frame.type, Type::ack) << "of the time before";
    send(Type::input, 1, 0, "b");
    EXPECT_EQ(drain(), (std::vector<Received>{{Type::ack, 1, byte(0)}}));
    EXPECT_EQ(typed(one), "aaab");
}

TEST_F(FramedConsole, LastWordsFollowAFrameThatWasCutOff) {
    start();
    static_cast<void>(one->put('x'));
    std::vector<std::uint8_t> line;
    for (int i = 0; i < 4; ++i) line.push_back(*console->next_to_send());
    console->line("what led to it");
    struct Transmitter {
        std::vector<std::uint8_t>& to;
        void transmit(std::uint8_t value) { to.push_back(value); }
    } transmitter{line};
    LastWords words{*console, Delegate<void(std::uint8_t)>::to<&Transmitter::transmit>(&transmitter)};
    print(words, "panic: {}\n", "no reason");
    words.finish();
    std::string text;
    bool died = false;
    for (const std::uint8_t value : line) {
        const auto frame = decoder.feed(value);
        if (!frame) continue;
        if (frame->type == Type::last_words) text.append(frame->payload.begin(), frame->payload.end());
        died = frame->type == Type::state && frame->payload[0] == static_cast<std::uint8_t>(PartitionState::died);
    }
    EXPECT_EQ(text, "what led to it\r\npanic: no reason\r\n");
    EXPECT_TRUE(died);
}

}  // namespace
