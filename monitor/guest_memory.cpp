// SPDX-License-Identifier: Apache-2.0
#include "monitor/guest_memory.hpp"

#include <algorithm>
#include <cstring>

#include "mm/window.hpp"

namespace bulkhead::monitor {

// Calls visit(pointer, offset, size) for the pieces of the range, none of which crosses a page of the EPT. False when a
// part of it is not RAM.
template <class Visit>
bool GuestMemory::for_each_piece(GuestPhys start, std::uint64_t size, Visit visit) {
    for (std::uint64_t done = 0; done < size;) {
        const GuestPhys at = start + done;
        const auto translation = ept_.lookup(at);
        if (!translation) return false;
        // A window shows no more than a large page.
        const bool large = translation->size != mm::PageSize::size_4k;
        const std::uint64_t span = large ? large_page_size : page_size;
        const std::uint64_t count = std::min(span - at.offset_in(span), size - done);
        const mm::Window window{translation->output, large ? mm::PageSize::size_2m : mm::PageSize::size_4k};
        visit(window.data() + at.offset_in(span), done, count);
        done += count;
    }
    return true;
}

bool GuestMemory::read(GuestPhys from, std::span<std::byte> to) {
    return for_each_piece(from, to.size(), [&](const std::byte* piece, std::uint64_t offset, std::uint64_t size) {
        std::memcpy(to.data() + offset, piece, size);
    });
}

bool GuestMemory::write(GuestPhys to, std::span<const std::byte> from) {
    return for_each_piece(to, from.size(), [&](std::byte* piece, std::uint64_t offset, std::uint64_t size) {
        std::memcpy(piece, from.data() + offset, size);
    });
}

bool GuestMemory::fill(GuestPhys to, std::uint64_t size, std::byte value) {
    return for_each_piece(to, size, [&](std::byte* piece, std::uint64_t, std::uint64_t count) {
        std::memset(piece, static_cast<int>(value), count);
    });
}

}  // namespace bulkhead::monitor
