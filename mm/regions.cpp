// SPDX-License-Identifier: Apache-2.0
#include "mm/regions.hpp"

#include <algorithm>
#include <optional>

namespace bulkhead::mm {
namespace {

struct Span {
    std::uint64_t begin{};
    std::uint64_t end{};

    bool holds(std::uint64_t at) const { return begin <= at && at < end; }
};

// Walks the memory that is usable and not taken, upwards. Quadratic in the number of entries, which is small.
class FreeMemory {
  public:
    FreeMemory(std::span<const MemoryMapEntry> map, std::span<const MemoryRange> reserved, unsigned address_bits)
        : map_(map), reserved_(reserved), limit_(1ull << std::min(address_bits, 52u)) {}

    void take(MemoryRange range) { taken_ = outward(range); }

    // The lowest free run whose last byte is at or above `at`.
    std::optional<Span> next(std::uint64_t at) const {
        for (;;) {
            const auto begin = first_usable(at);
            if (!begin) return std::nullopt;
            if (const auto free_again = end_of_taken(*begin)) {
                at = *free_again;
                continue;
            }
            std::uint64_t end = *begin;
            while (const auto further = end_of_usable(end)) end = *further;
            return Span{*begin, std::min(end, next_taken(*begin))};
        }
    }

    // The same, shrunk to whole 2-MiB blocks.
    std::optional<Span> next_blocks(std::uint64_t at) const {
        while (const auto run = next(at)) {
            const Span blocks{HostPhys{run->begin}.align_up(large_page_size).value,
                              HostPhys{run->end}.align_down(large_page_size).value};
            if (blocks.begin < blocks.end) return blocks;
            at = run->end;
        }
        return std::nullopt;
    }

  private:
    std::uint64_t clipped_end(MemoryRange range) const {
        const std::uint64_t end = range.start.value + range.size;
        return end < range.start.value ? limit_ : std::min(end, limit_);  // an entry may wrap around
    }
    Span inward(MemoryRange range) const {
        const std::uint64_t begin = range.start.value > limit_ ? limit_ : range.start.value;
        return {HostPhys{begin}.align_up(page_size).value, HostPhys{clipped_end(range)}.align_down(page_size).value};
    }
    Span outward(MemoryRange range) const {
        if (range.size == 0) return {};
        return {range.start.align_down(page_size).value, HostPhys{clipped_end(range)}.align_up(page_size).value};
    }

    std::optional<std::uint64_t> first_usable(std::uint64_t at) const {
        std::optional<std::uint64_t> first;
        for (const MemoryMapEntry& entry : map_) {
            const Span span = inward(entry.range);
            if (!entry.usable || span.begin >= span.end || span.end <= at) continue;
            const std::uint64_t begin = std::max(span.begin, at);
            first = std::min(first.value_or(begin), begin);
        }
        return first;
    }
    // The end of a usable entry that holds `at`.
    std::optional<std::uint64_t> end_of_usable(std::uint64_t at) const {
        for (const MemoryMapEntry& entry : map_)
            if (const Span span = inward(entry.range); entry.usable && span.holds(at)) return span.end;
        return std::nullopt;
    }

    // Calls visit(span) for all that is taken.
    template <class Visit>
    void each_taken(Visit visit) const {
        visit(Span{0, mib});
        visit(taken_);
        for (const MemoryRange& range : reserved_) visit(outward(range));
        for (const MemoryMapEntry& entry : map_)
            if (!entry.usable) visit(outward(entry.range));
    }
    std::optional<std::uint64_t> end_of_taken(std::uint64_t at) const {
        std::optional<std::uint64_t> end;
        each_taken([&](Span span) {
            if (span.holds(at)) end = span.end;
        });
        return end;
    }
    std::uint64_t next_taken(std::uint64_t at) const {
        std::uint64_t next = limit_;
        each_taken([&](Span span) {
            if (span.begin > at && span.begin < span.end) next = std::min(next, span.begin);
        });
        return next;
    }

    std::span<const MemoryMapEntry> map_;
    std::span<const MemoryRange> reserved_;
    std::uint64_t limit_;
    Span taken_;
};

struct Sizes {
    std::uint64_t usable{};
    std::uint64_t largest_run{};
};

Sizes measure(const FreeMemory& memory) {
    Sizes sizes;
    for (auto run = memory.next(0); run; run = memory.next(run->end)) sizes.usable += run->end - run->begin;
    for (auto run = memory.next_blocks(0); run; run = memory.next_blocks(run->end))
        sizes.largest_run = std::max(sizes.largest_run, run->end - run->begin);
    return sizes;
}

// The lowest place: high memory stays whole.
std::optional<MemoryRange> place(const FreeMemory& memory, std::uint64_t size) {
    for (auto run = memory.next_blocks(0); run; run = memory.next_blocks(run->end))
        if (run->end - run->begin >= size) return MemoryRange{HostPhys{run->begin}, size};
    return std::nullopt;
}

}  // namespace

std::expected<MemoryLayout, TooLittleMemory> choose_layout(std::span<const MemoryMapEntry> map,
                                                           std::span<const MemoryRange> reserved, unsigned address_bits,
                                                           const LayoutPolicy& policy) {
    FreeMemory memory(map, reserved, address_bits);
    const Sizes sizes = measure(memory);
    const auto refusal = std::unexpected(TooLittleMemory{
        sizes.usable, sizes.largest_run, policy.minimum_pool + policy.minimum_blocks, policy.minimum_pool});

    const std::uint64_t wanted =
        std::clamp(HostPhys{sizes.usable / policy.pool_fraction}.align_up(large_page_size).value, policy.minimum_pool,
                   policy.maximum_pool);
    const auto pool = place(memory, std::clamp(sizes.largest_run, policy.minimum_pool, wanted));
    if (!pool) return refusal;
    memory.take(*pool);

    MemoryLayout layout{.pool = *pool};
    for (auto run = memory.next_blocks(0); run; run = memory.next_blocks(run->end)) {
        if (layout.block_regions == max_block_regions) break;
        layout.blocks[layout.block_regions++] = {HostPhys{run->begin}, run->end - run->begin};
        layout.block_bytes += run->end - run->begin;
    }
    if (layout.block_bytes < policy.minimum_blocks) return refusal;
    return layout;
}

}  // namespace bulkhead::mm
