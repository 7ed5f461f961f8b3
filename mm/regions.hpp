// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>

#include "lib/address.hpp"

namespace bulkhead::mm {

struct MemoryRange {
    HostPhys start;
    std::uint64_t size{};

    constexpr HostPhys end() const { return start + size; }
    friend constexpr bool operator==(const MemoryRange&, const MemoryRange&) = default;
};

// An entry of the firmware's memory map. Entries may overlap: what one calls unusable is not used.
struct MemoryMapEntry {
    MemoryRange range;
    bool usable{};
};

inline constexpr std::size_t max_block_regions = 64;

// How the machine's memory is divided. All of it is aligned to 2 MiB.
struct MemoryLayout {
    MemoryRange pool;  // the frame pool
    std::array<MemoryRange, max_block_regions> blocks{};
    std::size_t block_regions{};
    std::uint64_t block_bytes{};

    std::span<const MemoryRange> block_ranges() const { return {blocks.data(), block_regions}; }
};

struct LayoutPolicy {
    std::uint64_t minimum_pool{16 * mib};
    std::uint64_t maximum_pool{512 * mib};
    // Of the usable memory. EPT tables alone take 1/512 of a guest whose pages are all split to 4 KiB.
    std::uint64_t pool_fraction{64};
    std::uint64_t minimum_blocks{32 * mib};
};

struct TooLittleMemory {
    std::uint64_t usable{};       // bytes that are neither reserved nor in the first MiB
    std::uint64_t largest_run{};  // that follow each other, aligned to 2 MiB
    std::uint64_t needed{};       // bytes in all; the pool's part of it in one run
    std::uint64_t needed_run{};
};

// `reserved` is what the boot loader put into usable memory: the image, the modules, the boot information. The first
// MiB (BIOS data, the APs' trampoline) is left alone. `address_bits` is the processor's physical-address width.
std::expected<MemoryLayout, TooLittleMemory> choose_layout(std::span<const MemoryMapEntry> map,
                                                           std::span<const MemoryRange> reserved, unsigned address_bits,
                                                           const LayoutPolicy& policy = {});

}  // namespace bulkhead::mm
