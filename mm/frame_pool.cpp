// SPDX-License-Identifier: Apache-2.0
#include "mm/frame_pool.hpp"

#include <algorithm>

#include "lib/log.hpp"

namespace bulkhead::mm {

void FramePool::initialize(HostPhys base, std::span<std::byte> memory) {
    base_ = base;
    memory_ = memory.first(memory.size() / page_size * page_size);
    const std::size_t frames = memory_.size() / page_size;
    owners_ = {reinterpret_cast<OwnerId*>(memory_.data()), frames};
    std::ranges::fill(owners_, OwnerId::nobody);
    free_ = frames;
    hint_ = 0;
    budgets_ = {};

    const std::size_t table_frames = (owners_.size_bytes() + page_size - 1) / page_size;
    if (table_frames > 0 && budgets_.charge(OwnerId::hypervisor, table_frames))
        mark(0, table_frames, OwnerId::hypervisor);
}

std::expected<HostPhys, OutOfMemory> FramePool::allocate(OwnerId owner, std::size_t count) {
    std::size_t first;
    {
        const LockGuard guard(lock_);
        if (count == 0 || count > free_) return std::unexpected(OutOfMemory::exhausted);
        if (!budgets_.charge(owner, count)) return std::unexpected(OutOfMemory::over_budget);
        first = find_run(count);
        if (first == owners_.size()) {
            budgets_.refund(owner, count);
            return std::unexpected(OutOfMemory::exhausted);
        }
        mark(first, count, owner);
    }
    // The frames are the caller's now: clearing them needs no lock.
    std::ranges::fill(memory_.subspan(first * page_size, count * page_size), std::byte{});
    return base_ + first * page_size;
}

void FramePool::release(HostPhys first, std::size_t count) {
    const LockGuard guard(lock_);
    const std::size_t index = contains(first) ? (first - base_) / page_size : owners_.size();
    if (!first.is_aligned(page_size) || count > owners_.size() - index || index == owners_.size())
        panic("frame pool: release of {} frames at {}, which are not in it", count, first);
    for (std::size_t i = index; i < index + count; ++i) {
        if (owners_[i] == OwnerId::nobody || owners_[i] != owners_[index])
            panic("frame pool: release of the frame at {}, which is not allocated", base_ + i * page_size);
    }
    for (std::size_t i = index; i < index + count; ++i) free_frame(i);
}

void FramePool::release_all(OwnerId owner) {
    // The hypervisor owns the table of owners itself.
    if (owner == OwnerId::nobody || owner == OwnerId::hypervisor) panic("frame pool: not an owner that can end");
    const LockGuard guard(lock_);
    for (std::size_t i = 0; i < owners_.size() && budgets_.used(owner) > 0; ++i)
        if (owners_[i] == owner) free_frame(i);
}

void FramePool::set_budget(OwnerId owner, std::size_t frames) {
    const LockGuard guard(lock_);
    budgets_.set(owner, frames);
}

std::size_t FramePool::used(OwnerId owner) const {
    const LockGuard guard(lock_);
    return budgets_.used(owner);
}

std::size_t FramePool::available() const {
    const LockGuard guard(lock_);
    return free_;
}

// First fit. The index past the last frame when there is no such run.
std::size_t FramePool::find_run(std::size_t count) const {
    std::size_t length = 0;
    for (std::size_t i = hint_; i < owners_.size(); ++i) {
        length = owners_[i] == OwnerId::nobody ? length + 1 : 0;
        if (length == count) return i + 1 - count;
    }
    return owners_.size();
}

void FramePool::mark(std::size_t first, std::size_t count, OwnerId owner) {
    std::ranges::fill(owners_.subspan(first, count), owner);
    free_ -= count;
    // A run can begin above free frames that are too few for it; a single frame is always the lowest free one.
    if (first == hint_ || count == 1) hint_ = first + count;
}

void FramePool::free_frame(std::size_t index) {
    budgets_.refund(owners_[index], 1);
    owners_[index] = OwnerId::nobody;
    ++free_;
    hint_ = std::min(hint_, index);
}

}  // namespace bulkhead::mm
