// SPDX-License-Identifier: Apache-2.0
// The devices that test programs use: debug exit, debug console, test device.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "guest/debug_console.hpp"
#include "guest/debug_exit.hpp"
#include "guest/test_device.hpp"

namespace {

using namespace bulkhead;
using namespace bulkhead::guest;

class DebugExitTest : public testing::Test {
  protected:
    void exited(std::uint64_t status) { statuses.push_back(status); }
    void write(std::string_view text) {
        for (const char c : text) device.out(0x8900, 1, static_cast<std::uint8_t>(c));
    }

    std::vector<std::uint64_t> statuses;
    DebugExit device{Delegate<void(std::uint64_t)>::to<&DebugExitTest::exited>(this)};
};

TEST_F(DebugExitTest, TheStatusIsTheValueTimesTwoPlusOne) {
    device.out(0xf4, 1, 0);
    device.out(0xf4, 4, 21);
    device.out(0xf4, 2, 0xffff);
    device.out(0xf4, 4, 0xffffffff);
    EXPECT_EQ(statuses, (std::vector<std::uint64_t>{1, 43, 0x1ffff, 0x1ffffffff}));
    EXPECT_EQ(device.in(0xf4, 1), 0u);
}

TEST_F(DebugExitTest, TheWordShutdownIsStatus0) {
    write("Shutdow");
    EXPECT_TRUE(statuses.empty());
    write("n");
    EXPECT_EQ(statuses, std::vector<std::uint64_t>{0});
    write("shutdown");
    write("Shut down");
    EXPECT_EQ(statuses.size(), 1u);
    write("ShuShutdown");
    EXPECT_EQ(statuses.size(), 2u) << "the word may start anew at any time";
}

class Peer final : public SerialPeer {
  public:
    bool put(std::uint8_t byte) override {
        if (room == 0) return false;
        --room;
        sent.push_back(static_cast<char>(byte));
        return true;
    }
    std::optional<std::uint8_t> get() override { return std::nullopt; }
    std::size_t room = 1000;
    std::string sent;
};

TEST(DebugConsole, BothPortsWriteAndTellThatTheyAreThere) {
    Peer peer;
    DebugConsole console{peer};
    console.out(0xe9, 1, 'a');
    console.out(0x402, 1, 'b');
    console.out(0xe9, 4, 0x41424363);
    EXPECT_EQ(peer.sent, "abc") << "one byte a write";
    EXPECT_EQ(console.in(0xe9, 1), 0xe9u);
    EXPECT_EQ(console.in(0x402, 1), 0xe9u);
    EXPECT_FALSE(console.stalled());
}

TEST(DebugConsole, WithoutRoomNothingIsLostAndTheWriterIsHeldUp) {
    Peer peer;
    peer.room = 1;
    DebugConsole console{peer};
    for (const char c : std::string{"abc"}) console.out(0xe9, 1, static_cast<std::uint8_t>(c));
    EXPECT_TRUE(console.stalled());
    peer.room = 1;
    console.transmit_room();
    EXPECT_TRUE(console.stalled());
    EXPECT_EQ(peer.sent, "ab");
    peer.room = 5;
    console.out(0xe9, 1, 'd');
    EXPECT_EQ(peer.sent, "ab") << "not before what waits";
    console.transmit_room();
    EXPECT_EQ(peer.sent, "abcd");
    EXPECT_FALSE(console.stalled());
}

class TestDeviceTest : public testing::Test {
  protected:
    std::vector<std::byte> ram{TestDevice::ram_size};
    TestDevice device{ram};
};

TEST_F(TestDeviceTest, LoopBackOfEverySize) {
    EXPECT_EQ(device.in(0xe0, 4), 0u);
    device.out(0xe0, 4, 0x12345678);
    EXPECT_EQ(device.in(0xe0, 4), 0x12345678u);
    EXPECT_EQ(device.in(0xe1, 1), 0x56u);
    EXPECT_EQ(device.in(0xe2, 2), 0x1234u);
    device.out(0xe1, 2, 0xabcd);
    EXPECT_EQ(device.in(0xe0, 4), 0x12abcd78u);
    device.out(0xe3, 1, 0xff);
    EXPECT_EQ(device.in(0xe0, 4), 0xffabcd78u);
    device.out(0xe3, 2, 0x0001);
    EXPECT_EQ(device.in(0xe0, 4), 0x01abcd78u) << "the rest of it reaches past the end";
}

struct Lines {
    explicit Lines(TestDevice& device) {
        for (unsigned n = 0; n < 24; ++n) {
            inputs[n].number = n;
            inputs[n].log = &log;
            device.line(n).connect(Delegate<void(bool)>::to<&Input::set>(&inputs[n]));
        }
    }
    struct Input {
        unsigned number;
        std::vector<std::pair<unsigned, bool>>* log;
        void set(bool level) { log->push_back({number, level}); }
    };
    std::vector<std::pair<unsigned, bool>> log;
    Input inputs[24];
};

TEST_F(TestDeviceTest, EachPortDrivesItsLine) {
    Lines lines{device};
    device.out(0x200e, 1, 1);
    device.out(0x200e, 1, 0x80);
    device.out(0x2017, 1, 1);
    device.out(0x200e, 1, 0);
    const std::vector<std::pair<unsigned, bool>> expected{{14, true}, {23, true}, {14, false}};
    EXPECT_EQ(lines.log, expected);
    EXPECT_EQ(device.in(0x2000, 1), 0xffu);
}

TEST_F(TestDeviceTest, Ram) {
    device.write(0, 8, 0x1122334455667788);
    EXPECT_EQ(device.read(0, 8), 0x1122334455667788u);
    EXPECT_EQ(device.read(2, 2) & 0xffff, 0x5566u);
    device.write(0xffff, 1, 0x5a);
    EXPECT_EQ(device.read(0xffff, 1) & 0xff, 0x5au);
    device.write(3, 1, 0);
    EXPECT_EQ(device.read(0, 4) & 0xffffffff, 0x00667788u);
    device.write(0xfffc, 8, ~0ull);
    EXPECT_EQ(device.read(0xfffc, 4) & 0xffffffff, 0xffffffffu) << "what reaches past the end is lost";
    EXPECT_EQ(device.read(0x10000, 1) & 0xff, 0xffu);
}

}  // namespace
