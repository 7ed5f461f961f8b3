// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>

#include "guest/interrupt_assist.hpp"

namespace bulkhead::monitor {

class Vcpu;

// The processor's help with the local APIC of one vCPU (SDM volume 3, chapter 29): TPR, PPR, the end of edge-triggered
// interrupts and, in x2APIC mode, most reads do not exit.
//
// The processor has the local APIC only while nothing waits in IRR. What is requested is injected as soon as the guest
// can take it, and what has to wait for that (IF, a shadow, the priority) has the guest run without the help until then,
// so that the processor itself has never an interrupt pending. There are processors that would deliver one in spite of
// IF = 0 when an interrupt of the host arrives at the wrong moment.
//
// All calls come with the machine locked; `prepare` on the vCPU's own CPU with its VMCS current.
class VirtualInterrupts final : public guest::InterruptAssist {
  public:
    explicit VirtualInterrupts(Vcpu& vcpu) : vcpu_(vcpu) {}
    VirtualInterrupts(const VirtualInterrupts&) = delete;
    VirtualInterrupts& operator=(const VirtualInterrupts&) = delete;

    void requested() override;
    void in_service_changed() override;
    void set_eoi_exit(std::uint8_t vector, bool wanted) override;

    // Before an entry, after what the guest can take now was acknowledged.
    void prepare();
    // The primary controls that the entry needs besides the guest's own.
    std::uint32_t primary_controls() const;

  private:
    void set_mode(bool assists, bool x2apic);

    Vcpu& vcpu_;
    // As the VMCS has it.
    bool assists_{true};
    bool x2apic_{};
    bool in_service_changed_{};
    bool eoi_exits_changed_{};
    std::array<std::uint64_t, 4> eoi_exits_{};
};

}  // namespace bulkhead::monitor
