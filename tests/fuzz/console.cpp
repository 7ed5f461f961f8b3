// SPDX-License-Identifier: Apache-2.0
// The console with two guests: what comes over the line, in both of its modes, while the guests write and read.
#include "monitor/console.hpp"

#include <memory>

#include "tests/fuzz/fuzz.hpp"

using namespace bulkhead;
using namespace bulkhead::monitor;
using fuzz::require;

namespace {

constexpr std::size_t capacity = 64 * kib;
std::vector<std::uint8_t> storage[3] = {std::vector<std::uint8_t>(capacity), std::vector<std::uint8_t>(capacity),
                                        std::vector<std::uint8_t>(capacity)};

struct Bench {
    explicit Bench(ConsoleMode m) : mode(m) {
        guests[0] = &console.add(1, "one", storage[1]);
        guests[1] = &console.add(5, "two", storage[2]);
        console.set_operator(Delegate<void(Action)>::to<&Bench::on_action>(this));
        console.set_report(Delegate<void(TextSink&)>::to<&Bench::on_report>(this));
        console.set_dump(Delegate<void(unsigned, TextSink&)>::to<&Bench::on_dump>(this));
        console.start(1);
    }
    void on_action(Action action) {
        require(action.kind == Action::Kind::quit || action.partition == 1 || action.partition == 5,
                "a command is for a guest");
    }
    void on_report(TextSink& sink) { print(sink, "{} exits\n", 10); }
    void on_dump(unsigned partition, TextSink& sink) {
        require(partition == 1 || partition == 5, "the state of a guest that there is");
        print(sink, "rip: {:x}\n", 0x1000);
    }
    // The other end gets frames alone, none damaged and none missing.
    void send(unsigned most) {
        for (unsigned n = 0; n < most; ++n) {
            const auto byte = console.next_to_send();
            if (!byte) return;
            if (mode == ConsoleMode::terminal) continue;
            const auto frame = decoder.feed(*byte);
            require(decoder.damaged() == 0, "frames are whole");
            require(!frame || frame->sequence == sequence++, "and numbered in order");
        }
    }
    void receive_frame(fuzz::Input& in) {
        const auto bytes = in.bytes(in.below(8));
        const link::Frame frame{in.chance() ? link::Type::input : link::Type::command,
                                static_cast<std::uint8_t>(in.chance() ? 1 : in.below(12)),
                                in.chance() ? next_input++ : in.any<std::uint8_t>(),
                                {reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()}};
        link::EncodedFrame encoded;
        const std::size_t size = link::encode(frame, encoded);
        for (std::size_t i = 0; i < size; ++i) console.receive(encoded[i]);
    }

    const ConsoleMode mode;
    Console console{mode, storage[0]};
    Partition* guests[2];
    link::Decoder decoder;
    std::uint8_t sequence{}, next_input{};
};

}  // namespace

FUZZ_TARGET(in) {
    const auto bench = std::make_unique<Bench>(in.chance() ? ConsoleMode::framed : ConsoleMode::terminal);
    in.repeat(
        [&] {
            Partition& guest = *bench->guests[in.below(2)];
            switch (in.below(8)) {
                case 0:
                case 1:
                    for (const std::byte byte : in.bytes(in.below(32)))
                        bench->console.receive(static_cast<std::uint8_t>(byte));
                    break;
                case 2:
                    bench->receive_frame(in);
                    break;
                case 3:  // a command of a person
                    bench->console.receive(1);
                    bench->console.receive(in.any<std::uint8_t>());
                    break;
                case 4:
                    for (const std::byte byte : in.bytes(in.below(64)))
                        if (!guest.put(static_cast<std::uint8_t>(byte))) break;
                    break;
                case 5:
                    for (unsigned n = in.below(8); n != 0 && guest.get(); --n) {
                    }
                    break;
                case 6:
                    bench->console.tick();
                    if (in.chance()) bench->console.set_state(guest.number(), link::PartitionState::halted, "text");
                    if (in.chance()) bench->console.line("a line of the log");
                    break;
                default:
                    bench->send(in.below(512));
                    break;
            }
        },
        64);
    bench->send(1'000'000);
    require(bench->console.next_to_send() == std::nullopt, "output ends");
}
