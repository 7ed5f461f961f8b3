// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <vector>

#include "guest/block_image.hpp"
#include "guest/block_overlay.hpp"
#include "tests/fuzz/fuzz.hpp"

// A small image with an overlay that runs out of pages.
namespace bulkhead::fuzz {

class Pages final : public guest::BlockPages {
  public:
    Page allocate() override {
        if (bytes_.size() == most) return Page::none;
        bytes_.emplace_back();
        return static_cast<Page>(bytes_.size());
    }
    void read(Page page, std::size_t offset, std::span<std::byte> to) override {
        std::ranges::copy(part(page, offset, to.size()), to.begin());
    }
    void write(Page page, std::size_t offset, std::span<const std::byte> from) override {
        std::ranges::copy(from, part(page, offset, from.size()).begin());
    }

  private:
    static constexpr std::size_t most = 8;
    std::span<std::byte> part(Page page, std::size_t offset, std::size_t size) {
        const auto number = static_cast<std::size_t>(page);
        require(number != 0 && number <= bytes_.size(), "only pages that were given are used");
        require(offset + size <= guest::block_page_size, "an access is within its page");
        return std::span{bytes_[number - 1]}.subspan(offset, size);
    }
    std::vector<std::array<std::byte, guest::block_page_size>> bytes_;
};

// It ends within a sector.
class Store final : public guest::BlockStore {
  public:
    explicit Store(std::size_t size) : bytes_(size) {
        for (std::size_t i = 0; i < size; ++i) bytes_[i] = original(i);
    }
    ~Store() {
        for (std::size_t i = 0; i < bytes_.size(); ++i) require(bytes_[i] == original(i), "an image is never written");
    }
    std::uint64_t size() const override { return overlay_.size(); }
    std::expected<void, guest::BlockError> read(std::uint64_t offset, std::span<std::byte> to) override {
        return overlay_.read(offset, to);
    }
    std::expected<void, guest::BlockError> write(std::uint64_t offset, std::span<const std::byte> from) override {
        return overlay_.write(offset, from);
    }

  private:
    static std::byte original(std::size_t i) { return static_cast<std::byte>(i * 7 + i / 512); }
    std::vector<std::byte> bytes_;
    Pages pages_;
    guest::BlockImage image_{bytes_};
    guest::BlockOverlay overlay_{image_, pages_};
};

}  // namespace bulkhead::fuzz
