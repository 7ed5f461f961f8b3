// SPDX-License-Identifier: Apache-2.0
#include "mm/address_space.hpp"

#include "arch/cpu/image.hpp"
#include "arch/cpu/instructions.hpp"
#include "arch/cpu/layout.hpp"

namespace bulkhead::mm {
namespace {

namespace layout = cpu::layout;
namespace image = cpu::image;

constexpr std::size_t slot(HostVirt address, unsigned level) { return address.value >> (12 + 9 * level) & 511; }
constexpr unsigned pml4 = 3, pdpt = 2, directory = 1;

// What is mapped at run time gets its top-level entry at once, so that every CPU's root has it.
constexpr HostVirt growing_regions[] = {layout::modules_base, layout::mmio_base};

static_assert(slot(layout::image_base, pml4) == slot(layout::private_base, pml4));
static_assert(slot(layout::image_base, pdpt) != slot(layout::private_base, pdpt));

}  // namespace

std::expected<AddressSpace, MapError> AddressSpace::create(FramePool& pool, MemoryRange pool_range) {
    auto tables = HostTables::create(FrameStore{pool, OwnerId::hypervisor});
    if (!tables) return std::unexpected(MapError::out_of_memory);
    AddressSpace space{pool, std::move(*tables)};
    space.next_module_ = layout::modules_base;
    space.next_mmio_ = layout::mmio_base;

    for (HostVirt region : growing_regions)
        if (auto table = space.link_table(space.shared_.root(), slot(region, pml4)); !table)
            return std::unexpected(table.error());
    if (auto ok = space.map_image(); !ok) return std::unexpected(ok.error());
    if (auto ok = space.shared_.map(layout::pool_base.value, pool_range.start, pool_range.size, host::data); !ok)
        return std::unexpected(ok.error());
    return space;
}

std::expected<void, MapError> AddressSpace::map_image() {
    const struct {
        image::Part part;
        HostAttributes rights;
    } parts[] = {
        {image::text(), host::code},
        {image::rodata(), host::constants},
        {image::data(), host::data},
    };
    for (const auto& [part, rights] : parts)
        if (auto ok = shared_.map(part.start.value, part.phys(), part.size(), rights); !ok) return ok;
    return {};
}

std::expected<HostPhys, MapError> AddressSpace::link_table(HostPhys table, std::size_t index) {
    const auto child = shared_.store().allocate_table();
    if (!child) return std::unexpected(MapError::out_of_memory);
    entry(table, index) = HostFormat::table(*child);
    return *child;
}

std::expected<std::span<const std::byte>, MapError> AddressSpace::map_module(MemoryRange module) {
    if (module.size == 0) return std::span<const std::byte>{};
    // At the same offset in a large page as in physical memory, so that large pages can be used; and a page that is
    // not mapped stays behind each module.
    const HostPhys first = module.start.align_down(page_size);
    const HostPhys end = module.end().align_up(page_size);
    const HostVirt at = next_module_.align_up(large_page_size) + first.offset_in(large_page_size);
    if (auto ok = shared_.map(at.value, first, end - first, host::constants); !ok) return std::unexpected(ok.error());
    next_module_ = at + (end - first) + page_size;
    const HostVirt start = at + (module.start - first);
    return std::span{reinterpret_cast<const std::byte*>(start.value), module.size};
}

std::expected<volatile void*, MapError> AddressSpace::map_mmio(HostPhys registers, std::uint64_t size) {
    const HostPhys first = registers.align_down(page_size);
    const HostPhys end = (registers + size).align_up(page_size);
    const HostVirt at = next_mmio_;
    if (auto ok = shared_.map(at.value, first, end - first, host::device, PageSize::size_4k); !ok)
        return std::unexpected(ok.error());
    next_mmio_ = at + (end - first) + page_size;
    return reinterpret_cast<volatile void*>((at + (registers - first)).value);
}

std::uint64_t AddressSpace::private_size() { return image::boot_private().size(); }

std::expected<AddressSpace::CpuTables, MapError> AddressSpace::create_cpu(HostPhys frames) {
    auto tables = HostTables::create(FrameStore{*pool_, OwnerId::hypervisor});
    if (!tables) return std::unexpected(MapError::out_of_memory);
    const HostPhys root = tables->root();
    for (std::size_t i = 256; i < 511; ++i) entry(root, i) = entry(shared_.root(), i);

    // The last entry leads to a table of the CPU's own: its first half is the shared image, its second is private.
    const HostPhys shared_top = HostFormat::table_address(entry(shared_.root(), 511));
    const auto top = link_table(root, 511);
    if (!top) return std::unexpected(top.error());
    entry(*top, slot(layout::image_base, pdpt)) = entry(shared_top, slot(layout::image_base, pdpt));
    const auto private_directory = link_table(*top, slot(layout::private_base, pdpt));
    if (!private_directory) return std::unexpected(private_directory.error());
    const auto windows = link_table(*private_directory, slot(layout::small_windows_base, directory));
    if (!windows) return std::unexpected(windows.error());

    const std::uint64_t variables = image::percpu_template().size();
    if (auto ok = tables->map(layout::private_base.value, frames, variables, host::private_data, PageSize::size_4k);
        !ok)
        return std::unexpected(ok.error());
    for (unsigned i = 0; i < layout::stack_count; ++i)
        if (auto ok = tables->map(layout::stack_bottom(static_cast<layout::Stack>(i)).value,
                                  frames + variables + i * layout::stack_size, layout::stack_size, host::private_data,
                                  PageSize::size_4k);
            !ok)
            return std::unexpected(ok.error());

    return CpuTables{root,
                     {pool_->at<std::uint64_t>(*windows),
                      pool_->at<std::uint64_t>(*private_directory) + slot(layout::large_windows_base, directory)}};
}

void switch_to(const AddressSpace::CpuTables& tables) {
    cpu::write_cr3(tables.root.value);
    use_window_tables(tables.windows);
}

}  // namespace bulkhead::mm
