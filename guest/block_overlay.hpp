// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "guest/block.hpp"

namespace bulkhead::guest {

inline constexpr std::size_t block_page_size = 4096;

// Where a store's memory comes from, and who pays for it.
class BlockPages {
  public:
    // A page of block_page_size bytes, aligned to it, with undefined contents; null when there is none to be had.
    virtual std::byte* allocate() = 0;
    virtual void release(std::byte* page) = 0;

  protected:
    ~BlockPages() = default;
};

// A store that is written without its base being touched: a page that is written is copied first, and read from the
// copy from then on. A tree of pages finds the copies, as page tables do; it grows with what is written.
class BlockOverlay final : public BlockStore {
  public:
    static constexpr std::uint64_t max_size = 512ull << 30;  // what three levels of 512 entries reach

    // `base` and `pages` outlive the overlay. Of a base beyond max_size the rest is not seen.
    BlockOverlay(BlockStore& base, BlockPages& pages) : base_(base), pages_(pages) {}
    BlockOverlay(const BlockOverlay&) = delete;
    BlockOverlay& operator=(const BlockOverlay&) = delete;
    ~BlockOverlay() { discard(); }

    std::uint64_t size() const override { return base_.size() < max_size ? base_.size() : max_size; }
    std::expected<void, BlockError> read(std::uint64_t offset, std::span<std::byte> to) override;
    std::expected<void, BlockError> write(std::uint64_t offset, std::span<const std::byte> from) override;

    // Forgets what was written and gives its memory back.
    void discard();

  private:
    static constexpr unsigned levels = 3;
    static constexpr std::size_t entries = block_page_size / sizeof(void*);
    struct Table {
        std::array<std::byte*, entries> entry{};
    };
    static_assert(sizeof(Table) == block_page_size);

    static std::size_t index(std::uint64_t page, unsigned level);
    static Table* table(std::byte* page) { return reinterpret_cast<Table*>(page); }
    std::byte* find(std::uint64_t page) const;  // null when it was not written
    std::expected<std::byte*, BlockError> obtain(std::uint64_t page);
    std::expected<std::byte*, BlockError> copy_of(std::uint64_t page);
    void release(std::byte* page, unsigned level);

    BlockStore& base_;
    BlockPages& pages_;
    std::byte* root_{};
};

}  // namespace bulkhead::guest
