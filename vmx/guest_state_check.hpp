// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "vmx/capabilities.hpp"

namespace bulkhead::vmx {

// CPUID leaf 8000_0008h, EAX.
struct AddressWidths {
    unsigned physical{36};
    unsigned linear{48};
};

// A rule for the guest-state area that the current VMCS breaks. Sections are those of the SDM editions in which VM
// entries are chapter 26; newer ones count them from 27.
struct GuestStateViolation {
    std::string_view field;
    std::string_view rule;     // what should be
    std::string_view section;  // "26.3.1.1"
    std::uint64_t value{};     // what is
};

// The checks on guest registers, non-register state and PDPTEs that VM entry makes (SDM 26.3.1), in the order of the
// text, for the current VMCS. Nothing when all hold. Not checked is the state that no control of Bulkhead loads:
// IA32_PERF_GLOBAL_CTRL, IA32_BNDCFGS, IA32_RTIT_CTL, IA32_LBR_CTL, CET, PKRS and UINV.
[[nodiscard]] std::optional<GuestStateViolation> check_guest_state(const Capabilities& capabilities,
                                                                   const AddressWidths& widths);

}  // namespace bulkhead::vmx
