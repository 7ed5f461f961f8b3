// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "arch/isa/control.hpp"
#include "arch/isa/msr.hpp"
#include "guest/cpuid.hpp"

// What a guest may write to its control registers (SDM volume 3, 2.5 and 4.1; volume 2, MOV - Move to/from Control
// Registers). All values are as the guest sees them.
namespace bulkhead::guest {

// The bits of CR4 that the guest's CPUID offers; the others are reserved.
std::uint64_t offered_cr4(const Cpuid& cpuid);

struct ControlState {
    std::uint64_t cr0{}, cr3{}, cr4{}, efer{};
    bool mode_64{};  // 64-bit code: CS.L under IA-32e mode
};

// False: MOV to CR0 (CR4) with this value raises #GP.
bool legal_cr0(const ControlState& now, std::uint64_t value);
bool legal_cr4(const ControlState& now, std::uint64_t value, std::uint64_t offered);
// False: XSETBV raises #GP (SDM volume 1, 13.3). `offered`: the state components of the guest.
bool legal_xcr0(std::uint64_t value, std::uint64_t offered);

// Whether paging is PAE paging (not IA-32e), which keeps its four PDPTEs in registers (SDM volume 3, 4.4.1).
constexpr bool uses_pdptes(std::uint64_t cr0, std::uint64_t cr4, std::uint64_t efer) {
    return (cr0 & isa::cr0::PG) != 0 && (cr4 & isa::cr4::PAE) != 0 && (efer & isa::efer::LME) == 0;
}

}  // namespace bulkhead::guest
