// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>

#include "guest/cpu_state.hpp"
#include "guest/emulate/bus.hpp"
#include "guest/memory.hpp"

namespace bulkhead::guest::emulator {

// What the guest's CPUID says of paging.
struct PagingFeatures {
    unsigned physical_bits{46};  // MAXPHYADDR
    bool gigabyte_pages{true};
};

// The guest's own paging, walked in software (SDM volume 3, chapter 4): none, 32-bit with PSE, PAE, 4-level and
// 5-level; U/S, R/W, WP, XD, SMEP, SMAP, PKU and reserved bits; accessed and dirty flags are set as the processor does.
// A table that is not in RAM reads as all ones. One object serves one instruction:
// it reads the control registers once.
class Walk final : public Translate {
  public:
    // `pdptes`: the PDPTE registers under PAE paging, loaded by the last write of CR3 (SDM volume 3, 4.4.1). Without
    // them the four entries are read from memory.
    Walk(const CpuState& cpu, Memory& memory, PagingFeatures features = {},
         const std::array<std::uint64_t, 4>* pdptes = nullptr);

    std::expected<GuestPhys, isa::Fault> translate(GuestVirt address, Access access) override;

  private:
    // How the paging mode lays out its tables. PAE paging has the four PDPTEs as its highest level.
    enum class Mode : std::uint8_t { none, bits32, pae, level4, level5 };

    struct Entry {
        GuestPhys at{};
        std::uint64_t value{};
    };
    struct Path {
        std::array<Entry, 5> entries;
        unsigned count{};
        unsigned page_shift{};
        // Over all entries, but for the PDPTEs of PAE paging, which have neither rights nor flags.
        std::uint64_t every{~0ull}, any{};
    };
    enum class Marked : std::uint8_t { yes, changed };

    std::expected<Path, isa::Fault> walk(GuestVirt address, Access access) const;
    bool is_pdpte(unsigned level) const { return mode_ == Mode::pae && level == 3; }
    std::uint64_t load(GuestPhys at) const;
    bool large(std::uint64_t entry, unsigned level) const;
    bool reserved(std::uint64_t entry, unsigned level) const;
    bool allowed(const Path& path, Access access) const;
    bool key_denies(const Path& path, Access access) const;
    Marked mark(const Path& path, Access access);
    GuestPhys output(const Path& path, GuestVirt address) const;
    isa::Fault page_fault(GuestVirt address, Access access, std::uint32_t code) const;

    const CpuState& cpu_;
    Memory& memory_;
    const PagingFeatures features_;
    const std::array<std::uint64_t, 4>* pdptes_;
    std::uint64_t cr0_, cr4_{}, efer_{};
    Mode mode_{Mode::none};
    unsigned levels_{}, index_bits_{9}, entry_size_{8};  // bytes
    std::uint64_t frame_mask_{};     // the bits of an entry that address the next table
    std::uint64_t reserved_{};       // in every entry
};

}  // namespace bulkhead::guest::emulator
