// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "mm/page_table.hpp"

namespace bulkhead::vmx {

// Memory types of EPT (SDM table 28-6).
enum class EptMemoryType : std::uint8_t {
    uncacheable = 0,
    write_combining = 1,
    write_through = 4,
    write_protected = 5,
    write_back = 6
};

// The guest's PAT still applies under the memory type: a guest may make its own mapping weaker. MTRRs do not
// (28.3.7.2).
struct EptAttributes {
    bool readable{};
    bool writable{};
    bool executable{};
    EptMemoryType type{EptMemoryType::write_back};

    friend constexpr bool operator==(const EptAttributes&, const EptAttributes&) = default;
};

namespace ept {
inline constexpr EptAttributes ram{.readable = true, .writable = true, .executable = true};
inline constexpr EptAttributes read_only{.readable = true, .executable = true};

// Entry bits (SDM tables 28-1 to 28-6).
inline constexpr std::uint64_t R = 1ull << 0;
inline constexpr std::uint64_t W = 1ull << 1;
inline constexpr std::uint64_t X = 1ull << 2;
inline constexpr std::uint64_t A = 1ull << 8;
inline constexpr std::uint64_t D = 1ull << 9;
inline constexpr std::uint64_t PS = 1ull << 7;
inline constexpr unsigned type_shift = 3;
inline constexpr std::uint64_t address_mask = 0x000f'ffff'ffff'f000ull;
}  // namespace ept

// 4-level extended page tables (SDM 28.3.2), as mm's engine wants them.
struct EptFormat {
    using Attributes = EptAttributes;

    // A guest-physical address has 48 bits under a 4-level walk (28.3.2).
    static constexpr bool covers_input(std::uint64_t, std::uint64_t last) { return last >> 48 == 0; }
    static constexpr bool covers_output(HostPhys, HostPhys last) { return last.value >> 52 == 0; }
    // Write without read is a misconfiguration (28.3.3.1), execute-only needs a capability, and nothing at all would
    // not be a mapping.
    static constexpr bool permits(EptAttributes a) { return a.readable; }

    static constexpr bool is_present(std::uint64_t entry) { return (entry & (ept::R | ept::W | ept::X)) != 0; }
    static constexpr bool is_leaf(std::uint64_t entry, unsigned level) { return level == 0 || (entry & ept::PS) != 0; }

    // Accessed and dirty start clear; the processor sets them where the EPT pointer enables them.
    static constexpr std::uint64_t leaf(HostPhys output, EptAttributes a, mm::PageSize size) {
        std::uint64_t entry = output.value | static_cast<std::uint64_t>(a.type) << ept::type_shift;
        if (a.readable) entry |= ept::R;
        if (a.writable) entry |= ept::W;
        if (a.executable) entry |= ept::X;
        if (size != mm::PageSize::size_4k) entry |= ept::PS;
        return entry;
    }
    static constexpr std::uint64_t table(HostPhys address) { return address.value | ept::R | ept::W | ept::X; }
    // Each piece was as much accessed and written as the whole may have been.
    static constexpr std::uint64_t piece(std::uint64_t entry, mm::PageSize size, unsigned index) {
        const auto smaller = static_cast<mm::PageSize>(static_cast<unsigned>(size) - 1);
        return leaf(output(entry, size) + index * mm::bytes_in(smaller), attributes(entry, size), smaller) |
            (entry & (ept::A | ept::D));
    }
    static constexpr HostPhys output(std::uint64_t entry, mm::PageSize size) {
        return HostPhys{entry & ept::address_mask}.align_down(mm::bytes_in(size));
    }
    static constexpr HostPhys table_address(std::uint64_t entry) { return HostPhys{entry & ept::address_mask}; }
    static constexpr EptAttributes attributes(std::uint64_t entry, mm::PageSize) {
        return {.readable = (entry & ept::R) != 0,
                .writable = (entry & ept::W) != 0,
                .executable = (entry & ept::X) != 0,
                .type = static_cast<EptMemoryType>(entry >> ept::type_shift & 7)};
    }
};

static_assert(mm::PageTableFormat<EptFormat>);

}  // namespace bulkhead::vmx
