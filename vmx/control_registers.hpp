// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "arch/isa/control.hpp"
#include "vmx/capabilities.hpp"

namespace bulkhead::vmx {

// Who owns which bit of a guest's control register (SDM 24.6.6). A bit in `host_owned` reads as the read shadow has it
// and exits when the guest changes it; the others are the guest's own and never exit.
struct ControlRegisterPolicy {
    std::uint64_t host_owned{};
    std::uint64_t forced1{};  // of the host-owned bits: those that are 1 whatever the guest wrote; the rest are 0

    // What the processor runs with when the guest has set its register to `visible`.
    constexpr std::uint64_t real(std::uint64_t visible) const { return (visible & ~host_owned) | forced1; }
    // What the guest reads.
    constexpr std::uint64_t visible(std::uint64_t real, std::uint64_t shadow) const {
        return (real & ~host_owned) | (shadow & host_owned);
    }
};

// CR0.
// - NE is 1 in VMX operation; CD and NW would make the guest's memory uncached under EPT (SDM 28.3.7.2) or fail the
//   entry. The guest sees in all three what it wrote.
// - PE and PG belong to the guest: unrestricted guest lifts their fixed value (SDM 26.3.1.1). Nobody has to see them
//   change. With IA32_EFER switched by the entry and exit controls, MOV to CR0 sets and clears LMA as on the bare
//   processor; each exit saves EFER and stores LMA in "IA-32e mode guest" (SDM 27.2, IA32_VMX_MISC bit 5), so that the
//   next entry agrees with it. PDPTEs are loaded by the processor too, and saved by exits.
// - A bit that no processor defines is left to the processor as well, unless VMX fixes it.
[[nodiscard]] constexpr ControlRegisterPolicy cr0_policy(const Capabilities& c) {
    using namespace isa;
    const std::uint64_t always1 = c.cr0_fixed0 & ~(cr0::PE | cr0::PG);
    const std::uint64_t always0 = ~c.cr0_fixed1;
    return {.host_owned = always1 | always0 | cr0::CD | cr0::NW, .forced1 = always1};
}

// CR4. `offered` are the bits that the machine shows to the guest; a set of any other exits, for the monitor to raise
// #GP.
// - VMXE is 1 in VMX operation, and hidden: the guest reads 0.
// - MCE is 1 whatever the guest wrote, and reads as written: a machine check while a guest has it 0 would shut the
//   processor down.
[[nodiscard]] constexpr ControlRegisterPolicy cr4_policy(const Capabilities& c, std::uint64_t offered) {
    using namespace isa;
    const std::uint64_t always1 = c.cr4_fixed0 | cr4::MCE;
    const std::uint64_t always0 = ~c.cr4_fixed1;
    return {.host_owned = ~offered | always1 | always0, .forced1 = always1};
}

}  // namespace bulkhead::vmx
