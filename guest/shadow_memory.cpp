// SPDX-License-Identifier: Apache-2.0
#include "guest/shadow_memory.hpp"

#include <algorithm>
#include <cstring>

namespace bulkhead::guest {
namespace {

std::uint64_t read_image(std::span<const std::byte> image, std::uint64_t offset, unsigned size) {
    std::uint64_t value = ~0ull;
    if (offset <= image.size() && size <= image.size() - offset) std::memcpy(&value, image.data() + offset, size);
    return value;
}

}  // namespace

ShadowMemory::ShadowMemory(Memory& ram, std::span<const std::byte> rom, AddressMap& map)
    : ram_(ram), rom_(rom), map_(map) {
    for (unsigned segment = 0; segment < segments; ++segment) show(segment);
}

unsigned ShadowMemory::segment_of(std::uint64_t offset) {
    return static_cast<unsigned>(std::min<std::uint64_t>(offset / small, segments - 1));
}

std::uint64_t ShadowMemory::rom_offset(std::uint64_t offset) const {
    const std::uint64_t from_end = size - offset;
    return from_end <= std::min<std::uint64_t>(rom_window, rom_.size()) ? rom_.size() - from_end : rom_.size();
}

void ShadowMemory::set(unsigned segment, Access access) {
    access_[segment] = access;
    show(segment);
}

// A processor cannot be given memory that it writes and does not read: such writes come here one by one.
void ShadowMemory::show(unsigned segment) {
    const Access access = access_[segment];
    const std::uint64_t offset = segment * small, in_rom = rom_offset(offset);
    const Backing unread = in_rom < rom_.size() ? Backing::rom : Backing::nothing;
    const Backing read = access.write ? Backing::ram : Backing::ram_to_read;
    map_.back(base + offset, size_of(segment), access.read ? read : unread, in_rom);
}

std::uint64_t ShadowMemory::read(std::uint64_t offset, unsigned bytes) {
    if (!access_[segment_of(offset)].read) return read_image(rom_, rom_offset(offset), bytes);
    std::uint64_t value = 0;
    return ram_.read(base + offset, std::as_writable_bytes(std::span{&value, 1}).first(bytes)) ? value : ~0ull;
}

void ShadowMemory::write(std::uint64_t offset, unsigned bytes, std::uint64_t value) {
    if (access_[segment_of(offset)].write)
        static_cast<void>(ram_.write(base + offset, std::as_bytes(std::span{&value, 1}).first(bytes)));
}

std::uint64_t Rom::read(std::uint64_t offset, unsigned size) { return read_image(image_, offset, size); }

}  // namespace bulkhead::guest
