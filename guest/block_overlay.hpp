// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "guest/block.hpp"

namespace bulkhead::guest {

inline constexpr std::size_t block_page_size = 4096;

// Where a store keeps what is written, and who pays for it: pages of block_page_size bytes that are reached by copying.
// They are taken back all at once by whoever gives them, when the store is gone.
class BlockPages {
  public:
    // The name of a page.
    enum class Page : std::uint64_t { none };

    // A page of zeroes; none when there is none to be had.
    virtual Page allocate() = 0;
    // Within one page.
    virtual void read(Page page, std::size_t offset, std::span<std::byte> to) = 0;
    virtual void write(Page page, std::size_t offset, std::span<const std::byte> from) = 0;

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

    // How many pages are enough for whatever is written to a base of `size` bytes.
    static std::uint64_t most_pages(std::uint64_t size);

    std::uint64_t size() const override { return base_.size() < max_size ? base_.size() : max_size; }
    std::expected<void, BlockError> read(std::uint64_t offset, std::span<std::byte> to) override;
    std::expected<void, BlockError> write(std::uint64_t offset, std::span<const std::byte> from) override;

  private:
    using Page = BlockPages::Page;
    static constexpr unsigned levels = 3;
    static constexpr std::size_t entries = block_page_size / sizeof(Page);

    static std::size_t index(std::uint64_t number, unsigned level);
    Page entry(Page table, std::size_t index) const;
    void link(Page table, std::size_t index, Page below);
    std::expected<Page, BlockError> table();
    // The copy of the page of this number; none when it was not written.
    Page find(std::uint64_t number) const;
    std::expected<Page, BlockError> obtain(std::uint64_t number);
    std::expected<Page, BlockError> copy_of(std::uint64_t number);

    BlockStore& base_;
    BlockPages& pages_;
    Page root_{};
    Page spare_{};  // of a copy that failed
};

}  // namespace bulkhead::guest
