// SPDX-License-Identifier: Apache-2.0
#include "mm/early_space.hpp"

#include <cstdint>
#include <cstring>

#include "arch/cpu/image.hpp"
#include "arch/cpu/layout.hpp"
#include "mm/host_format.hpp"
#include "mm/window.hpp"

namespace layout = bulkhead::cpu::layout;
namespace image = bulkhead::cpu::image;

extern "C" {
// boot/entry.S fills the first four.
alignas(4096) std::uint64_t early_pml4[512];
alignas(4096) std::uint64_t early_low_pdpt[512];
alignas(4096) std::uint64_t early_high_pdpt[512];
alignas(4096) std::uint64_t early_image_directory[512];
}

namespace bulkhead::mm {
namespace {

using Table = std::uint64_t[512];
alignas(4096) Table private_directory;
alignas(4096) Table private_data;
alignas(4096) Table stacks;
alignas(4096) Table page_windows;
alignas(4096) Table pool_pdpt;
alignas(4096) Table pool_directory;

constexpr std::size_t slot(HostVirt address, unsigned level) {
    return address.value >> (12 + 9 * level) & 511;
}

void link(Table& table, std::size_t index, const Table& child) {
    table[index] = HostFormat::table(image::phys(&child[0]));
}

void map_pages(Table& table, HostVirt start, HostPhys output, std::uint64_t size) {
    for (std::uint64_t at = 0; at < size; at += page_size)
        table[slot(start + at, 0)] = HostFormat::leaf(output + at, host::private_data, PageSize::size_4k);
}

}  // namespace

void map_boot_private() {
    link(early_high_pdpt, slot(layout::private_base, 2), private_directory);
    link(private_directory, slot(layout::private_base, 1), private_data);
    link(private_directory, slot(layout::stacks_base, 1), stacks);
    link(private_directory, slot(layout::small_windows_base, 1), page_windows);

    const image::Part variables = image::percpu_template();
    HostPhys frames = image::boot_private().phys();
    map_pages(private_data, layout::private_base, frames, variables.size());
    frames += variables.size();
    for (unsigned i = 0; i < layout::stack_count; ++i, frames += layout::stack_size)
        map_pages(stacks, layout::stack_bottom(static_cast<layout::Stack>(i)), frames, layout::stack_size);

    std::memcpy(reinterpret_cast<void*>(layout::private_base.value), percpu_template_start, variables.size());
    use_window_tables({page_windows, &private_directory[slot(layout::large_windows_base, 1)]});
}

std::span<std::byte> map_early_pool(MemoryRange pool) {
    static_assert(LayoutPolicy{}.maximum_pool <= gib, "one page directory");
    link(early_pml4, slot(layout::pool_base, 3), pool_pdpt);
    link(pool_pdpt, slot(layout::pool_base, 2), pool_directory);
    for (std::uint64_t at = 0; at < pool.size; at += large_page_size)
        pool_directory[slot(layout::pool_base + at, 1)] =
            HostFormat::leaf(pool.start + at, host::private_data, PageSize::size_2m);
    return {reinterpret_cast<std::byte*>(layout::pool_base.value), pool.size};
}

}  // namespace bulkhead::mm
