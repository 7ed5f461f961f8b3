// SPDX-License-Identifier: Apache-2.0
#include "vmx/invalidation.hpp"

#include "lib/log.hpp"
#include "vmx/instructions.hpp"

namespace bulkhead::vmx {

namespace {

using instruction::InveptType;
using instruction::InvvpidType;
using instruction::Outcome;

void invalidate_ept(const Capabilities& capabilities, std::uint64_t ept_pointer) {
    const auto type =
        capabilities.invept_single_context() ? InveptType::single_context : InveptType::all_contexts;
    if (instruction::invept(type, ept_pointer) != Outcome::succeed)
        panic("INVEPT failed for EPT pointer {:x}", ept_pointer);
}

void invalidate_vpid(const Capabilities& capabilities, std::uint16_t vpid) {
    const auto type =
        capabilities.invvpid_single_context() ? InvvpidType::single_context : InvvpidType::all_contexts;
    if (instruction::invvpid(type, vpid, GuestVirt{}) != Outcome::succeed) panic("INVVPID failed for VPID {}", vpid);
}

}  // namespace

void invalidate_stale(const Capabilities& capabilities, EptHistory& ept, std::uint64_t ept_pointer, VpidHistory& vpid,
                      unsigned cpu) {
    const Invalidation plan = plan_invalidation(ept, vpid, cpu);
    if (plan.ept) {
        // Recorded first. Whoever changes the hierarchy next then knows of this CPU before it can cache anything, and
        // INVEPT, which serialises, comes before its next entry either way.
        ept.invalidated(cpu, ept.generation());
        invalidate_ept(capabilities, ept_pointer);
    }
    if (plan.vpid) {
        invalidate_vpid(capabilities, vpid.vpid());
        vpid.invalidated(cpu);
    }
}

void invalidate_everything(const Capabilities& capabilities) {
    if (capabilities.invept_all_contexts() && instruction::invept(InveptType::all_contexts, 0) != Outcome::succeed)
        panic("INVEPT failed");
    if (capabilities.invvpid_all_contexts() &&
        instruction::invvpid(InvvpidType::all_contexts, 0, GuestVirt{}) != Outcome::succeed)
        panic("INVVPID failed");
}

}  // namespace bulkhead::vmx
