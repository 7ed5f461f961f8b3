// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "lib/address.hpp"
#include "mm/address_space.hpp"
#include "mm/block_allocator.hpp"
#include "monitor/handover.hpp"

namespace bulkhead::boot {

// The APIC IDs of the CPUs that run, by their index; the boot CPU's is the first.
struct RunningCpus {
    std::array<std::uint32_t, monitor::max_cpus> apic_id_storage{};
    std::size_t count{};

    std::span<const std::uint32_t> apic_ids() const { return {apic_id_storage.data(), count}; }
};

struct SmpResources {
    mm::AddressSpace& space;
    mm::BlockAllocator& blocks;
    HostPhys trampoline;  // a free page below 1 MiB
};

// Starts the CPUs with these APIC IDs, one after the other, but the one that calls. Each gets its own page tables,
// variables, stacks and descriptor tables, turns its local APIC on and calls `main`. One that does not answer in time
// is logged and left out.
void start_cpus(std::span<const std::uint32_t> apic_ids, const SmpResources& resources, void (*main)(),
                RunningCpus& running);

}  // namespace bulkhead::boot
