// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "lib/address.hpp"
#include "mm/frame_pool.hpp"

namespace bulkhead::boot {

// MAXPHYADDR (CPUID leaf 80000008h).
unsigned physical_address_bits();

// Copies from physical memory through windows. False when a part of it lies beyond what the processor can address.
[[nodiscard]] bool copy_from_physical(HostPhys start, std::span<std::byte> to);
void zero_physical(HostPhys page, std::uint64_t size);

// Firmware tables, one at a time, in frames that are given back in the end.
class TableReader {
  public:
    explicit TableReader(mm::FramePool& pool);
    ~TableReader();
    TableReader(const TableReader&) = delete;
    TableReader& operator=(const TableReader&) = delete;

    // Valid until the next call. Empty when the table is out of reach or unreasonably large.
    std::span<const std::byte> read(HostPhys start, std::uint64_t size);

  private:
    mm::FramePool& pool_;
    HostPhys frames_;
    std::span<std::byte> buffer_;
};

}  // namespace bulkhead::boot
