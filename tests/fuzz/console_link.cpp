// SPDX-License-Identifier: Apache-2.0
// The framing of the console link: what is encoded is decoded, whatever the line carried before.
#include "monitor/console_link.hpp"

#include "tests/fuzz/fuzz.hpp"

using namespace bulkhead;
using namespace bulkhead::monitor::link;
using fuzz::require;

FUZZ_TARGET(in) {
    Decoder decoder;
    in.repeat(
        [&] {
            for (const std::byte noise : in.bytes(in.below(160))) {
                const auto frame = decoder.feed(static_cast<std::uint8_t>(noise));
                require(!frame || frame->payload.size() <= max_payload, "a payload has its limit");
            }
            const auto bytes = in.bytes(in.below(max_payload + 1));
            const auto* const first = reinterpret_cast<const std::uint8_t*>(bytes.data());
            const Frame sent{static_cast<Type>(in.any<std::uint8_t>()),
                             in.any<std::uint8_t>(),
                             in.any<std::uint8_t>(),
                             {first, bytes.size()}};
            EncodedFrame encoded;
            const std::size_t size = encode(sent, encoded);
            require(size <= encoded.size(), "a frame has room");
            std::optional<Frame> received;
            for (std::size_t i = 0; i < size; ++i) {
                received = decoder.feed(encoded[i]);
                require(!received || i == 0 || i + 1 == size, "a frame ends where it ends");
            }
            require(received && received->type == sent.type && received->partition == sent.partition &&
                        received->sequence == sent.sequence && std::ranges::equal(received->payload, sent.payload),
                    "what is sent is received");
        },
        16);
}
