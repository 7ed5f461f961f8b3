// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

// The "x86/HVM direct boot ABI" of Xen (docs/misc/pvh.pandoc, xen/include/public/arch-x86/hvm/start_info.h), by its own
// names.
namespace bulkhead::guest::pvh {

inline constexpr std::string_view note_owner = "Xen";
inline constexpr std::uint32_t XEN_ELFNOTE_PHYS32_ENTRY = 18;

struct StartInfo {
    std::uint32_t magic{0x336e'c578};
    std::uint32_t version{1};
    std::uint32_t flags{};
    std::uint32_t nr_modules{};
    std::uint64_t modlist_paddr{};
    std::uint64_t cmdline_paddr{};
    std::uint64_t rsdp_paddr{};
    std::uint64_t memmap_paddr{};
    std::uint32_t memmap_entries{};
    std::uint32_t reserved{};
};
static_assert(sizeof(StartInfo) == 56 && offsetof(StartInfo, memmap_paddr) == 40);

struct ModlistEntry {
    std::uint64_t paddr{}, size{}, cmdline_paddr{}, reserved{};
};
static_assert(sizeof(ModlistEntry) == 32);

struct MemmapEntry {
    std::uint64_t addr{}, size{};
    std::uint32_t type{};  // as in E820
    std::uint32_t reserved{};
};
static_assert(sizeof(MemmapEntry) == 24);

}  // namespace bulkhead::guest::pvh
