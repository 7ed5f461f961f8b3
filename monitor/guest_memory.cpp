// SPDX-License-Identifier: Apache-2.0
#include "monitor/guest_memory.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>

#include "arch/cpu/percpu.hpp"
#include "lib/log.hpp"
#include "mm/window.hpp"

namespace bulkhead::monitor {
namespace {

struct Reached {
    const GuestMemory* memory{};
    GuestPhys block{};
    mm::BlockWindow window{};
};
// By the block's number. A walk of a guest's page tables and its operands lie in few blocks.
BULKHEAD_PER_CPU constinit std::array<Reached, 8> reached{};

Reached& place_of(GuestPhys block) { return reached[block.value / large_page_size % reached.size()]; }

// An instruction's operand or a page-table entry: shorter than a call, and so is what the compiler makes of it.
template <class To, class From>
void copy(To* to, From* from, std::uint64_t size) {
    if (size == 8)
        std::memcpy(to, from, 8);
    else if (size == 4)
        std::memcpy(to, from, 4);
    else
        std::memcpy(to, from, size);
}

}  // namespace

std::byte* GuestMemory::reach(GuestPhys at) {
    const GuestPhys block = at.align_down(large_page_size);
    const Reached& place = place_of(block);
    std::byte* const data = place.memory == this && place.block == block ? place.window.data() : open(block);
    return data == nullptr ? nullptr : data + at.offset_in(large_page_size);
}

std::byte* GuestMemory::open(GuestPhys block) {
    const auto translation = ept_.lookup(block);
    // A block of which a part is not as the guest's other RAM begins with RAM.
    if (!translation || !translation->attributes.writable) return nullptr;
    Reached& place = place_of(block);
    place.window.open(translation->output);
    place.memory = this;
    place.block = block;
    return place.window.data();
}

void GuestMemory::close_windows() {
    for (Reached& place : reached) {
        place.window.close();
        place.memory = nullptr;
    }
}

// Calls visit(pointer, offset, size) for the pieces of the range, each in one block. False when a part of it is not
// RAM.
template <class Visit>
bool GuestMemory::for_each_piece(GuestPhys start, std::uint64_t size, Visit visit) {
    for (std::uint64_t done = 0; done < size;) {
        const GuestPhys at = start + done;
        std::byte* const piece = reach(at);
        if (piece == nullptr) return false;
        const std::uint64_t count = std::min(large_page_size - at.offset_in(large_page_size), size - done);
        visit(piece, done, count);
        done += count;
    }
    return true;
}

bool GuestMemory::read(GuestPhys from, std::span<std::byte> to) {
    return for_each_piece(from, to.size(), [&](const std::byte* piece, std::uint64_t offset, std::uint64_t size) {
        copy(to.data() + offset, piece, size);
    });
}

bool GuestMemory::write(GuestPhys to, std::span<const std::byte> from) {
    return for_each_piece(to, from.size(), [&](std::byte* piece, std::uint64_t offset, std::uint64_t size) {
        copy(piece, from.data() + offset, size);
    });
}

bool GuestMemory::fill(GuestPhys to, std::uint64_t size, std::byte value) {
    return for_each_piece(to, size, [&](std::byte* piece, std::uint64_t, std::uint64_t count) {
        std::memset(piece, static_cast<int>(value), count);
    });
}

std::optional<std::uint64_t> GuestMemory::word(GuestPhys at, unsigned size) {
    std::byte* const place = reach(at);
    if (place == nullptr) return std::nullopt;
    const auto load = [&]<class Word>(Word& from) { return std::atomic_ref(from).load(std::memory_order_relaxed); };
    return size == 8 ? load(*reinterpret_cast<std::uint64_t*>(place)) : load(*reinterpret_cast<std::uint32_t*>(place));
}

bool GuestMemory::compare_exchange(GuestPhys at, std::uint64_t expected, std::uint64_t desired, unsigned size) {
    std::byte* const place = reach(at);
    if (place == nullptr) return false;
    const auto exchange = [&]<class Word>(Word before) {
        return std::atomic_ref(*reinterpret_cast<Word*>(place))
            .compare_exchange_strong(before, static_cast<Word>(desired));
    };
    return size == 8 ? exchange(expected) : exchange(static_cast<std::uint32_t>(expected));
}

}  // namespace bulkhead::monitor
