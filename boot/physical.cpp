// SPDX-License-Identifier: Apache-2.0
#include "boot/physical.hpp"

#include <algorithm>
#include <cstring>

#include "arch/cpu/instructions.hpp"
#include "mm/window.hpp"

namespace bulkhead::boot {
namespace {

// A DSDT of a large machine has some hundred KiB.
constexpr std::uint64_t largest_table = 1 * mib;

}  // namespace

unsigned physical_address_bits() {
    constexpr std::uint32_t leaf = 0x80000008;
    return cpu::cpuid(0x80000000).eax >= leaf ? cpu::cpuid(leaf).eax & 0xff : 36;
}

bool copy_from_physical(HostPhys start, std::span<std::byte> to) {
    const std::uint64_t limit = 1ull << physical_address_bits();
    if (start.value >= limit || to.size() > limit - start.value) return false;
    while (!to.empty()) {
        const std::uint64_t offset = start.offset_in(page_size);
        const std::uint64_t part = std::min<std::uint64_t>(page_size - offset, to.size());
        const mm::Window window{start};
        std::memcpy(to.data(), window.data() + offset, part);
        start += part;
        to = to.subspan(part);
    }
    return true;
}

void zero_physical(HostPhys page, std::uint64_t size) {
    for (std::uint64_t at = 0; at < size; at += page_size) {
        const mm::Window window{page + at};
        std::memset(window.data(), 0, page_size);
    }
}

TableReader::TableReader(mm::FramePool& pool) : pool_(pool) {
    const auto frames = pool.allocate(mm::OwnerId::hypervisor, largest_table / page_size);
    if (!frames) return;
    frames_ = *frames;
    buffer_ = {pool.at<std::byte>(frames_), largest_table};
}

TableReader::~TableReader() {
    if (!buffer_.empty()) pool_.release(frames_, largest_table / page_size);
}

std::span<const std::byte> TableReader::read(HostPhys start, std::uint64_t size) {
    if (size > buffer_.size()) return {};
    const std::span<std::byte> table = buffer_.first(size);
    if (!copy_from_physical(start, table)) return {};
    return table;
}

}  // namespace bulkhead::boot
