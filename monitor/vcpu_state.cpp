// SPDX-License-Identifier: Apache-2.0
#include "monitor/vcpu_state.hpp"

#include "monitor/vm.hpp"
#include "vmx/fields.hpp"
#include "vmx/switch.hpp"

namespace bulkhead::monitor {

namespace field = vmx::field;

std::uint64_t VcpuState::gpr(isa::Gpr r) const {
    return r == isa::Gpr::RSP ? vmx::read<field::GUEST_RSP>() : vcpu_.registers[r];
}

void VcpuState::set_gpr(isa::Gpr r, std::uint64_t value) {
    if (r == isa::Gpr::RSP)
        vmx::write<field::GUEST_RSP>(value);
    else
        vcpu_.registers[r] = value;
}

std::uint64_t VcpuState::rip() const { return vmx::read<field::GUEST_RIP>(); }
void VcpuState::set_rip(std::uint64_t value) { vmx::write<field::GUEST_RIP>(value); }
std::uint64_t VcpuState::rflags() const { return vmx::read<field::GUEST_RFLAGS>(); }
void VcpuState::set_rflags(std::uint64_t value) { vmx::write<field::GUEST_RFLAGS>(value); }
isa::SegmentRegister VcpuState::segment(isa::Segment s) const { return vmx::read_segment(s); }

std::uint64_t VcpuState::cr0() const {
    return vcpu_.vm.cr0().visible(vmx::read<field::GUEST_CR0>(), vmx::read<field::CR0_READ_SHADOW>());
}
std::uint64_t VcpuState::cr3() const { return vmx::read<field::GUEST_CR3>(); }
std::uint64_t VcpuState::cr4() const {
    return vcpu_.vm.cr4().visible(vmx::read<field::GUEST_CR4>(), vmx::read<field::CR4_READ_SHADOW>());
}
std::uint64_t VcpuState::efer() const { return vmx::read<field::GUEST_IA32_EFER>(); }

// The DPL of SS is the CPL in every mode (SDM volume 3, 24.4.1).
unsigned VcpuState::cpl() const {
    return vmx::read<field::GUEST_SS_ACCESS_RIGHTS>() >> isa::access_rights::dpl_shift & 3;
}

void VcpuState::set_segment(isa::Segment s, const isa::SegmentRegister& value) { vmx::write_segment(s, value); }
guest::DescriptorTable VcpuState::gdtr() const {
    return {vmx::read<field::GUEST_GDTR_BASE>(), static_cast<std::uint16_t>(vmx::read<field::GUEST_GDTR_LIMIT>())};
}
void VcpuState::set_cr0(std::uint64_t value) {
    vmx::write<field::GUEST_CR0>(vcpu_.vm.cr0().real(value));
    vmx::write<field::CR0_READ_SHADOW>(value);
}
std::uint32_t VcpuState::pkru() const { return vmx::read_pkru(); }

std::array<std::uint64_t, 2> VcpuState::xmm(unsigned n) const { return vmx::read_xmm(n); }
void VcpuState::set_xmm(unsigned n, const std::array<std::uint64_t, 2>& value) { vmx::write_xmm(n, value); }
std::uint64_t VcpuState::mm(unsigned n) { return vmx::read_mm(n); }
void VcpuState::set_mm(unsigned n, std::uint64_t value) { vmx::write_mm(n, value); }
bool VcpuState::x87_exception_pending() const { return vmx::x87_exception_pending(); }

}  // namespace bulkhead::monitor
