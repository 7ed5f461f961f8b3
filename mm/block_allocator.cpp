// SPDX-License-Identifier: Apache-2.0
#include "mm/block_allocator.hpp"

#include <algorithm>

#include "lib/log.hpp"

namespace bulkhead::mm {

std::size_t BlockAllocator::entries_for(std::span<const MemoryRange> ranges) {
    std::size_t blocks = 0;
    for (const MemoryRange& range : ranges) blocks += range.size / large_page_size;
    return blocks;
}

void BlockAllocator::initialize(std::span<const MemoryRange> ranges, std::span<OwnerId> owners) {
    std::size_t blocks = 0;
    region_count_ = 0;
    for (const MemoryRange& range : ranges.first(std::min(ranges.size(), max_block_regions))) {
        const std::size_t count = std::min(range.size / large_page_size, owners.size() - blocks);
        regions_[region_count_++] = {range.start, blocks, count};
        blocks += count;
    }
    owners_ = owners.first(blocks);
    std::ranges::fill(owners_, OwnerId::nobody);
    free_ = blocks;
    hint_ = 0;
    budgets_ = {};
}

std::expected<HostPhys, OutOfMemory> BlockAllocator::allocate(OwnerId owner) {
    const LockGuard guard(lock_);
    if (free_ == 0) return std::unexpected(OutOfMemory::exhausted);
    if (!budgets_.charge(owner, 1)) return std::unexpected(OutOfMemory::over_budget);
    while (owners_[hint_] != OwnerId::nobody) ++hint_;
    owners_[hint_] = owner;
    --free_;
    return address_of(hint_++);
}

void BlockAllocator::release(HostPhys block) {
    const LockGuard guard(lock_);
    const std::size_t index = index_of(block);
    if (!block.is_aligned(large_page_size) || index == owners_.size() || owners_[index] == OwnerId::nobody)
        panic("block allocator: release of {}, which is not an allocated block", block);
    free_block(index);
}

void BlockAllocator::release_all(OwnerId owner) {
    if (owner == OwnerId::nobody) return;
    const LockGuard guard(lock_);
    for (std::size_t i = 0; i < owners_.size() && budgets_.used(owner) > 0; ++i)
        if (owners_[i] == owner) free_block(i);
}

void BlockAllocator::set_budget(OwnerId owner, std::size_t blocks) {
    const LockGuard guard(lock_);
    budgets_.set(owner, blocks);
}

std::size_t BlockAllocator::used(OwnerId owner) const {
    const LockGuard guard(lock_);
    return budgets_.used(owner);
}

std::size_t BlockAllocator::available() const {
    const LockGuard guard(lock_);
    return free_;
}

OwnerId BlockAllocator::owner_of(HostPhys address) const {
    const LockGuard guard(lock_);
    const std::size_t index = index_of(address);
    return index == owners_.size() ? OwnerId::nobody : owners_[index];
}

HostPhys BlockAllocator::address_of(std::size_t index) const {
    for (const Region& region : regions())
        if (index - region.first < region.count) return region.start + (index - region.first) * large_page_size;
    panic("block allocator: no block {}", index);
}

std::size_t BlockAllocator::index_of(HostPhys address) const {
    for (const Region& region : regions())
        if (address >= region.start && (address - region.start) / large_page_size < region.count)
            return region.first + (address - region.start) / large_page_size;
    return owners_.size();
}

void BlockAllocator::free_block(std::size_t index) {
    budgets_.refund(owners_[index], 1);
    owners_[index] = OwnerId::nobody;
    ++free_;
    hint_ = std::min(hint_, index);
}

}  // namespace bulkhead::mm
