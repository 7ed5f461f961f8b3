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
// 5-level; U/S, R/W, WP, XD, SMEP, SMAP and reserved bits; accessed and dirty flags are set as the processor does.
// Protection keys are not looked at. A table that is not in RAM reads as all ones.
class Walk final : public Translate {
  public:
    // `pdptes`: the PDPTE registers under PAE paging, loaded by the last write of CR3 (SDM volume 3, 4.4.1). Without
    // them the four entries are read from memory.
    Walk(const CpuState& cpu, Memory& memory, PagingFeatures features = {},
         const std::array<std::uint64_t, 4>* pdptes = nullptr)
        : cpu_(cpu), memory_(memory), features_(features), pdptes_(pdptes) {}

    std::expected<GuestPhys, isa::Fault> translate(GuestVirt address, Access access) override;

  private:
    // How one paging mode lays out its tables.
    struct Mode {
        unsigned levels{};
        unsigned entry_size{};  // bytes
        unsigned index_bits{};
        bool pae_root{};        // the highest level is the four PDPTEs
    };
    struct Entry {
        GuestPhys at{};
        std::uint64_t value{};
    };
    struct Path {
        std::array<Entry, 5> entries{};
        unsigned count{};
        unsigned page_shift{};
        bool writable{true}, user{true}, executable{true};
    };
    enum class Marked : std::uint8_t { yes, changed };

    Mode mode() const;
    std::expected<Path, isa::Fault> walk(GuestVirt address, Access access, const Mode& mode) const;
    bool append(Path& path, const Entry& entry, const Mode& mode, unsigned level) const;
    std::uint64_t load(GuestPhys at, unsigned size) const;
    bool large(std::uint64_t entry, const Mode& mode, unsigned level) const;
    bool reserved(std::uint64_t entry, const Mode& mode, unsigned level) const;
    bool allowed(const Path& path, Access access) const;
    bool allowed_supervisor(const Path& path, Access access) const;
    Marked mark(const Path& path, Access access, const Mode& mode);
    GuestPhys output(const Path& path, GuestVirt address, const Mode& mode) const;
    isa::Fault page_fault(GuestVirt address, Access access, std::uint32_t code) const;
    std::uint64_t above_physical() const { return isa_address_bits & ~((1ull << features_.physical_bits) - 1); }

    static constexpr std::uint64_t isa_address_bits = 0x000f'ffff'ffff'f000ull;

    const CpuState& cpu_;
    Memory& memory_;
    PagingFeatures features_;
    const std::array<std::uint64_t, 4>* pdptes_;
};

}  // namespace bulkhead::guest::emulator
