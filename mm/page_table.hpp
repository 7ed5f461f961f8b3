// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <concepts>
#include <cstdint>
#include <expected>
#include <optional>
#include <utility>

#include "lib/address.hpp"
#include "mm/owner.hpp"

// One engine for every hierarchy of 512-entry tables: the host's IA-32e tables (SDM volume 3, 4.5) and EPT (28.3).
//
// Levels count from the leaves: 0 holds 4-KiB pages, 1 may hold 2-MiB pages, 2 may hold 1-GiB pages, 3 is the root.
namespace bulkhead::mm {

enum class PageSize : std::uint8_t { size_4k, size_2m, size_1g };  // the level that holds such a leaf

constexpr std::uint64_t bytes_in(PageSize size) {
    return page_size << (9 * static_cast<unsigned>(size));
}

enum class MapError : std::uint8_t {
    misaligned,     // an address or the size is not a multiple of 4 KiB, or the size is zero
    out_of_range,   // the format cannot express the input or the output range
    not_permitted,  // the format refuses these attributes
    overlapping,    // a part of the range is mapped already
    out_of_memory,  // no frame for a table
};

template <class Attributes>
struct Translation {
    HostPhys output;  // of the very byte that was asked for
    PageSize size{};  // of the page that holds it
    Attributes attributes{};

    friend constexpr bool operator==(const Translation&, const Translation&) = default;
};

// What an entry looks like. `piece` is the leaf, one level below, that translates the index-th 512th of `leaf` exactly
// as `leaf` did (accessed and dirty bits included, where the format keeps them).
template <class F>
concept PageTableFormat = std::equality_comparable<typename F::Attributes> &&
    requires(std::uint64_t entry, HostPhys address, typename F::Attributes attributes, PageSize size, unsigned level) {
    { F::covers_input(entry, entry) } -> std::same_as<bool>;       // first and last address of a range
    { F::covers_output(address, address) } -> std::same_as<bool>;  // likewise
    { F::permits(attributes) } -> std::same_as<bool>;
    { F::is_present(entry) } -> std::same_as<bool>;
    { F::is_leaf(entry, level) } -> std::same_as<bool>;  // of a present entry
    { F::leaf(address, attributes, size) } -> std::same_as<std::uint64_t>;
    { F::table(address) } -> std::same_as<std::uint64_t>;
    { F::piece(entry, size, level) } -> std::same_as<std::uint64_t>;  // (leaf, its size, index)
    { F::output(entry, size) } -> std::same_as<HostPhys>;
    { F::table_address(entry) } -> std::same_as<HostPhys>;
    { F::attributes(entry, size) } -> std::same_as<typename F::Attributes>;
};

// Where tables live. `write` is one 64-bit store, and stores become visible in program order. `free_table` is called
// after the entry that led to the table is gone; a store whose tables are in use by another processor keeps the frame
// until that processor has invalidated its paging-structure caches (SDM volume 3, 4.10.2.2 and 28.4.3.1).
template <class S>
concept PageTableStore = requires(S& store, HostPhys address, std::uint64_t value) {
    { store.allocate_table() } -> std::same_as<std::expected<HostPhys, OutOfMemory>>;  // zeroed
    store.free_table(address);
    { store.read(address) } -> std::same_as<std::uint64_t>;
    store.write(address, value);
};

// A processor may walk the tables while they change: every single write takes each address from its old translation to
// its new one or leaves it as it was. Invalidating cached translations is the caller's part. Not synchronised between
// writers.
template <PageTableFormat Format, PageTableStore Store>
class PageTable {
  public:
    using Attributes = typename Format::Attributes;
    using Result = std::expected<void, MapError>;

    static std::expected<PageTable, OutOfMemory> create(Store store) {
        const auto root = store.allocate_table();
        if (!root) return std::unexpected(root.error());
        return PageTable(std::move(store), *root);
    }
    // Takes over a hierarchy that exists.
    PageTable(Store store, HostPhys root) : store_(std::move(store)), root_(root) {}

    PageTable(PageTable&&) = default;
    PageTable& operator=(PageTable&&) = default;
    PageTable(const PageTable&) = delete;
    PageTable& operator=(const PageTable&) = delete;

    HostPhys root() const { return root_; }
    Store& store() { return store_; }

    // Maps a range of which nothing is mapped yet, with the largest pages that alignment and `largest` allow. After an
    // error everything is as before, frames included.
    [[nodiscard]] Result map(std::uint64_t input, HostPhys output, std::uint64_t size, Attributes attributes,
                             PageSize largest = PageSize::size_2m) {
        return put(input, output, size, attributes, largest, false);
    }

    // As `map`, whatever is there: each page goes from its old translation to the new one. After an error every
    // address translates as before, though large pages on the range's edges may be split.
    [[nodiscard]] Result remap(std::uint64_t input, HostPhys output, std::uint64_t size, Attributes attributes,
                               PageSize largest = PageSize::size_2m) {
        return put(input, output, size, attributes, largest, true);
    }

    // Unmaps what is mapped of the range and frees the tables that become empty. Splitting a large page on the range's
    // edge takes memory; after an error every address translates as before, though such pages may be split.
    [[nodiscard]] Result unmap(std::uint64_t input, std::uint64_t size) {
        const auto range = checked(input, size);
        if (!range) return std::unexpected(range.error());
        if (!split_edges(root_, root_level, *range)) return std::unexpected(MapError::out_of_memory);
        clear(root_, root_level, *range);
        return {};
    }

    std::optional<Translation<Attributes>> lookup(std::uint64_t input) {
        if (!Format::covers_input(input, input)) return std::nullopt;
        HostPhys table = root_;
        for (unsigned level = root_level;; --level) {
            const std::uint64_t entry = store_.read(slot_of(table, input, level));
            if (!Format::is_present(entry)) return std::nullopt;
            if (is_leaf(entry, level)) {
                const auto size = static_cast<PageSize>(level);
                return Translation<Attributes>{Format::output(entry, size) + (input & (span(level) - 1)), size,
                                               Format::attributes(entry, size)};
            }
            table = Format::table_address(entry);
        }
    }

    // Frees every table, the root too. Nothing may use the hierarchy any more, this object included.
    void destroy() { free_subtree(std::exchange(root_, HostPhys{}), root_level); }

  private:
    static constexpr unsigned root_level = 3;
    static constexpr unsigned entries = 512;

    struct Range {
        std::uint64_t first{};
        std::uint64_t last{};  // inclusive: a range may end at the top of the address space
    };
    struct Mapping {
        Range range;
        HostPhys output;
        Attributes attributes;
        unsigned largest;  // level

        HostPhys output_at(std::uint64_t input) const { return output + (input - range.first); }
    };

    static constexpr std::uint64_t span(unsigned level) { return page_size << (9 * level); }
    static constexpr HostPhys slot_of(HostPhys table, std::uint64_t input, unsigned level) {
        return table + 8 * (input / span(level) % entries);
    }
    static constexpr bool is_whole(Range part, unsigned level) { return part.last - part.first == span(level) - 1; }
    // Level 0 has nothing but leaves.
    static constexpr bool is_leaf(std::uint64_t entry, unsigned level) {
        return level == 0 || (level < root_level && Format::is_leaf(entry, level));
    }
    static constexpr bool is_table(std::uint64_t entry, unsigned level) {
        return Format::is_present(entry) && !is_leaf(entry, level);
    }

    // Calls visit(slot, part of the range under that slot) until it says false; says whether it never did.
    template <class Visit>
    static bool each_slot(HostPhys table, unsigned level, Range range, Visit visit) {
        for (std::uint64_t at = range.first;;) {
            const Range part{at, std::min(at | (span(level) - 1), range.last)};
            if (!visit(slot_of(table, at, level), part)) return false;
            if (part.last == range.last) return true;
            at = part.last + 1;
        }
    }

    static std::expected<Range, MapError> checked(std::uint64_t input, std::uint64_t size) {
        if (size == 0 || (input | size) % page_size != 0) return std::unexpected(MapError::misaligned);
        const Range range{input, input + (size - 1)};
        if (range.last < range.first || !Format::covers_input(range.first, range.last))
            return std::unexpected(MapError::out_of_range);
        return range;
    }

    Result put(std::uint64_t input, HostPhys output, std::uint64_t size, Attributes attributes, PageSize largest,
               bool replace) {
        const auto range = checked(input, size);
        if (!range) return std::unexpected(range.error());
        if (!output.is_aligned(page_size)) return std::unexpected(MapError::misaligned);
        const HostPhys last = output + (size - 1);
        if (last < output || !Format::covers_output(output, last)) return std::unexpected(MapError::out_of_range);
        if (!Format::permits(attributes)) return std::unexpected(MapError::not_permitted);
        if (!replace && !is_free(root_, root_level, *range)) return std::unexpected(MapError::overlapping);

        // All that can fail first, and none of it changes a translation.
        const Mapping mapping{*range, output, attributes, static_cast<unsigned>(largest)};
        if (!reserve(root_, root_level, mapping, *range)) {
            prune(root_, root_level, *range);
            return std::unexpected(MapError::out_of_memory);
        }
        write_leaves(root_, root_level, mapping, *range);
        return {};
    }

    static bool fits_leaf(const Mapping& mapping, unsigned level, Range part) {
        return level <= mapping.largest && is_whole(part, level) &&
               mapping.output_at(part.first).is_aligned(span(level));
    }

    bool is_free(HostPhys table, unsigned level, Range range) {
        return each_slot(table, level, range, [&](HostPhys slot, Range part) {
            const std::uint64_t entry = store_.read(slot);
            if (!Format::is_present(entry)) return true;
            return !is_leaf(entry, level) && is_free(Format::table_address(entry), level - 1, part);
        });
    }

    // Makes the tables that `mapping` needs, splitting the large pages that stand in the way.
    bool reserve(HostPhys table, unsigned level, const Mapping& mapping, Range range) {
        return each_slot(table, level, range, [&](HostPhys slot, Range part) {
            if (fits_leaf(mapping, level, part)) return true;
            const auto child = table_under(slot, level);
            return child && reserve(*child, level - 1, mapping, part);
        });
    }

    void write_leaves(HostPhys table, unsigned level, const Mapping& mapping, Range range) {
        each_slot(table, level, range, [&](HostPhys slot, Range part) {
            const std::uint64_t old = store_.read(slot);
            if (!fits_leaf(mapping, level, part)) {
                write_leaves(Format::table_address(old), level - 1, mapping, part);
                return true;
            }
            store_.write(slot,
                         Format::leaf(mapping.output_at(part.first), mapping.attributes, static_cast<PageSize>(level)));
            if (is_table(old, level)) free_subtree(Format::table_address(old), level - 1);
            return true;
        });
    }

    bool split_edges(HostPhys table, unsigned level, Range range) {
        return each_slot(table, level, range, [&](HostPhys slot, Range part) {
            if (is_whole(part, level) || !Format::is_present(store_.read(slot))) return true;
            const auto child = table_under(slot, level);
            return child && split_edges(*child, level - 1, part);
        });
    }

    void clear(HostPhys table, unsigned level, Range range) {
        each_slot(table, level, range, [&](HostPhys slot, Range part) {
            const std::uint64_t old = store_.read(slot);
            if (is_whole(part, level)) {
                if (Format::is_present(old)) store_.write(slot, 0);
                if (is_table(old, level)) free_subtree(Format::table_address(old), level - 1);
            } else if (Format::is_present(old)) {
                clear(Format::table_address(old), level - 1, part);
                drop_if_empty(slot, Format::table_address(old));
            }
            return true;
        });
    }

    // Takes away the empty tables that a `reserve` which ran out of memory left in the range.
    void prune(HostPhys table, unsigned level, Range range) {
        each_slot(table, level, range, [&](HostPhys slot, Range part) {
            const std::uint64_t entry = store_.read(slot);
            if (!is_table(entry, level)) return true;
            prune(Format::table_address(entry), level - 1, part);
            drop_if_empty(slot, Format::table_address(entry));
            return true;
        });
    }

    std::expected<HostPhys, OutOfMemory> table_under(HostPhys slot, unsigned level) {
        const std::uint64_t entry = store_.read(slot);
        if (is_table(entry, level)) return Format::table_address(entry);
        const auto table = store_.allocate_table();
        if (!table) return table;
        // Complete before it is linked, so that a split shows the same translations before and after that one write.
        if (Format::is_present(entry))
            for (unsigned i = 0; i < entries; ++i)
                store_.write(*table + 8 * i, Format::piece(entry, static_cast<PageSize>(level), i));
        store_.write(slot, Format::table(*table));
        return table;
    }

    void drop_if_empty(HostPhys slot, HostPhys table) {
        for (unsigned i = 0; i < entries; ++i)
            if (Format::is_present(store_.read(table + 8 * i))) return;
        store_.write(slot, 0);
        store_.free_table(table);
    }

    void free_subtree(HostPhys table, unsigned level) {
        for (unsigned i = 0; level > 0 && i < entries; ++i)
            if (const std::uint64_t entry = store_.read(table + 8 * i); is_table(entry, level))
                free_subtree(Format::table_address(entry), level - 1);
        store_.free_table(table);
    }

    Store store_;
    HostPhys root_;
};

}  // namespace bulkhead::mm
