// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>

#include "guest/cpu_state.hpp"
#include "lib/address.hpp"

namespace bulkhead::guest {

// Selectors at which a guest is entered; the numbers are those of Linux's boot protocol.
inline constexpr std::uint16_t boot_cs = 0x10;
inline constexpr std::uint16_t boot_ds = 0x18;

// Flat 4 GiB segments and what VM entry wants beside them: a busy TSS and an unusable LDTR (SDM volume 3, 26.3.1.2).
// `code_size` is access_rights::DB for 32-bit or access_rights::L for 64-bit code.
constexpr void set_flat_segments(InitialState& state, std::uint32_t code_size) {
    namespace ar = isa::access_rights;
    constexpr std::uint32_t common = ar::S | ar::P | ar::G;
    constexpr std::uint32_t code_accessed = 0xb, data_accessed = 0x3, tss_busy = 0xb;
    const auto at = [&](isa::Segment s) -> isa::SegmentRegister& {
        return state.segments[static_cast<std::size_t>(s)];
    };
    using enum isa::Segment;
    at(CS) = {boot_cs, common | code_accessed | code_size, 0xffffffff, 0};
    for (const isa::Segment s : {DS, ES, SS, FS, GS}) at(s) = {boot_ds, common | data_accessed | ar::DB, 0xffffffff, 0};
    at(TR) = {0, ar::P | tss_busy, 0x67, 0};
    at(LDTR) = {0, ar::unusable, 0, 0};
}

// The descriptors behind these selectors, for a kernel that loads a segment register before it has a GDT of its own
// (SDM volume 3, 3.4.5): 32-bit code and data.
inline constexpr std::array<std::uint64_t, 4> boot_gdt{0, 0, 0x00cf'9b00'0000'ffff, 0x00cf'9300'0000'ffff};

// Flat 32-bit protected mode without paging, interrupts off; `boot_gdt` lies at `gdt`.
constexpr InitialState protected_mode_state(std::uint64_t entry, GuestPhys gdt) {
    InitialState state;
    state.rip = entry;
    state.cr0 = isa::cr0::PE | isa::cr0::ET;
    state.gdtr_base = gdt.value;
    state.gdtr_limit = sizeof boot_gdt - 1;
    set_flat_segments(state, isa::access_rights::DB);
    return state;
}

}  // namespace bulkhead::guest
