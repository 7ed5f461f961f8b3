// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "lib/address.hpp"
#include "mm/regions.hpp"

// Where an application processor begins: real mode, at a page below 1 MiB that the SIPI names (SDM volume 3, 8.4.4).
namespace bulkhead::boot {

// The parameters at the start of the page, behind a jump. trampoline.S has the same layout.
struct [[gnu::packed]] TrampolineParameters {
    std::uint8_t jump[8];
    std::uint16_t gdt_limit;
    std::uint32_t gdt_base;
    std::uint32_t protected_mode_offset;
    std::uint16_t protected_mode_selector;
    std::uint32_t long_mode_offset;
    std::uint16_t long_mode_selector;
    std::uint32_t root;  // of page tables that map this page one to one
};
static_assert(offsetof(TrampolineParameters, gdt_limit) == 8 && sizeof(TrampolineParameters) == 30);

// The lowest page from 8000h up that is usable memory and not reserved. The pages below hold what firmware and boot
// loader may still refer to.
std::optional<HostPhys> choose_trampoline(std::span<const mm::MemoryMapEntry> map,
                                          std::span<const mm::MemoryRange> reserved);

}  // namespace bulkhead::boot
