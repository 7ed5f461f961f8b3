// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>

#include "lib/address.hpp"
#include "lib/spinlock.hpp"
#include "mm/budget.hpp"
#include "mm/owner.hpp"
#include "mm/regions.hpp"

namespace bulkhead::mm {

// Guest memory in blocks of 2 MiB. The hypervisor maps none of it: whoever allocates a block scrubs it, through a
// window, before its new owner can reach it. Every CPU may call it.
class BlockAllocator {
  public:
    // Entries that `initialize` needs for these ranges.
    static std::size_t entries_for(std::span<const MemoryRange> ranges);
    // `ranges` are disjoint and aligned to 2 MiB; what goes beyond max_block_regions or `owners` is left out.
    void initialize(std::span<const MemoryRange> ranges, std::span<OwnerId> owners);

    [[nodiscard]] std::expected<HostPhys, OutOfMemory> allocate(OwnerId owner);
    // Giving back what is not an allocated block is a fault of the hypervisor and stops it.
    void release(HostPhys block);
    void release_all(OwnerId owner);

    // In blocks.
    void set_budget(OwnerId owner, std::size_t blocks);
    std::size_t used(OwnerId owner) const;
    std::size_t available() const;
    std::size_t total() const { return owners_.size(); }

    // Who owns the block that holds `address`; nobody for a free one and for memory that is not in blocks.
    OwnerId owner_of(HostPhys address) const;

  private:
    struct Region {
        HostPhys start;
        std::size_t first{};  // index of its first block
        std::size_t count{};
    };
    std::span<const Region> regions() const { return {regions_.data(), region_count_}; }
    HostPhys address_of(std::size_t index) const;
    std::size_t index_of(HostPhys address) const;  // owners_.size() when there is none
    void free_block(std::size_t index);

    mutable SpinLock lock_;
    std::array<Region, max_block_regions> regions_{};
    std::size_t region_count_{};
    std::span<OwnerId> owners_;
    Budgets budgets_;
    std::size_t free_{};
    std::size_t hint_{};  // no block below it is free
};

}  // namespace bulkhead::mm
