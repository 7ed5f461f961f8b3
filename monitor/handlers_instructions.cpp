// SPDX-License-Identifier: Apache-2.0
#include "arch/isa/control.hpp"
#include "guest/control_registers.hpp"
#include "monitor/cpu_loop.hpp"
#include "monitor/handlers.hpp"
#include "monitor/vcpu_state.hpp"
#include "monitor/vm.hpp"

namespace bulkhead::monitor::handler {

using isa::Gpr;

namespace {

void set_result(isa::Registers& r, const isa::CpuidResult& result) {
    r[Gpr::RAX] = result.eax;
    r[Gpr::RBX] = result.ebx;
    r[Gpr::RCX] = result.ecx;
    r[Gpr::RDX] = result.edx;
}

// The leaves whose answer depends on the vCPU's state or on a subleaf.
[[gnu::noinline]] Next cpuid_by_state(ExitContext& c) {
    const VcpuState state{c.vcpu};
    const bool code_64 = (state.segment(isa::Segment::CS).rights & isa::access_rights::L) != 0;
    isa::Registers& r = c.vcpu.registers;
    set_result(r,
               c.vcpu.vm.cpuid().get(static_cast<std::uint32_t>(r[Gpr::RAX]), static_cast<std::uint32_t>(r[Gpr::RCX]),
                                     {.apic_id = c.vcpu.lapic.id(),
                                      .apic_enabled = c.vcpu.lapic.is_enabled(),
                                      .osxsave = (state.cr4() & isa::cr4::OSXSAVE) != 0,
                                      .ospke = (state.cr4() & isa::cr4::PKE) != 0,
                                      .mode_64 = code_64 && (state.efer() & isa::efer::LMA) != 0,
                                      .xcr0 = c.vcpu.processor.xcr0()}));
    return done(c);
}

}  // namespace

Next raise(ExitContext& c, const isa::Fault& fault) {
    if (c.vcpu.raise(fault)) return Next::resume;
    return triple_fault(c);
}

Next cpuid(ExitContext& c) {
    isa::Registers& r = c.vcpu.registers;
    const isa::CpuidResult* const plain = c.vcpu.vm.cpuid().find_plain(static_cast<std::uint32_t>(r[Gpr::RAX]));
    if (plain == nullptr) return cpuid_by_state(c);
    set_result(r, *plain);
    return done(c);
}

Next hlt(ExitContext& c) {
    c.vcpu.skip_instruction(c.exit.length);
    c.vcpu.halt();
    return c.vcpu.wait == Vcpu::Wait::none ? Next::resume : Next::pick;
}

Next skip(ExitContext& c) { return done(c); }

// A loop of PAUSEs: it waits for another vCPU, perhaps for one that waits for this CPU.
Next pause(ExitContext& c) {
    c.vcpu.skip_instruction(c.exit.length);
    c.cpu.yield();
    return Next::pick;
}

Next undefined(ExitContext& c) { return raise(c, isa::invalid_opcode); }

Next general_protection(ExitContext& c) { return raise(c, isa::general_protection); }

// CPL and CR4.OSXSAVE were checked by the processor before the exit (SDM volume 3, 25.1.1).
Next xsetbv(ExitContext& c) {
    const isa::Registers& r = c.vcpu.registers;
    const std::uint64_t value = (r[Gpr::RDX] & 0xffff'ffff) << 32 | (r[Gpr::RAX] & 0xffff'ffff);
    const auto index = static_cast<std::uint32_t>(r[Gpr::RCX]);
    if (index != 0 || !guest::legal_xcr0(value, c.vcpu.vm.cpuid().xcr0())) return raise(c, isa::general_protection);
    c.vcpu.processor.set_xcr0(value);
    return done(c);
}

}  // namespace bulkhead::monitor::handler
