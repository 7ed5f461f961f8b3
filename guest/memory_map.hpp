// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "guest/e820.hpp"
#include "lib/address.hpp"

namespace bulkhead::guest {

// Where things lie in a guest's physical address space.
namespace layout {

inline constexpr GuestPhys ebda{0x9'fc00};  // top of base memory: reserved, as on every PC
// Firmware's area below 1 MiB holds the tables: the ACPI ones, the pointer to them, and those of the MP specification.
inline constexpr GuestPhys bios_area{0xe'0000};
inline constexpr GuestPhys acpi_tables{0xe'0000};
inline constexpr std::uint64_t acpi_tables_size = 64 * kib;
inline constexpr GuestPhys rsdp{0xf'0000};
inline constexpr GuestPhys mp_pointer{0xf'1000};  // the MP table follows it
inline constexpr GuestPhys extended_memory{1 * mib};
// RAM below 4 GiB ends here at the latest; PCI's window and the interrupt controllers are above.
inline constexpr GuestPhys low_ram_limit{3 * gib};
inline constexpr GuestPhys pci_window{0xc000'0000};
inline constexpr std::uint64_t pci_window_size = 0x3ec0'0000;  // up to the I/O APIC
inline constexpr GuestPhys ioapic{0xfec0'0000};
inline constexpr unsigned ioapic_id = 0;
inline constexpr GuestPhys lapic{0xfee0'0000};
inline constexpr GuestPhys high_ram{4 * gib};

}  // namespace layout

// A run of guest RAM: the guest-physical range and where it starts in the guest's memory, which is contiguous from 0.
struct RamRange {
    GuestPhys first{};
    std::uint64_t size{};
    std::uint64_t offset{};

    constexpr GuestPhys end() const { return first + size; }
};

// How a guest's memory is laid out: up to 3 GiB from address 0, the rest from 4 GiB. The addresses from A0000h to
// FFFFFh are RAM like the others, so that the first 2 MiB can be one page; the map tells the guest to keep off.
class MemoryMap {
  public:
    explicit constexpr MemoryMap(std::uint64_t memory)
        : low_(memory < layout::low_ram_limit.value ? memory : layout::low_ram_limit.value), high_(memory - low_) {}

    constexpr std::uint64_t low_size() const { return low_; }
    constexpr std::uint64_t high_size() const { return high_; }
    constexpr GuestPhys low_end() const { return GuestPhys{low_}; }
    // The first address above all RAM.
    constexpr GuestPhys end() const { return high_ != 0 ? layout::high_ram + high_ : low_end(); }

    // The second range is empty in a guest of 3 GiB or less.
    constexpr std::array<RamRange, 2> ram() const {
        return {RamRange{GuestPhys{0}, low_, 0}, RamRange{layout::high_ram, high_, low_}};
    }

    // Where in the guest's memory `address` is; nothing if it is not RAM.
    constexpr std::optional<std::uint64_t> offset_of(GuestPhys address) const {
        if (address.value < low_) return address.value;
        if (address >= layout::high_ram && address - layout::high_ram < high_) return address - layout::high_ram + low_;
        return std::nullopt;
    }
    // Whether all of [address, address + size) is RAM.
    constexpr bool contains(GuestPhys address, std::uint64_t size) const {
        for (const RamRange& range : ram())
            if (address >= range.first && address <= range.end() && size <= range.end() - address) return true;
        return false;
    }

    // The system address map, in order and without overlaps. The result points into `storage`.
    static constexpr std::size_t max_e820_entries = 6;
    std::span<const E820Entry> e820(std::span<E820Entry, max_e820_entries> storage) const;

  private:
    std::uint64_t low_;
    std::uint64_t high_;
};

}  // namespace bulkhead::guest
