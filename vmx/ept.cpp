// SPDX-License-Identifier: Apache-2.0
#include "vmx/ept.hpp"

#include <atomic>
#include <utility>

namespace bulkhead::vmx {

namespace {

// EPT pointer (SDM table 24-9): memory type of the tables, page-walk length less one, accessed and dirty flags.
constexpr std::uint64_t write_back_tables = 6;
constexpr std::uint64_t four_levels = 3 << 3;
constexpr std::uint64_t accessed_and_dirty = 1 << 6;

}  // namespace

std::uint64_t EptTableStore::read(HostPhys slot) const {
    return std::atomic_ref(*pool_->at<std::uint64_t>(slot)).load(std::memory_order_relaxed);
}

// A processor that walks the tables sees a table's entries before it sees the link to the table.
void EptTableStore::write(HostPhys slot, std::uint64_t value) {
    std::atomic_ref(*pool_->at<std::uint64_t>(slot)).store(value, std::memory_order_release);
}

void EptTableStore::free_table(HostPhys table) {
    static_assert(!EptFormat::is_present(page_size), "a frame's address is not a mapping");
    write(table, std::exchange(retired_, table).value);
}

void EptTableStore::release_retired() {
    while (has_retired()) {
        const HostPhys table = std::exchange(retired_, HostPhys{read(retired_)});
        pool_->release(table);
    }
}

std::expected<Ept, mm::OutOfMemory> Ept::create(mm::FramePool& pool, mm::OwnerId owner,
                                                const Capabilities& capabilities) {
    auto table = Table::create(EptTableStore{pool, owner});
    if (!table) return std::unexpected(table.error());
    const std::uint64_t bits =
        write_back_tables | four_levels | (capabilities.ept_accessed_dirty() ? accessed_and_dirty : 0);
    const auto largest = capabilities.ept_1gib_pages() ? mm::PageSize::size_1g
        : capabilities.ept_2mib_pages()                ? mm::PageSize::size_2m
                                                       : mm::PageSize::size_4k;
    return Ept{std::move(*table), bits, largest};
}

// Becoming present needs no invalidation (SDM 28.4.3.1); tables that were linked and taken back do.
Ept::Result Ept::map(GuestPhys guest, HostPhys host, std::uint64_t size, EptAttributes attributes) {
    const auto result = table_.map(guest.value, host, size, attributes, largest_);
    if (!result) history_.changed();
    return result;
}

Ept::Result Ept::remap(GuestPhys guest, HostPhys host, std::uint64_t size, EptAttributes attributes) {
    const auto result = table_.remap(guest.value, host, size, attributes, largest_);
    history_.changed();
    return result;
}

Ept::Result Ept::unmap(GuestPhys guest, std::uint64_t size) {
    const auto result = table_.unmap(guest.value, size);
    history_.changed();
    return result;
}

bool Ept::reclaim() {
    if (!table_.store().has_retired()) return true;
    if (!history_.all_current()) return false;
    table_.store().release_retired();
    return true;
}

void Ept::destroy() {
    table_.destroy();
    table_.store().release_retired();
}

}  // namespace bulkhead::vmx
