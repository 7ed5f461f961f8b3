// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <expected>
#include <optional>
#include <span>
#include <string_view>

#include "guest/e820.hpp"
#include "guest/load_error.hpp"
#include "guest/memory.hpp"
#include "lib/address.hpp"

// What the loaders share: where in a guest's memory things may go, and how what goes beside a kernel is written there.
namespace bulkhead::guest {

// Guest-physical addresses from `first` up to, and not with, `end`.
struct Range {
    GuestPhys first{}, end{};

    constexpr std::uint64_t size() const { return end - first; }
    constexpr bool contains(const Range& other) const { return other.first >= first && other.end <= end; }
    constexpr bool overlaps(const Range& other) const { return first < other.end && other.first < end; }
};

// A file that a kernel is handed beside itself, and the string that goes with it.
struct BootModule {
    std::span<const std::byte> data;
    std::string_view string;
};

// The loaders reach what 32-bit code reaches.
inline constexpr GuestPhys placement_limit{4 * gib};

// Visits the usable ranges of a map, in its order, as far as they lie from `floor` to 4 GiB.
template <class Visit>
void each_usable(std::span<const E820Entry> map, GuestPhys floor, Visit visit) {
    for (const E820Entry& entry : map) {
        if (entry.type != E820Type::usable) continue;
        const Range range{std::max(entry.first, floor), std::min(entry.end(), placement_limit)};
        if (range.first < range.end) visit(range);
    }
}

// Whether one usable range of the map holds all of it.
bool is_usable(std::span<const E820Entry> map, const Range& wanted);
// The size of the largest usable range from 1 MiB on.
std::uint64_t largest_usable(std::span<const E820Entry> map);

// The places that are taken already.
class Footprint {
  public:
    static constexpr std::size_t max_parts = 64;

    // False when there are too many.
    [[nodiscard]] bool add(const Range& part);
    bool overlaps(const Range& range) const;
    GuestPhys end() const;

    // The lowest free place of whole pages from `floor` on; what is placed is taken. Nothing when no usable range has
    // room.
    std::optional<Range> place_above(GuestPhys floor, std::uint64_t size, std::span<const E820Entry> map);
    // The highest free place of whole pages in base memory, above its first page; if it has none, the lowest above 1
    // MiB.
    std::optional<Range> place_low(std::uint64_t size, std::span<const E820Entry> map);

  private:
    std::optional<Range> take(const Range& range);

    std::array<Range, max_parts> parts_{};
    std::size_t count_{};
};

// Puts each module into whole pages behind the kernel, in order, and its place into `places`.
std::expected<void, LoadError> load_modules(std::span<const BootModule> modules, std::span<const E820Entry> map,
                                            Memory& memory, Footprint& taken, std::span<Range> places);

// Writes one thing after the other into a place, and says where each went.
class BlockWriter {
  public:
    BlockWriter(Memory& memory, const Range& place) : memory_(memory), next_(place.first), end_(place.end) {}

    // 8-byte aligned.
    GuestPhys append(std::span<const std::byte> bytes);
    // With a zero behind it.
    GuestPhys append_text(std::string_view text);
    template <class T>
    requires std::is_trivially_copyable_v<T> GuestPhys append_value(const T& value) {
        return append(std::as_bytes(std::span{&value, 1}));
    }
    // False when something did not fit or was not RAM.
    bool good() const { return good_; }

    // How much room `append` takes at most.
    static constexpr std::uint64_t room(std::uint64_t size) { return size + alignment; }
    static constexpr std::uint64_t room(std::string_view text) { return room(text.size() + 1); }

  private:
    static constexpr std::uint64_t alignment = 8;
    void put(std::span<const std::byte> bytes);

    Memory& memory_;
    GuestPhys next_;
    const GuestPhys end_;
    bool good_{true};
};

}  // namespace bulkhead::guest
