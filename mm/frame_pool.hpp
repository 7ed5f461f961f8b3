// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>

#include "lib/address.hpp"
#include "lib/spinlock.hpp"
#include "mm/budget.hpp"
#include "mm/owner.hpp"

namespace bulkhead::mm {

// The hypervisor's own 4-KiB frames: page tables, VMCSs, EPT tables, VM objects. One contiguous region that is mapped
// for ever; its first frames hold the owner of each frame. Every CPU may call it.
class FramePool {
  public:
    // `memory` is where the region that begins at `base` is mapped. What it contains does not matter.
    void initialize(HostPhys base, std::span<std::byte> memory);

    // Frames that follow each other, zeroed.
    [[nodiscard]] std::expected<HostPhys, OutOfMemory> allocate(OwnerId owner, std::size_t count = 1);
    // Giving back what is not allocated, or not to one owner, is a fault of the hypervisor and stops it.
    void release(HostPhys first, std::size_t count = 1);
    void release_all(OwnerId owner);

    void set_budget(OwnerId owner, std::size_t frames);
    std::size_t used(OwnerId owner) const;
    std::size_t available() const;
    std::size_t total() const { return owners_.size(); }

    bool contains(HostPhys address) const { return address >= base_ && address - base_ < memory_.size(); }
    // `address` is in the pool.
    template <class T>
    T* at(HostPhys address) const {
        return reinterpret_cast<T*>(memory_.data() + (address - base_));
    }
    // `pointer` came from `at`.
    HostPhys phys(const void* pointer) const {
        return base_ + static_cast<std::uint64_t>(static_cast<const std::byte*>(pointer) - memory_.data());
    }

  private:
    std::size_t find_run(std::size_t count) const;
    void mark(std::size_t first, std::size_t count, OwnerId owner);
    void free_frame(std::size_t index);

    mutable SpinLock lock_;
    HostPhys base_;
    std::span<std::byte> memory_;
    std::span<OwnerId> owners_;
    Budgets budgets_;
    std::size_t free_{};
    std::size_t hint_{};  // no frame below it is free
};

}  // namespace bulkhead::mm
