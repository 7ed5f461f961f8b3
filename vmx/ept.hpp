// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <expected>
#include <optional>

#include "lib/address.hpp"
#include "mm/frame_pool.hpp"
#include "mm/page_table.hpp"
#include "vmx/capabilities.hpp"
#include "vmx/ept_format.hpp"
#include "vmx/translation.hpp"

namespace bulkhead::vmx {

// Tables in the frame pool that are not given back at once: a CPU may still walk a table that the hierarchy has let go
// of (SDM 28.4.2, EPT paging-structure caches). They wait in a list that runs through their own first entries, where an
// address reads as "not present".
class EptTableStore {
  public:
    EptTableStore(mm::FramePool& pool, mm::OwnerId owner) : pool_(&pool), owner_(owner) {}

    std::expected<HostPhys, mm::OutOfMemory> allocate_table() { return pool_->allocate(owner_); }
    void free_table(HostPhys table);
    std::uint64_t read(HostPhys slot) const;
    void write(HostPhys slot, std::uint64_t value);

    bool has_retired() const { return retired_ != HostPhys{}; }
    void release_retired();

  private:
    mm::FramePool* pool_;
    mm::OwnerId owner_;
    HostPhys retired_;
};

// One guest's physical memory: the extended page tables of all its vCPUs. Not synchronised between writers; CPUs may
// run on it while it changes.
class Ept {
  public:
    using Result = std::expected<void, mm::MapError>;
    using Translation = mm::Translation<EptAttributes>;

    // All tables come from `pool` on `owner`'s budget.
    [[nodiscard]] static std::expected<Ept, mm::OutOfMemory> create(mm::FramePool& pool, mm::OwnerId owner,
                                                                    const Capabilities& capabilities);

    // Write-back RAM that the guest may read, write and execute, with the largest pages that fit.
    [[nodiscard]] Result map_ram(GuestPhys guest, HostPhys host, std::uint64_t size) {
        return map(guest, host, size, ept::ram);
    }
    // Nothing of the range is mapped yet.
    [[nodiscard]] Result map(GuestPhys guest, HostPhys host, std::uint64_t size, EptAttributes attributes);
    // Whatever is there. Old translations live on in CPUs until they have invalidated: see `history`.
    [[nodiscard]] Result remap(GuestPhys guest, HostPhys host, std::uint64_t size, EptAttributes attributes);
    [[nodiscard]] Result unmap(GuestPhys guest, std::uint64_t size);
    [[nodiscard]] std::optional<Translation> lookup(GuestPhys guest) { return table_.lookup(guest.value); }

    HostPhys root() const { return table_.root(); }
    // For the VMCS (SDM table 24-9).
    std::uint64_t pointer() const { return table_.root().value | pointer_bits_; }

    EptHistory& history() { return history_; }
    // Gives back the tables that unmap and remap let go of, if no CPU can be walking them any more.
    bool reclaim();
    // Frees all tables. No CPU runs a guest on it, nor will.
    void destroy();

  private:
    using Table = mm::PageTable<EptFormat, EptTableStore>;
    Ept(Table table, std::uint64_t pointer_bits, mm::PageSize largest)
        : table_(std::move(table)), pointer_bits_(pointer_bits), largest_(largest) {}

    Table table_;
    std::uint64_t pointer_bits_;
    mm::PageSize largest_;
    EptHistory history_;
};

}  // namespace bulkhead::vmx
