// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "arch/isa/paging.hpp"
#include "mm/page_table.hpp"

namespace bulkhead::mm {

// All of the hypervisor's memory is readable, and none of it belongs to user mode.
struct HostAttributes {
    bool writable{};
    bool executable{};
    bool uncached{};
    bool global{};  // only for what every CPU maps alike

    friend constexpr bool operator==(const HostAttributes&, const HostAttributes&) = default;
};

namespace host {
inline constexpr HostAttributes code{.executable = true, .global = true};
inline constexpr HostAttributes constants{.global = true};
inline constexpr HostAttributes data{.writable = true, .global = true};
inline constexpr HostAttributes device{.writable = true, .uncached = true, .global = true};
inline constexpr HostAttributes private_data{.writable = true};
}  // namespace host

// 4-level IA-32e paging (SDM volume 3, 4.5; tables 4-15 to 4-20).
struct HostFormat {
    using Attributes = HostAttributes;

    // 48 bits, sign-extended; a range stays in one half.
    static constexpr bool covers_input(std::uint64_t first, std::uint64_t last) {
        return is_canonical(first) && is_canonical(last) && first >> 63 == last >> 63;
    }
    static constexpr bool covers_output(HostPhys, HostPhys last) { return last.value >> 52 == 0; }
    // Nothing is both writable and executable.
    static constexpr bool permits(HostAttributes a) { return !(a.writable && a.executable); }

    static constexpr bool is_present(std::uint64_t entry) { return (entry & isa::pte::P) != 0; }
    static constexpr bool is_leaf(std::uint64_t entry, unsigned level) {
        return level == 0 || (entry & isa::pte::PS) != 0;
    }
    // Accessed and dirty are set from the start: the processor need not write the entry, and nobody reads them.
    static constexpr std::uint64_t leaf(HostPhys output, HostAttributes a, PageSize size) {
        using namespace isa;
        std::uint64_t entry = output.value | pte::P | pte::A | pte::D;
        if (size != PageSize::size_4k) entry |= pte::PS;
        if (a.writable) entry |= pte::RW;
        if (!a.executable) entry |= pte::XD;
        if (a.uncached) entry |= pte::PCD | pte::PWT;  // PAT entry 3: UC out of reset (SDM volume 3, table 11-12)
        if (a.global) entry |= pte::G;
        return entry;
    }
    static constexpr std::uint64_t table(HostPhys address) {
        return address.value | isa::pte::P | isa::pte::RW | isa::pte::A;
    }
    static constexpr std::uint64_t piece(std::uint64_t entry, PageSize size, unsigned index) {
        const auto smaller = static_cast<PageSize>(static_cast<unsigned>(size) - 1);
        return leaf(output(entry, size) + index * bytes_in(smaller), attributes(entry, size), smaller);
    }
    // Bit 12 of a large page's entry is the PAT bit, not an address bit; it is clear here, and masked all the same.
    static constexpr HostPhys output(std::uint64_t entry, PageSize size) {
        return HostPhys{entry & isa::pte::address_mask}.align_down(bytes_in(size));
    }
    static constexpr HostPhys table_address(std::uint64_t entry) { return HostPhys{entry & isa::pte::address_mask}; }
    static constexpr HostAttributes attributes(std::uint64_t entry, PageSize) {
        using namespace isa;
        return {.writable = (entry & pte::RW) != 0,
                .executable = (entry & pte::XD) == 0,
                .uncached = (entry & pte::PCD) != 0,
                .global = (entry & pte::G) != 0};
    }

  private:
    static constexpr bool is_canonical(std::uint64_t address) {
        return static_cast<std::uint64_t>(static_cast<std::int64_t>(address << 16) >> 16) == address;
    }
};

static_assert(PageTableFormat<HostFormat>);

}  // namespace bulkhead::mm
