// SPDX-License-Identifier: Apache-2.0
#include "boot/trampoline.hpp"

#include <algorithm>

namespace bulkhead::boot {
namespace {

constexpr HostPhys lowest{0x8000};
constexpr HostPhys end_of_conventional_memory{0xa0000};  // a SIPI vector of A0h or above may be reserved

bool overlaps(const mm::MemoryRange& range, HostPhys page) {
    return range.start < page + page_size && page < range.end();
}
bool contains(const mm::MemoryRange& range, HostPhys page) {
    return range.start <= page && page + page_size <= range.end();
}

}  // namespace

std::optional<HostPhys> choose_trampoline(std::span<const mm::MemoryMapEntry> map,
                                          std::span<const mm::MemoryRange> reserved) {
    for (HostPhys page = lowest; page < end_of_conventional_memory; page += page_size) {
        const bool usable = std::ranges::any_of(
            map, [&](const mm::MemoryMapEntry& entry) { return entry.usable && contains(entry.range, page); });
        const bool taken =
            std::ranges::any_of(map, [&](const mm::MemoryMapEntry& entry) {
                return !entry.usable && overlaps(entry.range, page);
            }) ||
            std::ranges::any_of(reserved, [&](const mm::MemoryRange& range) { return overlaps(range, page); });
        if (usable && !taken) return page;
    }
    return std::nullopt;
}

}  // namespace bulkhead::boot
