// SPDX-License-Identifier: Apache-2.0
#include "guest/placement.hpp"

namespace bulkhead::guest {
namespace {

constexpr GuestPhys base_memory_end{1 * mib};

constexpr std::uint64_t whole_pages(std::uint64_t size) {
    return (size + page_size - 1) & ~(page_size - 1);
}

}  // namespace

bool is_usable(std::span<const E820Entry> map, const Range& wanted) {
    bool found = false;
    each_usable(map, GuestPhys{0}, [&](const Range& range) { found |= range.contains(wanted); });
    return found;
}

std::uint64_t largest_usable(std::span<const E820Entry> map) {
    std::uint64_t largest = 0;
    each_usable(map, GuestPhys{1 * mib}, [&](const Range& range) { largest = std::max(largest, range.size()); });
    return largest;
}

bool Footprint::add(const Range& part) {
    if (count_ == parts_.size()) return false;
    parts_[count_++] = part;
    return true;
}

bool Footprint::overlaps(const Range& range) const {
    return std::ranges::any_of(std::span{parts_}.first(count_), [&](const Range& p) { return p.overlaps(range); });
}

GuestPhys Footprint::end() const {
    GuestPhys end{};
    for (const Range& part : std::span{parts_}.first(count_)) end = std::max(end, part.end);
    return end;
}

std::optional<Range> Footprint::take(const Range& range) {
    if (!add(range)) return std::nullopt;
    return range;
}

std::optional<Range> Footprint::place_above(GuestPhys floor, std::uint64_t size, std::span<const E820Entry> map) {
    if (size > placement_limit.value) return std::nullopt;
    std::optional<Range> place;
    each_usable(map, floor, [&](const Range& range) {
        // The free places begin where the range does, and where something that is taken ends.
        const auto look = [&](GuestPhys first) {
            first = first.align_up(page_size);
            const Range wanted{first, first + whole_pages(size)};
            if (range.contains(wanted) && !overlaps(wanted) && (!place || wanted.first < place->first)) place = wanted;
        };
        look(range.first);
        for (const Range& part : std::span{parts_}.first(count_)) look(part.end);
    });
    return place ? take(*place) : std::nullopt;
}

std::optional<Range> Footprint::place_low(std::uint64_t size, std::span<const E820Entry> map) {
    if (size > placement_limit.value) return std::nullopt;
    std::optional<Range> place;
    each_usable(map, GuestPhys{page_size}, [&](Range range) {
        range.end = std::min(range.end, base_memory_end);
        const auto look = [&](GuestPhys end) {
            if (end < range.first || end - range.first < whole_pages(size)) return;
            const GuestPhys first = (end - whole_pages(size)).align_down(page_size);
            const Range wanted{first, first + whole_pages(size)};
            if (range.contains(wanted) && !overlaps(wanted) && (!place || first > place->first)) place = wanted;
        };
        look(range.end);
        for (const Range& part : std::span{parts_}.first(count_)) look(std::min(part.first, range.end));
    });
    return place ? take(*place) : place_above(base_memory_end, size, map);
}

std::expected<void, LoadError> load_modules(std::span<const BootModule> modules, std::span<const E820Entry> map,
                                            Memory& memory, Footprint& taken, std::span<Range> places) {
    if (modules.size() > places.size()) return load_error("there are more than {} modules", places.size());
    GuestPhys floor = std::max(taken.end(), base_memory_end);
    for (std::size_t i = 0; i < modules.size(); ++i) {
        const auto data = modules[i].data;
        const auto place = taken.place_above(floor, data.size(), map);
        if (!place)
            return load_error("not enough memory: module {} of {} KiB does not fit behind the kernel", i + 1,
                              (data.size() + kib - 1) / kib);
        if (!memory.write(place->first, data))
            return load_error("the memory map names memory that the guest does not have");
        places[i] = {place->first, place->first + data.size()};
        floor = place->end;
    }
    return {};
}

GuestPhys BlockWriter::append(std::span<const std::byte> bytes) {
    next_ = next_.align_up(alignment);
    const GuestPhys at = next_;
    put(bytes);
    return at;
}

GuestPhys BlockWriter::append_text(std::string_view text) {
    const GuestPhys at = append(std::as_bytes(std::span{text}));
    put(std::array{std::byte{}});
    return at;
}

void BlockWriter::put(std::span<const std::byte> bytes) {
    good_ = good_ && next_ <= end_ && bytes.size() <= end_ - next_ && memory_.write(next_, bytes);
    next_ += bytes.size();
}

}  // namespace bulkhead::guest
