// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "guest/ata_channel.hpp"
#include "guest/block.hpp"

namespace bulkhead::guest {
namespace {

// A store of bytes, each sector of 512 of which begins with its number.
class MemoryStore final : public BlockStore {
  public:
    explicit MemoryStore(std::uint64_t size, std::uint32_t first = 0) : bytes(size) {
        for (std::uint64_t at = 0; at + 512 <= size; at += 512) {
            const auto number = static_cast<std::uint32_t>(first + at / 512);
            for (unsigned i = 0; i < 4; ++i) bytes[at + i] = static_cast<std::byte>(number >> (8 * i));
            bytes[at + 511] = std::byte{0xee};
        }
    }
    std::uint64_t size() const override { return bytes.size(); }
    std::expected<void, BlockError> read(std::uint64_t offset, std::span<std::byte> to) override {
        if (!contains(offset, to.size())) return std::unexpected(BlockError::past_end);
        if (bad && offset <= *bad && *bad < offset + to.size()) return std::unexpected(BlockError::medium);
        std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(offset), to.size(), to.begin());
        return {};
    }
    std::expected<void, BlockError> write(std::uint64_t offset, std::span<const std::byte> from) override {
        if (!contains(offset, from.size())) return std::unexpected(BlockError::past_end);
        if (refuses) return std::unexpected(BlockError::read_only);
        std::ranges::copy(from, bytes.begin() + static_cast<std::ptrdiff_t>(offset));
        return {};
    }
    std::vector<std::byte> bytes;
    std::optional<std::uint64_t> bad;  // a byte that cannot be read
    bool refuses{};
};

// A sparse one, for the addresses of large disks: each sector is its number.
class LargeStore final : public BlockStore {
  public:
    explicit LargeStore(std::uint64_t size) : size_(size) {}
    std::uint64_t size() const override { return size_; }
    std::expected<void, BlockError> read(std::uint64_t offset, std::span<std::byte> to) override {
        if (!contains(offset, to.size())) return std::unexpected(BlockError::past_end);
        const std::uint64_t number = offset / 512;
        for (unsigned i = 0; i < 8; ++i) to[i] = static_cast<std::byte>(number >> (8 * i));
        return {};
    }
    std::expected<void, BlockError> write(std::uint64_t offset, std::span<const std::byte> from) override {
        if (!contains(offset, from.size())) return std::unexpected(BlockError::past_end);
        written = offset / 512;
        return {};
    }
    std::optional<std::uint64_t> written;

  private:
    std::uint64_t size_;
};

// A channel as a driver sees it. Its ports are those of the first one.
class ChannelTest : public testing::Test {
  protected:
    enum : std::uint16_t {
        data = 0x1f0,
        features = 0x1f1,
        count = 0x1f2,
        low = 0x1f3,
        mid = 0x1f4,
        high = 0x1f5,
        device = 0x1f6,
        command = 0x1f7,
        control = 0x3f6
    };
    enum : std::uint8_t { BSY = 0x80, DRDY = 0x40, DSC = 0x10, DRQ = 0x08, ERR = 0x01 };
    enum : std::uint8_t { UNC = 0x40, IDNF = 0x10, ABRT = 0x04 };
    static constexpr std::uint8_t ready = DRDY | DSC;

    ChannelTest() { channel.irq().connect(Delegate<void(bool)>::to<&ChannelTest::line>(this)); }
    void line(bool level) {
        if (level) ++interrupts;
    }
    std::uint8_t in(std::uint16_t port) { return static_cast<std::uint8_t>(channel.in(port, 1)); }
    void out(std::uint16_t port, unsigned value) { channel.out(port, 1, value); }
    std::uint8_t alternate() { return in(control); }
    // The status, which acknowledges the interrupt there must have been.
    std::uint8_t interrupted() {
        EXPECT_TRUE(channel.irq().level()) << "an interrupt";
        const std::uint8_t value = in(command);
        EXPECT_FALSE(channel.irq().level()) << "the status acknowledges it";
        return value;
    }
    // The status; there must be no interrupt.
    std::uint8_t quiet() {
        EXPECT_FALSE(channel.irq().level()) << "no interrupt";
        return in(command);
    }
    unsigned address28() {
        return (in(device)&0x0fu) << 24 | static_cast<unsigned>(in(high)) << 16 | static_cast<unsigned>(in(mid)) << 8 |
               in(low);
    }
    std::vector<std::uint16_t> read_words(unsigned n) {
        std::vector<std::uint16_t> words(n);
        for (auto& word : words) word = static_cast<std::uint16_t>(channel.in(data, 2));
        return words;
    }

    AtaChannel channel{0x1f0, 0x3f6};
    int interrupts = 0;
};

// Two characters a word, the first in the upper byte.
inline std::string text(const std::vector<std::uint16_t>& words, unsigned first, unsigned count) {
    std::string found;
    for (unsigned i = first; i < first + count; ++i) {
        found += static_cast<char>(words[i] >> 8);
        found += static_cast<char>(words[i]);
    }
    return found;
}

}  // namespace
}  // namespace bulkhead::guest
