// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <optional>

#include "arch/cpu/instructions.hpp"
#include "arch/isa/control.hpp"
#include "arch/isa/msr.hpp"
#include "guest/control_registers.hpp"
#include "guest/lapic.hpp"
#include "monitor/cpu_loop.hpp"
#include "monitor/handlers.hpp"
#include "monitor/vcpu_state.hpp"
#include "monitor/vm.hpp"
#include "vmx/control_registers.hpp"
#include "vmx/fields.hpp"

namespace bulkhead::monitor::handler {
namespace {

namespace field = vmx::field;
using isa::Gpr;
using isa::Msr;

guest::ControlState control_state(Vcpu& vcpu) {
    const VcpuState state{vcpu};
    constexpr std::uint32_t tss_type_32 = 1u << 3;
    return {.cr0 = state.cr0(),
            .cr3 = state.cr3(),
            .cr4 = state.cr4(),
            .efer = state.efer(),
            .cs_long = (state.segment(isa::Segment::CS).rights & isa::access_rights::L) != 0,
            .tss_16 = (state.segment(isa::Segment::TR).rights & tss_type_32) == 0};
}

void set_long_mode(bool on) {
    namespace entry = vmx::control::entry;
    const std::uint64_t efer = vmx::read<field::GUEST_IA32_EFER>() & ~isa::efer::LMA;
    vmx::write<field::GUEST_IA32_EFER>(on ? efer | isa::efer::LMA : efer);
    const std::uint32_t controls = vmx::read<field::VM_ENTRY_CONTROLS>() & ~entry::IA32E_MODE_GUEST;
    vmx::write<field::VM_ENTRY_CONTROLS>(on ? controls | entry::IA32E_MODE_GUEST : controls);
}

}  // namespace

std::optional<std::array<std::uint64_t, 4>> load_pdptes(Vcpu& vcpu, std::uint64_t cr3) {
    std::array<std::uint64_t, 4> pdptes{};
    if (!vcpu.vm.memory().load(GuestPhys{cr3 & 0xffff'ffe0}, pdptes)) return std::nullopt;
    for (const std::uint64_t entry : pdptes)
        if (!guest::legal_pdpte(entry, vcpu.vm.cpuid().physical_address_bits())) return std::nullopt;
    return pdptes;
}

void write_pdptes(const std::array<std::uint64_t, 4>& pdptes) {
    vmx::write<field::GUEST_PDPTE0>(pdptes[0]);
    vmx::write<field::GUEST_PDPTE1>(pdptes[1]);
    vmx::write<field::GUEST_PDPTE2>(pdptes[2]);
    vmx::write<field::GUEST_PDPTE3>(pdptes[3]);
}

namespace {

// The guest changed a bit that the hypervisor owns, perhaps along with others. What the processor would have done with
// the whole value is done here, translations included: they are dropped before the next entry.
Next write_control(ExitContext& c, const guest::ControlState& before, const guest::ControlState& after) {
    if (guest::reloads_pdptes(before, after)) {
        const auto pdptes = load_pdptes(c.vcpu, after.cr3);
        if (!pdptes) return raise(c, isa::general_protection);
        write_pdptes(*pdptes);
    }
    Vm& vm = c.vcpu.vm;
    vmx::write<field::GUEST_CR0>(vm.cr0().real(after.cr0));
    vmx::write<field::CR0_READ_SHADOW>(after.cr0);
    vmx::write<field::GUEST_CR4>(vm.cr4().real(after.cr4));
    vmx::write<field::CR4_READ_SHADOW>(after.cr4);
    set_long_mode((after.cr0 & isa::cr0::PG) != 0 && (after.efer & isa::efer::LME) != 0);
    c.vcpu.skip_instruction(c.exit.length);

    constexpr std::uint64_t paging0 = isa::cr0::PG | isa::cr0::WP;
    constexpr std::uint64_t paging4 = isa::cr4::PAE | isa::cr4::PSE | isa::cr4::PGE | isa::cr4::PCIDE | isa::cr4::SMEP |
        isa::cr4::SMAP | isa::cr4::PKE | isa::cr4::LA57;
    if (((before.cr0 ^ after.cr0) & paging0) == 0 && ((before.cr4 ^ after.cr4) & paging4) == 0) return Next::resume;
    c.vcpu.vpid.changed();
    return Next::pick;
}

Next write_cr0(ExitContext& c, std::uint64_t value) {
    const guest::ControlState before = control_state(c.vcpu);
    if (!guest::legal_cr0(before, value)) return raise(c, isa::general_protection);
    guest::ControlState after = before;
    after.cr0 = guest::effective_cr0(value);
    return write_control(c, before, after);
}

Next write_cr4(ExitContext& c, std::uint64_t value) {
    const guest::ControlState before = control_state(c.vcpu);
    if (!guest::legal_cr4(before, value, guest::offered_cr4(c.vcpu.vm.cpuid())))
        return raise(c, isa::general_protection);
    guest::ControlState after = before;
    after.cr4 = value;
    return write_control(c, before, after);
}

Next write_cr8(ExitContext& c, std::uint64_t value) {
    if ((value & ~0xfull) != 0) return raise(c, isa::general_protection);
    c.vcpu.lapic.set_cr8(static_cast<std::uint8_t>(value));
    return done(c);
}

std::uint64_t current_tsc(const Vcpu& vcpu) { return vcpu.vm.clock().now + vcpu.tsc_adjust(); }

std::expected<std::uint64_t, isa::Fault> read_msr(Vcpu& vcpu, Msr msr) {
    using enum guest::MsrHome;
    const guest::MsrRow* const row = vcpu.msrs.row(msr);
    if (row == nullptr) return std::unexpected(isa::general_protection);
    switch (row->home) {
        case stored:
        case constant: return vcpu.msrs.read(msr);
        case apic_base: return vcpu.lapic.base();
        case x2apic: ++vcpu.account.apic_msrs; return vcpu.lapic.read_msr(msr);
        case tsc_deadline: ++vcpu.account.deadline_msrs; return vcpu.lapic.read_msr(msr);
        case tsc: return current_tsc(vcpu);
        case tsc_adjust: return vcpu.tsc_adjust();
        case efer: return vmx::read<field::GUEST_IA32_EFER>();
        case vmcs:
            switch (msr) {
                case Msr::IA32_PAT: return vmx::read<field::GUEST_IA32_PAT>();
                case Msr::IA32_DEBUGCTL: return vmx::read<field::GUEST_IA32_DEBUGCTL>();
                default: break;
            }
            break;
        case direct:  // these do not exit
        case checked:
        case command: break;
    }
    return std::unexpected(isa::general_protection);
}

std::expected<void, isa::Fault> write_msr(Vcpu& vcpu, Msr msr, std::uint64_t value) {
    using enum guest::MsrHome;
    const auto refused = std::unexpected(isa::general_protection);
    const guest::MsrRow* const row = vcpu.msrs.row(msr);
    if (row == nullptr) return refused;
    if (row->home != x2apic && !vcpu.msrs.legal(msr, value)) return refused;
    switch (row->home) {
        case stored:
        case constant: return vcpu.msrs.write(msr, value);
        case apic_base:
            vcpu.vm.machine().set_current(vcpu.index);
            vcpu.ask_attention();
            return vcpu.lapic.write_base(value);
        case x2apic: ++vcpu.account.apic_msrs; return vcpu.lapic.write_msr(msr, value);
        case tsc_deadline: ++vcpu.account.deadline_msrs; return vcpu.lapic.write_msr(msr, value);
        case tsc: vcpu.set_tsc_adjust(vcpu.tsc_adjust() + value - current_tsc(vcpu)); return {};
        case tsc_adjust: vcpu.set_tsc_adjust(value); return {};
        case efer: {
            const bool paging = (vmx::read<field::GUEST_CR0>() & isa::cr0::PG) != 0;
            const auto next = guest::legal_efer(vmx::read<field::GUEST_IA32_EFER>(), value, paging,
                                                vcpu.msrs.offered_efer());
            if (!next) return refused;
            vmx::write<field::GUEST_IA32_EFER>(*next);
            vcpu.vpid.changed();
            return {};
        }
        case vmcs:
            switch (msr) {
                case Msr::IA32_PAT: vmx::write<field::GUEST_IA32_PAT>(value); return {};
                case Msr::IA32_DEBUGCTL: vmx::write<field::GUEST_IA32_DEBUGCTL>(value); return {};
                default: break;
            }
            break;
        case checked:
        case command: cpu::wrmsr(msr, value); return {};
        case direct: break;
    }
    return refused;
}

}  // namespace

Next cr_access(ExitContext& c) {
    const vmx::CrAccess access = vmx::CrAccess::decode(c.exit.qualification);
    VcpuState state{c.vcpu};
    switch (access.kind) {
        case vmx::CrAccess::Kind::mov_to_cr: {
            // Outside 64-bit mode the operand has 32 bits, whatever an earlier mode left above them.
            const std::uint64_t operand = state.gpr(access.gpr);
            const std::uint64_t value = control_state(c.vcpu).mode_64() ? operand : operand & 0xffff'ffff;
            switch (access.number) {
                case 0: return write_cr0(c, value);
                case 4: return write_cr4(c, value);
                case 8: return write_cr8(c, value);
                default: return unexpected(c);
            }
        }
        case vmx::CrAccess::Kind::mov_from_cr:
            if (access.number != 8) return unexpected(c);
            state.set_gpr(access.gpr, c.vcpu.lapic.cr8());
            return done(c);
        // TS, and the bits of LMSW, are the guest's own.
        case vmx::CrAccess::Kind::clts:
        case vmx::CrAccess::Kind::lmsw: break;
    }
    return unexpected(c);
}

Next rdmsr(ExitContext& c) {
    isa::Registers& r = c.vcpu.registers;
    const auto value = read_msr(c.vcpu, static_cast<Msr>(r[Gpr::RCX]));
    if (!value) return raise(c, value.error());
    r[Gpr::RAX] = *value & 0xffff'ffff;
    r[Gpr::RDX] = *value >> 32;
    return done(c);
}

Next wrmsr(ExitContext& c) {
    const isa::Registers& r = c.vcpu.registers;
    const std::uint64_t value = (r[Gpr::RDX] & 0xffff'ffff) << 32 | (r[Gpr::RAX] & 0xffff'ffff);
    if (const auto written = write_msr(c.vcpu, static_cast<Msr>(r[Gpr::RCX]), value); !written)
        return raise(c, written.error());
    c.vcpu.skip_instruction(c.exit.length);
    // Translations that IA32_EFER made stale are dropped on the way back in.
    return c.vcpu.vpid.is_stale(c.cpu.index()) ? Next::pick : Next::resume;
}

}  // namespace bulkhead::monitor::handler
