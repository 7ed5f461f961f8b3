// SPDX-License-Identifier: Apache-2.0
#include "boot/memory.hpp"

#include <optional>

#include "arch/cpu/image.hpp"
#include "boot/physical.hpp"
#include "boot/refuse.hpp"

namespace bulkhead::boot {
namespace {

// With a UEFI memory map and the ELF section headers in it, the structure has some ten KiB.
alignas(8) constinit std::array<std::byte, 64 * kib> boot_information;

constinit mm::FramePool pool;
constinit mm::BlockAllocator blocks;
constinit Memory memory;
constinit std::optional<mm::AddressSpace> address_space;

void reserve(mm::MemoryRange range) { memory.reserved_storage[memory.reserved_count++] = range; }

void start_allocators() {
    pool.initialize(memory.layout.pool.start, mm::map_early_pool(memory.layout.pool));
    memory.pool = &pool;

    const std::size_t entries = mm::BlockAllocator::entries_for(memory.layout.block_ranges());
    const std::uint64_t bytes = HostPhys{entries * sizeof(mm::OwnerId)}.align_up(page_size).value;
    const auto frames = pool.allocate(mm::OwnerId::hypervisor, bytes / page_size);
    if (!frames) panic("no memory for the list of {} blocks", entries);
    blocks.initialize(memory.layout.block_ranges(), {pool.at<mm::OwnerId>(*frames), entries});
    memory.blocks = &blocks;
}

}  // namespace

void read_boot_info(HostPhys address, BootInfo& info) {
    std::array<std::byte, 8> header;
    if (!copy_from_physical(address, header)) refuse("the boot loader's information is not in memory.");
    const std::uint32_t size = boot_info_size(header);
    if (size > boot_information.size())
        refuse("the boot loader's information has {} bytes, {} at most are expected.", size, boot_information.size());
    const std::span<std::byte> copy = std::span(boot_information).first(size);
    if (!copy_from_physical(address, copy)) refuse("the boot loader's information is not in memory.");
    if (const auto parsed = parse_boot_info(copy, info); !parsed)
        refuse("the boot loader's information is damaged: {}.", describe(parsed.error()));
}

Memory& divide_memory(const BootInfo& info) {
    const cpu::image::Part image = cpu::image::whole();
    reserve({image.phys(), image.size()});
    for (const BootModule& module : info.modules()) reserve(module.range);
    const auto layout = mm::choose_layout(info.memory_map(), memory.reserved(), physical_address_bits());
    if (!layout) {
        const mm::TooLittleMemory& e = layout.error();
        refuse("{} MiB of memory are free, {} MiB of them in one piece, and {} MiB are needed, {} MiB of them in one "
               "piece: give the machine more memory.",
               e.usable / mib, e.largest_run / mib, e.needed / mib, e.needed_run / mib);
    }
    memory.layout = *layout;
    start_allocators();
    return memory;
}

mm::AddressSpace& build_address_space(Memory& m) {
    auto space = mm::AddressSpace::create(*m.pool, m.layout.pool);
    if (!space) panic("the hypervisor's page tables cannot be built");
    address_space.emplace(std::move(*space));
    const auto tables = address_space->create_cpu(cpu::image::boot_private().phys());
    if (!tables) panic("the boot CPU's page tables cannot be built");
    mm::switch_to(*tables);
    return *address_space;
}

void map_modules(const BootInfo& info, mm::AddressSpace& space, Memory& m) {
    for (const BootModule& module : info.modules()) {
        const auto data = space.map_module(module.range);
        if (!data) refuse("there is no memory to map the module {}.", module.string);
        m.module_storage[m.module_count++] = {module.string, *data};
    }
}

volatile void* map_registers(mm::AddressSpace& space, HostPhys registers, std::uint64_t size) {
    const auto mapped = space.map_mmio(registers, size);
    if (!mapped) panic("the registers at {} cannot be mapped", registers);
    return *mapped;
}

}  // namespace bulkhead::boot
