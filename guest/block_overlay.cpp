// SPDX-License-Identifier: Apache-2.0
#include "guest/block_overlay.hpp"

#include <algorithm>
#include <utility>

namespace bulkhead::guest {

namespace {

// The part of a range that lies in the page of its first byte.
std::size_t part_in_page(std::uint64_t offset, std::size_t length) {
    return std::min<std::size_t>(length, block_page_size - offset % block_page_size);
}

}  // namespace

std::uint64_t BlockOverlay::most_pages(std::uint64_t size) {
    std::uint64_t level = (std::min(size, max_size) + block_page_size - 1) / block_page_size, all = level;
    for (unsigned i = 0; i < levels; ++i) {
        level = (level + entries - 1) / entries;
        all += level;
    }
    return all;
}

std::size_t BlockOverlay::index(std::uint64_t number, unsigned level) {
    constexpr unsigned bits = 9;
    return number >> (level * bits) & (entries - 1);
}

BlockPages::Page BlockOverlay::entry(Page table, std::size_t index) const {
    Page below{};
    pages_.read(table, index * sizeof below, std::as_writable_bytes(std::span{&below, 1}));
    return below;
}

void BlockOverlay::link(Page table, std::size_t index, Page below) {
    pages_.write(table, index * sizeof below, std::as_bytes(std::span{&below, 1}));
}

BlockPages::Page BlockOverlay::find(std::uint64_t number) const {
    Page at = root_;
    for (unsigned level = levels; at != Page::none && level-- > 0;) at = entry(at, index(number, level));
    return at;
}

std::expected<BlockPages::Page, BlockError> BlockOverlay::table() {
    const Page fresh = pages_.allocate();
    if (fresh == Page::none) return std::unexpected(BlockError::no_memory);
    return fresh;
}

// A copy that failed is overwritten by the next one.
std::expected<BlockPages::Page, BlockError> BlockOverlay::copy_of(std::uint64_t number) {
    if (spare_ == Page::none) spare_ = pages_.allocate();
    if (spare_ == Page::none) return std::unexpected(BlockError::no_memory);
    std::array<std::byte, 512> part;  // of a page: no more of it is on the stack
    const std::uint64_t start = number * block_page_size;
    const std::size_t length = std::min<std::uint64_t>(block_page_size, size() - start);
    for (std::size_t at = 0; at < length; at += part.size()) {
        const auto bytes = std::span{part}.first(std::min(part.size(), length - at));
        if (const auto filled = base_.read(start + at, bytes); !filled) return std::unexpected(filled.error());
        pages_.write(spare_, at, bytes);
    }
    return std::exchange(spare_, Page::none);
}

// Tables that were linked before memory ran out stay: they hold nothing, and the next write may need them.
std::expected<BlockPages::Page, BlockError> BlockOverlay::obtain(std::uint64_t number) {
    if (root_ == Page::none) {
        const auto fresh = table();
        if (!fresh) return fresh;
        root_ = *fresh;
    }
    Page at = root_;
    for (unsigned level = levels; level-- > 0;) {
        const std::size_t i = index(number, level);
        if (Page below = entry(at, i); below != Page::none) {
            at = below;
            continue;
        }
        const auto fresh = level == 0 ? copy_of(number) : table();
        if (!fresh) return fresh;
        link(at, i, *fresh);
        at = *fresh;
    }
    return at;
}

std::expected<void, BlockError> BlockOverlay::read(std::uint64_t offset, std::span<std::byte> to) {
    if (!contains(offset, to.size())) return std::unexpected(BlockError::past_end);
    while (!to.empty()) {
        const std::size_t length = part_in_page(offset, to.size());
        if (const Page copy = find(offset / block_page_size); copy != Page::none) {
            pages_.read(copy, offset % block_page_size, to.first(length));
        } else if (const auto done = base_.read(offset, to.first(length)); !done) {
            return done;
        }
        offset += length;
        to = to.subspan(length);
    }
    return {};
}

std::expected<void, BlockError> BlockOverlay::write(std::uint64_t offset, std::span<const std::byte> from) {
    if (!contains(offset, from.size())) return std::unexpected(BlockError::past_end);
    while (!from.empty()) {
        const std::size_t length = part_in_page(offset, from.size());
        const auto copy = obtain(offset / block_page_size);
        if (!copy) return std::unexpected(copy.error());
        pages_.write(*copy, offset % block_page_size, from.first(length));
        offset += length;
        from = from.subspan(length);
    }
    return {};
}

}  // namespace bulkhead::guest
