// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "vmx/capabilities.hpp"
#include "vmx/translation.hpp"

namespace bulkhead::vmx {

// Drops what is stale on this CPU before an entry with `ept_pointer` and the VPID; cheap when nothing is. Uses the
// narrowest kind of INVEPT and INVVPID that the processor has.
void invalidate_stale(const Capabilities& capabilities, EptHistory& ept, std::uint64_t ept_pointer, VpidHistory& vpid,
                      unsigned cpu);

inline void prepare_translations(const Capabilities& capabilities, EptHistory& ept, std::uint64_t ept_pointer,
                                 VpidHistory& vpid, unsigned cpu) {
    if (plan_invalidation(ept, vpid, cpu).any()) [[unlikely]]
        invalidate_stale(capabilities, ept, ept_pointer, vpid, cpu);
}

// Drops everything that VMX caches on this CPU, whoever made it: after VMXON.
void invalidate_everything(const Capabilities& capabilities);

}  // namespace bulkhead::vmx
