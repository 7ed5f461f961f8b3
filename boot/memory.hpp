// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <span>

#include "boot/boot_info.hpp"
#include "mm/address_space.hpp"
#include "mm/block_allocator.hpp"
#include "mm/frame_pool.hpp"
#include "mm/regions.hpp"
#include "monitor/handover.hpp"

// The memory part of the boot order. Each step refuses the machine when it cannot be done.
namespace bulkhead::boot {

struct Memory {
    mm::MemoryLayout layout;
    mm::FramePool* pool{};
    mm::BlockAllocator* blocks{};

    std::array<mm::MemoryRange, max_modules + 1> reserved_storage{};  // the image, the modules
    std::size_t reserved_count{};
    std::array<monitor::Module, max_modules> module_storage{};
    std::size_t module_count{};

    std::span<const mm::MemoryRange> reserved() const { return std::span(reserved_storage).first(reserved_count); }
    std::span<const monitor::Module> modules() const { return std::span(module_storage).first(module_count); }
};

// Copies the loader's information to where it stays, and parses it.
void read_boot_info(HostPhys address, BootInfo& info);
// Chooses the frame pool and the guests' blocks, and starts both allocators.
Memory& divide_memory(const BootInfo& info);
// Builds the final page tables and takes them into use.
mm::AddressSpace& build_address_space(Memory& memory);
void map_modules(const BootInfo& info, mm::AddressSpace& space, Memory& memory);

volatile void* map_registers(mm::AddressSpace& space, HostPhys registers, std::uint64_t size);

}  // namespace bulkhead::boot
