// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "monitor/console.hpp"

namespace {

using namespace bulkhead;
using namespace bulkhead::monitor;
using link::PartitionState;

constexpr std::size_t capacity = 65536;

// A console with two guests and the terminal of a person.
class ConsoleTest : public testing::Test {
  protected:
    ConsoleTest() {
        console = std::make_unique<Console>(ConsoleMode::terminal, log_storage);
        one = &console->add(1, "one", storage[0]);
        two = &console->add(2, "two", storage[1]);
        console->set_wake(Delegate<void()>::to<&ConsoleTest::on_wake>(this));
        console->set_operator(Delegate<void(Action)>::to<&ConsoleTest::on_action>(this));
        console->set_report(Delegate<void(TextSink&)>::to<&ConsoleTest::on_report>(this));
        console->set_dump(Delegate<void(unsigned, TextSink&)>::to<&ConsoleTest::on_dump>(this));
        one->set_input_callback(Delegate<void()>::to<&ConsoleTest::on_input>(this));
        one->set_room_callback(Delegate<void()>::to<&ConsoleTest::on_room>(this));
        console->start(1);
        drain();
    }

    void on_wake() { ++wakes; }
    void on_action(Action action) { actions.push_back(action); }
    void on_report(TextSink& sink) { print(sink, "one: {} exits\ntwo: {} exits\n", 10, 20); }
    void on_dump(unsigned partition, TextSink& sink) { print(sink, "rip of {}: {:x}\033[2J\n", partition, 0x1000); }
    void on_input() { ++inputs; }
    void on_room() { ++rooms; }

    std::string drain(std::size_t limit = ~0ull) {
        std::string text;
        while (text.size() < limit) {
            const auto byte = console->next_to_send();
            if (!byte) break;
            text += static_cast<char>(*byte);
        }
        return text;
    }
    static std::size_t write(Partition* to, const std::string& text) {
        std::size_t count = 0;
        while (count < text.size() && to->put(static_cast<std::uint8_t>(text[count]))) ++count;
        return count;
    }
    void type(const std::string& text) {
        for (const char c : text) console->receive(static_cast<std::uint8_t>(c));
    }
    std::string typed(Partition* partition) {
        std::string text;
        while (const auto byte = partition->get()) text += static_cast<char>(*byte);
        return text;
    }
    static bool contains(const std::string& text, const std::string& part) { return text.find(part) != text.npos; }

    std::vector<std::uint8_t> log_storage = std::vector<std::uint8_t>(capacity);
    std::vector<std::uint8_t> storage[2] = {std::vector<std::uint8_t>(capacity), std::vector<std::uint8_t>(capacity)};
    std::unique_ptr<Console> console;
    Partition* one{};
    Partition* two{};
    std::vector<Action> actions;
    int wakes{}, inputs{}, rooms{};
};

}  // namespace
