// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <expected>

#include "mm/frame_pool.hpp"

namespace bulkhead::mm {

// Tables of the page-table engine in the frame pool, on one owner's budget.
class FrameStore {
  public:
    FrameStore(FramePool& pool, OwnerId owner) : pool_(&pool), owner_(owner) {}

    std::expected<HostPhys, OutOfMemory> allocate_table() { return pool_->allocate(owner_); }
    void free_table(HostPhys table) { pool_->release(table); }
    std::uint64_t read(HostPhys slot) const { return entry(slot).load(std::memory_order_relaxed); }
    // A processor that walks the tables sees a table's entries before it sees the link to the table.
    void write(HostPhys slot, std::uint64_t value) { entry(slot).store(value, std::memory_order_release); }

  private:
    std::atomic_ref<std::uint64_t> entry(HostPhys slot) const {
        return std::atomic_ref(*pool_->at<std::uint64_t>(slot));
    }

    FramePool* pool_;
    OwnerId owner_;
};

}  // namespace bulkhead::mm
