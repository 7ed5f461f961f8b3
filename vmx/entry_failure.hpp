// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string_view>

#include "lib/format.hpp"
#include "vmx/cpu.hpp"
#include "vmx/entry.hpp"
#include "vmx/exit.hpp"
#include "vmx/guest_state_check.hpp"

namespace bulkhead::vmx {

// VM-instruction error numbers (SDM 30.4).
[[nodiscard]] std::string_view instruction_error_text(std::uint32_t number);
// VMX-abort indicators (SDM 27.7).
[[nodiscard]] std::string_view abort_text(std::uint32_t indicator);

// Tells why the entry did not happen, in one line or two: the VM-instruction error, or the exit's reason with the
// guest-state field that the SDM's list refuses, or the MSR that could not be loaded. Of the current VMCS; for an
// outcome that is not `exited`, or an exit with `entry_failed`.
void explain_entry_failure(TextSink& sink, EntryOutcome outcome, const Platform& platform,
                           const AddressWidths& widths);

}  // namespace bulkhead::vmx
