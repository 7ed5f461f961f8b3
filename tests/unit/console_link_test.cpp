// SPDX-License-Identifier: Apache-2.0
#include "monitor/console_link.hpp"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

namespace {

using namespace bulkhead::monitor::link;
using Bytes = std::vector<std::uint8_t>;

struct Vector {
    const char* name;
    std::uint8_t type, partition, sequence;
    const char* payload;
    const char* line;
};
constexpr Vector vectors[] = {
#define VECTOR(name, type, partition, sequence, payload, line) {#name, type, partition, sequence, payload, line},
#include "tests/unit/console_link_vectors.inc"
#undef VECTOR
};

Bytes from_hex(const std::string& text) {
    Bytes bytes;
    for (std::size_t i = 0; i + 1 < text.size(); i += 3)
        bytes.push_back(static_cast<std::uint8_t>(std::stoul(text.substr(i, 2), nullptr, 16)));
    return bytes;
}

Bytes encoded(const Frame& frame) {
    EncodedFrame out;
    const std::size_t length = encode(frame, out);
    return {out.begin(), out.begin() + static_cast<std::ptrdiff_t>(length)};
}

struct Received {
    Type type;
    std::uint8_t partition, sequence;
    Bytes payload;
    bool operator==(const Received&) const = default;
};

std::vector<Received> decoded(Decoder& decoder, const Bytes& line) {
    std::vector<Received> frames;
    for (const std::uint8_t byte : line)
        if (const auto frame = decoder.feed(byte))
            frames.push_back(
                {frame->type, frame->partition, frame->sequence, {frame->payload.begin(), frame->payload.end()}});
    return frames;
}

TEST(ConsoleLink, CrcOfTheCatalogue) {
    Crc16 crc;
    for (const char c : std::string{"123456789"}) crc.add(static_cast<std::uint8_t>(c));
    EXPECT_EQ(crc.value(), 0x29b1);  // the check value of CRC-16/IBM-3740
}

TEST(ConsoleLink, DocumentedVectors) {
    for (const Vector& vector : vectors) {
        const Bytes payload = from_hex(vector.payload);
        const Bytes line = from_hex(vector.line);
        EXPECT_EQ(encoded({static_cast<Type>(vector.type), vector.partition, vector.sequence, payload}), line)
            << vector.name;
        Decoder decoder;
        const std::vector<Received> expected{
            {static_cast<Type>(vector.type), vector.partition, vector.sequence, payload}};
        EXPECT_EQ(decoded(decoder, line), expected) << vector.name;
        EXPECT_EQ(decoder.damaged(), 0u);
    }
}

TEST(ConsoleLink, EveryByteAndEveryLengthSurvives) {
    std::mt19937 random{2};
    Decoder decoder;
    for (std::size_t length = 0; length <= max_payload; ++length) {
        Bytes payload(length);
        for (std::size_t i = 0; i < length; ++i)
            payload[i] = static_cast<std::uint8_t>(i % 3 ? random() : END + 27 * (i & 1));
        const auto frames = decoded(decoder, encoded({Type::data, 9, static_cast<std::uint8_t>(length), payload}));
        ASSERT_EQ(frames.size(), 1u);
        EXPECT_EQ(frames[0].payload, payload);
    }
    const Bytes worst(max_payload, END);
    EXPECT_EQ(decoded(decoder, encoded({Type::data, END, ESC, worst}))[0].payload, worst);
    EXPECT_EQ(decoder.damaged(), 0u);
}

TEST(ConsoleLink, AnySingleDamagedBitIsNoticed) {
    const Bytes payload{'h', 'e', 'l', 'l', 'o', 0xc0, 0xdb};
    const Bytes line = encoded({Type::data, 1, 2, payload});
    for (std::size_t bit = 0; bit < 8 * line.size(); ++bit) {
        Bytes damaged = line;
        damaged[bit / 8] ^= static_cast<std::uint8_t>(1u << bit % 8);
        Decoder decoder;
        for (const Received& frame : decoded(decoder, damaged)) EXPECT_EQ(frame.payload, payload) << bit;
        // An undamaged frame after it is understood.
        EXPECT_EQ(decoded(decoder, line).size(), 1u) << bit;
    }
}

TEST(ConsoleLink, LostBytesAreNoticed) {
    const Bytes line = encoded({Type::data, 1, 2, Bytes{'a', 'b', 0xc0, 'd'}});
    for (std::size_t lost = 1; lost + 1 < line.size(); ++lost) {
        Bytes damaged = line;
        damaged.erase(damaged.begin() + static_cast<std::ptrdiff_t>(lost));
        Decoder decoder;
        EXPECT_TRUE(decoded(decoder, damaged).empty()) << lost;
        EXPECT_EQ(decoder.damaged(), 1u);
    }
}

TEST(ConsoleLink, TextOfAFirmwareIsPassedOver) {
    Decoder decoder;
    Bytes line(1000, 'x');
    const Bytes frame = encoded({Type::input, 1, 0, Bytes{'a'}});
    line.insert(line.end(), frame.begin(), frame.end());
    EXPECT_EQ(decoded(decoder, line).size(), 1u);
    EXPECT_EQ(decoder.damaged(), 1u);
}

TEST(ConsoleLink, WrongEscapesAndShortFrames) {
    Decoder decoder;
    EXPECT_TRUE(decoded(decoder, {END, ESC, 'x', 'y', END}).empty());
    EXPECT_TRUE(decoded(decoder, {END, 1, 2, 3, 4, END}).empty());
    EXPECT_TRUE(decoded(decoder, {END, 1, ESC, END}).empty());
    EXPECT_EQ(decoder.damaged(), 3u);
    EXPECT_TRUE(decoded(decoder, {END, END, END}).empty());
    EXPECT_EQ(decoder.damaged(), 3u);
}

}  // namespace
