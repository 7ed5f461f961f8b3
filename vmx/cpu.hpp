// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <expected>

#include "mm/frame_pool.hpp"
#include "vmx/controls.hpp"

namespace bulkhead::vmx {

// What the machine offers, and what is used of it: the same on all CPUs.
struct Platform {
    Capabilities capabilities;
    Controls controls;
    bool virtual_interrupts{};  // see with_virtual_interrupts
};

// Looks at this CPU and changes nothing.
[[nodiscard]] std::expected<Platform, Refusal> probe();

// Takes this CPU into VMX root operation: IA32_FEATURE_CONTROL (where firmware left it open), CR0, CR4, IA32_XSS = 0,
// VMXON, and no translation left from before. Refused where this CPU cannot run with the controls of `platform`.
[[nodiscard]] std::expected<void, Refusal> enable(mm::FramePool& pool, const Platform& platform);

// Leaves VMX operation; every VMCS has been cleared on this CPU.
void disable(mm::FramePool& pool);

}  // namespace bulkhead::vmx
