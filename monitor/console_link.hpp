// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

// The framed mode of the console link, as docs/console.md describes it: RFC 1055 framing around
//     type, partition, sequence number, payload, CRC-16 (high byte first).
// scripts/console_link.py is the other end.
namespace bulkhead::monitor::link {

inline constexpr std::uint8_t protocol_version = 1;
inline constexpr std::size_t max_payload = 128;
inline constexpr std::size_t overhead = 5;  // header and CRC

// RFC 1055.
inline constexpr std::uint8_t END = 0xc0;
inline constexpr std::uint8_t ESC = 0xdb;
inline constexpr std::uint8_t ESC_END = 0xdc;
inline constexpr std::uint8_t ESC_ESC = 0xdd;

enum class Type : std::uint8_t {
    // From the hypervisor.
    data = 0x01,        // what the partition wrote
    announce = 0x02,    // payload: the partition's name
    state = 0x03,       // payload: one byte PartitionState, then text
    ack = 0x04,         // payload: the sequence number of the input or command that was taken
    busy = 0x05,        // payload: the sequence number of input for which there was no room
    hello = 0x06,       // payload: version, largest payload, number of partitions; announcements follow
    last_words = 0x07,  // text of a hypervisor that is dying
    // To the hypervisor.
    input = 0x81,    // what is typed to the partition
    command = 0x82,  // payload: one byte Command
};

enum class PartitionState : std::uint8_t {
    off = 0,
    running = 1,
    halted = 2,
    crashed = 3,
    died = 4,
    leaving = 5,
    exited = 6,  // the guest ended itself with a status: the text, in decimal
};

enum class Command : std::uint8_t {
    hello = 'h',    // announce everything again; sequence numbers start again at 0
    quit = 'q',     // all guests off, machine off
    restart = 'r',  // this partition's guest
    report = 's',   // the accounting of all guests, to partition 0
    dump = 'd',     // the state of this partition's guest, to partition 0
    screen = 'v',   // the text on its screen, likewise
};

// CRC-16/IBM-3740: polynomial 0x1021, from 0xffff, most significant bit first. Over a frame and its CRC it is zero.
class Crc16 {
  public:
    constexpr void add(std::uint8_t byte);
    constexpr std::uint16_t value() const { return value_; }

  private:
    std::uint16_t value_{0xffff};
};

struct Frame {
    Type type{};
    std::uint8_t partition{};
    std::uint8_t sequence{};
    std::span<const std::uint8_t> payload;
};

// Room for any frame with every byte escaped.
using EncodedFrame = std::array<std::uint8_t, 2 + 2 * (max_payload + overhead)>;

// The bytes of a frame for the line; `frame.payload` is at most `max_payload` long. Returns how many were written.
std::size_t encode(const Frame& frame, EncodedFrame& to);

// Takes the line's bytes and gives the frames in them. Anything else (a damaged frame, text of a firmware) is dropped.
class Decoder {
  public:
    // A frame when `byte` completed one; its payload is valid until the next call.
    std::optional<Frame> feed(std::uint8_t byte);
    std::uint64_t damaged() const { return damaged_; }

  private:
    void reset();
    std::optional<Frame> finish();
    void store(std::uint8_t byte);

    std::array<std::uint8_t, max_payload + overhead> buffer_{};
    std::size_t used_{};
    bool escaped_{};
    bool bad_{};
    Crc16 crc_;
    std::uint64_t damaged_{};
};

// ---- inline ----

namespace detail {
constexpr std::array<std::uint16_t, 256> make_crc_table() {
    std::array<std::uint16_t, 256> table{};
    for (unsigned i = 0; i < 256; ++i) {
        unsigned crc = i << 8;
        for (int bit = 0; bit < 8; ++bit) crc = crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1;
        table[i] = static_cast<std::uint16_t>(crc);
    }
    return table;
}
inline constexpr auto crc_table = make_crc_table();
}  // namespace detail

constexpr void Crc16::add(std::uint8_t byte) {
    value_ = static_cast<std::uint16_t>(value_ << 8 ^ detail::crc_table[(value_ >> 8 ^ byte) & 0xff]);
}

}  // namespace bulkhead::monitor::link
