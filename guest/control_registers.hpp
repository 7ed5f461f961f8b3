// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>

#include "arch/isa/control.hpp"
#include "arch/isa/msr.hpp"
#include "guest/cpuid.hpp"

// What a guest may write to its control registers (SDM volume 3, 2.5 and 4.1; volume 2, MOV - Move to/from Control
// Registers). All values are as the guest sees them.
namespace bulkhead::guest {

// The bits of CR4 that the guest's CPUID offers; the others are reserved.
std::uint64_t offered_cr4(const Cpuid& cpuid);

// The same of IA32_EFER.
std::uint64_t offered_efer(const Cpuid& cpuid);

struct ControlState {
    std::uint64_t cr0{}, cr3{}, cr4{}, efer{};
    bool cs_long{};  // CS.L
    bool tss_16{};   // TR is a 16-bit TSS

    bool mode_64() const { return cs_long && (efer & isa::efer::LMA) != 0; }
};

// The bits of CR0 that there are: of the lower half, MOV to CR0 ignores the others. ET is always 1.
constexpr std::uint64_t effective_cr0(std::uint64_t value) {
    using namespace isa::cr0;
    return (value & (PE | MP | EM | TS | NE | WP | AM | NW | CD | PG)) | ET;
}

// False: MOV to CR0 (CR4) with this value raises #GP.
bool legal_cr0(const ControlState& now, std::uint64_t value);
bool legal_cr4(const ControlState& now, std::uint64_t value, std::uint64_t offered);
// IA32_EFER after a guest wrote `value` over `before`; nothing if that raises #GP (SDM volume 3, 4.1 and table 2-1 of
// volume 4): a bit that is not offered, or a change of LME while paging is on. LMA cannot be written.
std::optional<std::uint64_t> legal_efer(std::uint64_t before, std::uint64_t value, bool paging, std::uint64_t offered);
// False: XSETBV raises #GP (SDM volume 1, 13.3). `offered`: the state components of the guest.
bool legal_xcr0(std::uint64_t value, std::uint64_t offered);

// Whether paging is PAE paging (not IA-32e), which keeps its four PDPTEs in registers (SDM volume 3, 4.4.1).
constexpr bool uses_pdptes(std::uint64_t cr0, std::uint64_t cr4, std::uint64_t efer) {
    return (cr0 & isa::cr0::PG) != 0 && (cr4 & isa::cr4::PAE) != 0 && (efer & isa::efer::LME) == 0;
}

// Whether a change of CR0 or CR4 (or a MOV to CR3, where nothing changes) under PAE paging loads them (ibid.).
constexpr bool reloads_pdptes(const ControlState& before, const ControlState& after) {
    using namespace isa;
    constexpr std::uint64_t bits0 = cr0::CD | cr0::NW | cr0::PG;
    constexpr std::uint64_t bits4 = cr4::PAE | cr4::PGE | cr4::PSE | cr4::SMEP;
    return uses_pdptes(after.cr0, after.cr4, after.efer) &&
        (((before.cr0 ^ after.cr0) & bits0) != 0 || ((before.cr4 ^ after.cr4) & bits4) != 0);
}

// Whether MOV to CR3 or the like may load this PDPTE: a reserved bit of a present one raises #GP (ibid.).
constexpr bool legal_pdpte(std::uint64_t entry, unsigned physical_address_bits) {
    const std::uint64_t reserved = ~((1ull << physical_address_bits) - 1) | 0x1e6;
    return (entry & 1) == 0 || (entry & reserved) == 0;
}

}  // namespace bulkhead::guest
