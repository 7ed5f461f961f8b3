// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace bulkhead::guest {

// A processor that works on a local APIC's register page while the guest runs (SDM volume 3, 29.1): there it ends
// edge-triggered interrupts, and keeps TPR and PPR. IRR is never its: what is requested, software delivers.
class InterruptAssist {
  public:
    // A vector came into IRR, from whatever CPU: the end of an interrupt or another TPR may make it deliverable.
    virtual void requested() = 0;
    // Software changed ISR.
    virtual void in_service_changed() = 0;
    // Whether the local APIC has to learn of the end of this interrupt: it was level triggered.
    virtual void set_eoi_exit(std::uint8_t vector, bool wanted) = 0;

  protected:
    ~InterruptAssist() = default;
};

}  // namespace bulkhead::guest
