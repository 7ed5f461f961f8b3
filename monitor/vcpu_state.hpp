// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "guest/cpu_state.hpp"
#include "monitor/vcpu.hpp"

namespace bulkhead::monitor {

// The architectural state of the vCPU whose VMCS is current and whose exit is being handled.
class VcpuState final : public guest::CpuState {
  public:
    explicit VcpuState(Vcpu& vcpu) : vcpu_(vcpu) {}

    std::uint64_t gpr(isa::Gpr r) const override;
    void set_gpr(isa::Gpr r, std::uint64_t value) override;
    std::uint64_t rip() const override;
    void set_rip(std::uint64_t value) override;
    std::uint64_t rflags() const override;
    void set_rflags(std::uint64_t value) override;
    isa::SegmentRegister segment(isa::Segment s) const override;
    std::uint64_t cr0() const override;
    std::uint64_t cr3() const override;
    std::uint64_t cr4() const override;
    std::uint64_t efer() const override;
    unsigned cpl() const override;
    void set_segment(isa::Segment s, const isa::SegmentRegister& value) override;
    guest::DescriptorTable gdtr() const override;
    void set_cr0(std::uint64_t value) override;
    std::uint32_t pkru() const override;
    std::array<std::uint64_t, 2> xmm(unsigned n) const override;
    void set_xmm(unsigned n, const std::array<std::uint64_t, 2>& value) override;
    std::uint64_t breakpoints_at(GuestVirt first, unsigned size, bool write) const override {
        return Vcpu::breakpoints_at(first.value, size, write);
    }
    bool breakpoints_enabled() const override { return Vcpu::breakpoints_enabled(); }
    std::uint64_t mm(unsigned n) override;
    void set_mm(unsigned n, std::uint64_t value) override;
    bool x87_exception_pending() const override;

  private:
    Vcpu& vcpu_;
};

}  // namespace bulkhead::monitor
