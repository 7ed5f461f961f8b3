// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <expected>
#include <span>

#include "lib/address.hpp"
#include "mm/early_space.hpp"
#include "mm/frame_pool.hpp"
#include "mm/frame_store.hpp"
#include "mm/host_format.hpp"
#include "mm/page_table.hpp"
#include "mm/regions.hpp"
#include "mm/window.hpp"

namespace bulkhead::mm {

using HostTables = PageTable<HostFormat, FrameStore>;

// The hypervisor's final page tables. One hierarchy holds what all CPUs share: the image, each part with its own
// rights, the pool, the modules, the devices' registers. Each CPU has a root of its own, which links to the shared
// tables and adds the CPU's private variables, stacks and windows. Used by the boot CPU.
class AddressSpace {
  public:
    [[nodiscard]] static std::expected<AddressSpace, MapError> create(FramePool& pool, MemoryRange pool_range);

    // A module, read-only. Its pages are the hypervisor's alone from now on.
    [[nodiscard]] std::expected<std::span<const std::byte>, MapError> map_module(MemoryRange module);
    // A device's registers, uncached; `size` bytes from `registers`, on whatever pages they lie.
    [[nodiscard]] std::expected<volatile void*, MapError> map_mmio(HostPhys registers, std::uint64_t size);

    struct CpuTables {
        HostPhys root;
        WindowTables windows;
    };
    // `frames` holds the CPU's private variables, then its stacks: private_size() bytes.
    [[nodiscard]] std::expected<CpuTables, MapError> create_cpu(HostPhys frames);
    static std::uint64_t private_size();

    // The top-level entry of the image, for an application processor on the way to its own tables.
    std::uint64_t image_link() const { return entry(shared_.root(), 511); }

  private:
    AddressSpace(FramePool& pool, HostTables shared) : pool_(&pool), shared_(std::move(shared)) {}

    std::expected<void, MapError> map_image();
    std::expected<HostPhys, MapError> link_table(HostPhys table, std::size_t index);
    std::uint64_t& entry(HostPhys table, std::size_t index) const { return pool_->at<std::uint64_t>(table)[index]; }

    FramePool* pool_;
    HostTables shared_;
    HostVirt next_module_{};
    HostVirt next_mmio_{};
};

// Takes the tables that `create_cpu` made into use on this CPU, with its protection features: no write to a read-only
// page, no execution and no access of user pages. The CPU's private frames are the ones that it uses already.
void switch_to(const AddressSpace::CpuTables& tables);

}  // namespace bulkhead::mm
