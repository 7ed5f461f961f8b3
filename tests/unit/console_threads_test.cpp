// SPDX-License-Identifier: Apache-2.0
// The console as several CPUs use it at once; also to be run under ThreadSanitizer.
#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "monitor/console.hpp"

namespace {

using namespace bulkhead;
using namespace bulkhead::monitor;

constexpr std::size_t capacity = 4096;  // small, so that writers meet a full ring
constexpr int lines_each = 2000;

// A transmitter as the host's driver is: it rests when there is nothing to send, until it is woken.
class Transmitter {
  public:
    explicit Transmitter(Console& console) : console_(console) {}

    void wake() {
        const std::lock_guard guard{mutex_};
        active_ = true;
    }
    // One interrupt: fills the FIFO. False when it rests.
    bool interrupt() {
        const std::lock_guard guard{mutex_};
        if (!active_) return false;
        std::uint8_t fifo[16];
        const std::size_t count = console_.take(fifo);
        active_ = count == sizeof fifo;
        sent_.append(reinterpret_cast<const char*>(fifo), count);
        return true;
    }
    const std::string& sent() const { return sent_; }

  private:
    Console& console_;
    std::mutex mutex_;
    bool active_{};
    std::string sent_;
};

struct Waiter {
    std::atomic<bool> room{true};
    void on_room() { room = true; }
};

void write_lines(Partition& partition, Waiter& waiter, const std::string& name) {
    for (int i = 0; i < lines_each; ++i) {
        for (const char c : name + " " + std::to_string(i) + "\r\n") {
            while (true) {
                waiter.room = false;
                if (partition.put(static_cast<std::uint8_t>(c))) break;
                while (!waiter.room) std::this_thread::yield();
            }
        }
    }
}

std::string expected_lines(const std::string& name) {
    std::string text;
    for (int i = 0; i < lines_each; ++i) text += name + " " + std::to_string(i) + "\r\n";
    return text;
}

TEST(ConsoleThreads, FramedCarriesEverythingOfAllCpus) {
    std::vector<std::uint8_t> log_storage(1 << 20);
    std::vector<std::uint8_t> storage[2] = {std::vector<std::uint8_t>(capacity), std::vector<std::uint8_t>(capacity)};
    Console console{ConsoleMode::framed, log_storage};
    Waiter waiters[2];
    const std::string names[] = {"one", "two"};
    for (unsigned i = 0; i < 2; ++i)
        console.add(i + 1, names[i], storage[i]).set_room_callback(Delegate<void()>::to<&Waiter::on_room>(&waiters[i]));
    Transmitter transmitter{console};
    console.set_wake(Delegate<void()>::to<&Transmitter::wake>(&transmitter));
    console.start(0);

    std::atomic<int> working{5};
    std::vector<std::thread> cpus;
    for (unsigned i = 0; i < 2; ++i)
        cpus.emplace_back([&, i] {
            write_lines(*console.partition(i + 1), waiters[i], names[i]);
            --working;
        });
    for (int i = 0; i < 2; ++i)
        cpus.emplace_back([&, i] {
            for (int n = 0; n < lines_each; ++n)
                console.line("cpu " + std::to_string(i) + " says " + std::to_string(n));
            --working;
        });
    std::string typed;
    cpus.emplace_back([&] {
        for (unsigned n = 0; n < 500; ++n) {
            link::EncodedFrame out;
            const std::uint8_t key = 'k';
            const std::size_t length =
                link::encode({link::Type::input, 1, static_cast<std::uint8_t>(n), {&key, 1}}, out);
            for (std::size_t i = 0; i < length; ++i) console.receive(out[i]);
            while (const auto byte = console.partition(1)->get()) typed += static_cast<char>(*byte);
            console.set_state(2, link::PartitionState::running);
            console.tick();
        }
        --working;
    });
    // A wake that got lost would leave a writer waiting for ever.
    while (working != 0)
        if (!transmitter.interrupt()) std::this_thread::yield();
    for (std::thread& cpu : cpus) cpu.join();
    while (transmitter.interrupt()) {
    }

    link::Decoder decoder;
    std::map<unsigned, std::string> got;
    for (const char c : transmitter.sent())
        if (const auto frame = decoder.feed(static_cast<std::uint8_t>(c)); frame && frame->type == link::Type::data)
            got[frame->partition].append(frame->payload.begin(), frame->payload.end());
    EXPECT_EQ(decoder.damaged(), 0u);
    EXPECT_TRUE(got[1] == expected_lines("one"));
    EXPECT_TRUE(got[2] == expected_lines("two"));
    EXPECT_EQ(typed, std::string(500, 'k'));
    // Whole lines, in the order of each CPU.
    int next[2] = {};
    std::string log = got[0];
    for (std::size_t end; (end = log.find("\r\n")) != log.npos; log.erase(0, end + 2)) {
        const std::string line = log.substr(0, end);
        const int cpu = line.at(4) - '0';
        ASSERT_TRUE(cpu == 0 || cpu == 1) << line;
        EXPECT_EQ(line, "cpu " + std::to_string(cpu) + " says " + std::to_string(next[cpu]++));
    }
    EXPECT_EQ(next[0] + next[1], 2 * lines_each);
}

TEST(ConsoleThreads, TerminalWhileTheUserSwitches) {
    std::vector<std::uint8_t> log_storage(capacity);
    std::vector<std::uint8_t> storage[2] = {std::vector<std::uint8_t>(capacity), std::vector<std::uint8_t>(capacity)};
    Console console{ConsoleMode::terminal, log_storage};
    Waiter waiters[2];
    for (unsigned i = 0; i < 2; ++i)
        console.add(i + 1, i == 0 ? "one" : "two", storage[i])
            .set_room_callback(Delegate<void()>::to<&Waiter::on_room>(&waiters[i]));
    Transmitter transmitter{console};
    console.set_wake(Delegate<void()>::to<&Transmitter::wake>(&transmitter));
    console.start(1);

    std::atomic<int> working{3};
    std::vector<std::thread> cpus;
    for (unsigned i = 0; i < 2; ++i)
        cpus.emplace_back([&, i] {
            write_lines(*console.partition(i + 1), waiters[i], "line");
            --working;
        });
    cpus.emplace_back([&] {
        const std::string keys =
            "\x01"
            "2\x01"
            "ak\x01"
            "1\x01?k\x01"
            "0\x01lk\x01"
            "n";
        for (int n = 0; n < 3000; ++n) {
            console.receive(static_cast<std::uint8_t>(keys[n % keys.size()]));
            console.tick();
            console.line("log");
            for (unsigned i = 1; i <= 2; ++i) static_cast<void>(console.partition(i)->get());
        }
        --working;
    });
    while (working != 0)
        if (!transmitter.interrupt()) std::this_thread::yield();
    for (std::thread& cpu : cpus) cpu.join();
    while (transmitter.interrupt()) {
    }
    EXPECT_TRUE(console.drained());
    EXPECT_NE(transmitter.sent().find("line"), std::string::npos);
}

}  // namespace
