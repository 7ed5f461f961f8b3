// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>

#include "guest/interrupt_assist.hpp"

namespace bulkhead::monitor {

class Vcpu;

// The processor's help with the local APIC of one vCPU (SDM volume 3, chapter 29). It delivers what is in IRR of the
// register page, and does TPR, PPR and the end of edge-triggered interrupts itself: while the guest runs, the page and
// the guest interrupt status are the processor's. What comes in meanwhile, from whatever CPU, waits here until the
// vCPU's own CPU is out of the guest.
//
// All calls come with the machine locked; all but `post` and `set_eoi_exit` on the vCPU's own CPU.
class VirtualInterrupts final : public guest::InterruptAssist {
  public:
    VirtualInterrupts(Vcpu& vcpu, guest::RegisterPage& page) : vcpu_(vcpu), page_(page) {}
    VirtualInterrupts(const VirtualInterrupts&) = delete;
    VirtualInterrupts& operator=(const VirtualInterrupts&) = delete;

    bool delivers() const override { return true; }
    void post(std::uint8_t vector) override;
    std::uint8_t requested() const override;
    std::uint8_t in_service() const override;
    void set_eoi_exit(std::uint8_t vector, bool wanted) override;
    void take() override;
    void give_back() override;

    // Before an entry, with the vCPU's VMCS current: what has come in, and the mode of the local APIC.
    void prepare();
    // Before another VMCS becomes current.
    void save();

  private:
    bool is_current() const;
    std::uint16_t status() const;
    void set_status(std::uint8_t requested, std::uint8_t in_service);
    void follow_mode();

    Vcpu& vcpu_;
    guest::RegisterPage& page_;
    std::array<std::uint32_t, 8> posted_{};  // vectors that are not in IRR yet
    std::uint8_t highest_posted_{};          // 0: none
    bool eoi_exits_changed_{};
    std::array<std::uint64_t, 4> eoi_exits_{};
    std::uint16_t saved_status_{};  // while its VMCS is not current
    bool x2apic_{};                 // as the VMCS has it
};

}  // namespace bulkhead::monitor
