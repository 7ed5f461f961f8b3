// SPDX-License-Identifier: Apache-2.0
// The debug exit, the debug console and the test device.
#include <deque>

#include "guest/debug_console.hpp"
#include "guest/debug_exit.hpp"
#include "guest/test_device.hpp"
#include "tests/fuzz/fuzz.hpp"

using namespace bulkhead;
using fuzz::require;

namespace {

struct Exits {
    void exit(std::uint64_t status) {
        last = status;
        ++count;
    }
    std::uint64_t last{};
    unsigned count{};
};

// Takes bytes while it has room, and knows which are to come.
struct Peer final : guest::SerialPeer {
    bool put(std::uint8_t byte) override {
        if (!room) return false;
        require(!expected.empty() && expected.front() == byte, "the console's bytes come whole and in order");
        expected.pop_front();
        return true;
    }
    std::optional<std::uint8_t> get() override { return std::nullopt; }
    std::deque<std::uint8_t> expected;
    bool room{true};
};

void fuzz_exit(fuzz::Input& in, guest::DebugExit& device, Exits& exits) {
    const unsigned before = exits.count;
    if (in.chance()) {
        const auto value = in.any<std::uint32_t>();
        device.out(guest::DebugExit::first_port, 4, value);
        require(exits.count == before + 1 && exits.last == (std::uint64_t{value} << 1 | 1),
                "the status as QEMU has it");
    } else {
        for (const std::byte letter : in.bytes(4))
            device.out(guest::DebugExit::shutdown_port, 1, static_cast<std::uint8_t>(letter));
        for (const char letter : {'S', 'h', 'u', 't', 'd', 'o', 'w', 'n'})
            device.out(guest::DebugExit::shutdown_port, 1, letter);
        require(exits.count > before && exits.last == guest::DebugExit::shutdown_status, "the word ends the guest");
    }
}

void fuzz_console(fuzz::Input& in, guest::DebugConsole& console, Peer& peer) {
    peer.room = in.chance();
    for (const std::byte byte : in.bytes(32)) {
        peer.expected.push_back(static_cast<std::uint8_t>(byte));
        console.out(guest::DebugConsole::ports[in.below(2)], 1, peer.expected.back());
    }
    require(console.stalled() == !peer.expected.empty(), "it is stalled while something waits");
    peer.room = true;
    console.transmit_room();
    require(peer.expected.empty() && !console.stalled(), "all of it comes once there is room");
}

void fuzz_test_device(fuzz::Input& in, guest::TestDevice& device) {
    fuzz::access_port(in, device, guest::TestDevice::loop_first, guest::TestDevice::loop_last);
    fuzz::access_port(in, device, guest::TestDevice::line_first, guest::TestDevice::line_last);
    const std::uint64_t offset = in.below(guest::TestDevice::ram_size), value = in.any<std::uint64_t>();
    const unsigned size = in.size(8);
    device.write(offset, size, value);
    const unsigned bits =
        8 * static_cast<unsigned>(std::min<std::uint64_t>(size, guest::TestDevice::ram_size - offset));
    const std::uint64_t mask = bits == 64 ? ~0ull : (1ull << bits) - 1;
    require((device.read(offset, size) & mask) == (value & mask), "its RAM keeps what is written");
}

}  // namespace

FUZZ_TARGET(in) {
    Exits exits;
    guest::DebugExit debug_exit{Delegate<void(std::uint64_t)>::to<&Exits::exit>(&exits)};
    Peer peer;
    guest::DebugConsole console{peer};
    static std::vector<std::byte> ram(guest::TestDevice::ram_size);
    guest::TestDevice test_device{ram};
    in.repeat([&] {
        switch (in.below(3)) {
            case 0:
                fuzz_exit(in, debug_exit, exits);
                break;
            case 1:
                fuzz_console(in, console, peer);
                break;
            default:
                fuzz_test_device(in, test_device);
                break;
        }
    });
}
