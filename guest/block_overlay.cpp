// SPDX-License-Identifier: Apache-2.0
#include "guest/block_overlay.hpp"

#include <algorithm>
#include <new>

namespace bulkhead::guest {

namespace {

// The part of a range that lies in the page of its first byte.
std::size_t part_in_page(std::uint64_t offset, std::size_t length) {
    return std::min<std::size_t>(length, block_page_size - offset % block_page_size);
}

}  // namespace

std::size_t BlockOverlay::index(std::uint64_t page, unsigned level) {
    constexpr unsigned bits = 9;
    return page >> (level * bits) & (entries - 1);
}

std::byte* BlockOverlay::find(std::uint64_t page) const {
    std::byte* at = root_;
    for (unsigned level = levels; at && level-- > 0;) at = table(at)->entry[index(page, level)];
    return at;
}

std::expected<std::byte*, BlockError> BlockOverlay::copy_of(std::uint64_t page) {
    std::byte* const copy = pages_.allocate();
    if (!copy) return std::unexpected(BlockError::no_memory);
    const std::uint64_t offset = page * block_page_size;
    const std::size_t length = std::min<std::uint64_t>(block_page_size, size() - offset);
    if (const auto filled = base_.read(offset, {copy, length}); !filled) {
        pages_.release(copy);
        return std::unexpected(filled.error());
    }
    return copy;
}

// Tables that were linked before memory ran out stay: they hold nothing, and the next write may need them.
std::expected<std::byte*, BlockError> BlockOverlay::obtain(std::uint64_t page) {
    std::byte** link = &root_;
    for (unsigned level = levels; level-- > 0;) {
        if (!*link) {
            std::byte* const fresh = pages_.allocate();
            if (!fresh) return std::unexpected(BlockError::no_memory);
            new (fresh) Table;
            *link = fresh;
        }
        link = &table(*link)->entry[index(page, level)];
    }
    if (*link) return *link;
    const auto copy = copy_of(page);
    if (copy) *link = *copy;
    return copy;
}

std::expected<void, BlockError> BlockOverlay::read(std::uint64_t offset, std::span<std::byte> to) {
    if (!contains(offset, to.size())) return std::unexpected(BlockError::past_end);
    while (!to.empty()) {
        const std::size_t length = part_in_page(offset, to.size());
        if (const std::byte* const copy = find(offset / block_page_size)) {
            std::copy_n(copy + offset % block_page_size, length, to.data());
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
        std::copy_n(from.data(), length, *copy + offset % block_page_size);
        offset += length;
        from = from.subspan(length);
    }
    return {};
}

void BlockOverlay::release(std::byte* page, unsigned level) {
    if (!page) return;
    if (level > 0) {
        for (std::byte* const below : table(page)->entry) release(below, level - 1);
    }
    pages_.release(page);
}

void BlockOverlay::discard() {
    release(root_, levels);
    root_ = nullptr;
}

}  // namespace bulkhead::guest
