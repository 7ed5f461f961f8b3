// SPDX-License-Identifier: Apache-2.0
#include "vmx/cpu.hpp"

#include "arch/cpu/instructions.hpp"
#include "arch/cpu/percpu.hpp"
#include "arch/isa/control.hpp"
#include "lib/log.hpp"
#include "vmx/instructions.hpp"
#include "vmx/invalidation.hpp"

namespace bulkhead::vmx {

namespace {

BULKHEAD_PER_CPU HostPhys vmxon_region;

constexpr std::string_view uneven_remedy = "turn off the processors that differ, or update the firmware";

std::expected<void, Refusal> check_this_processor() {
    if (const auto ok = check_processor(cpu::cpuid(1)); !ok) return ok;
    return check_firmware(cpu::rdmsr(isa::Msr::IA32_FEATURE_CONTROL));
}

bool allows(AllowedSettings allowed, std::uint32_t word) {
    return allowed.may_set(word) && allowed.may_clear(~word);
}

// A vCPU runs on every CPU, so every CPU has to be like the one that was probed.
bool is_alike(const Capabilities& here, const Platform& platform) {
    const Capabilities& there = platform.capabilities;
    const Controls& controls = platform.controls;
    return here.revision() == there.revision() && here.ept_vpid == there.ept_vpid &&
        here.preemption_timer_shift() == there.preemption_timer_shift() && here.cr0_fixed0 == there.cr0_fixed0 &&
        here.cr0_fixed1 == there.cr0_fixed1 && here.cr4_fixed0 == there.cr4_fixed0 &&
        here.cr4_fixed1 == there.cr4_fixed1 && allows(here.pin(), controls.pin) &&
        allows(here.proc(), controls.proc) && allows(here.proc2(), controls.proc2) &&
        allows(here.exit_controls(), controls.exit) && allows(here.entry_controls(), controls.entry);
}

// Firmware may leave the register open, on some CPUs or on all: VMXON faults until it is locked (SDM 23.7).
void lock_feature_control() {
    using namespace isa::feature_control;
    const std::uint64_t value = cpu::rdmsr(isa::Msr::IA32_FEATURE_CONTROL);
    if ((value & LOCK) == 0) cpu::wrmsr(isa::Msr::IA32_FEATURE_CONTROL, value | LOCK | VMXON_OUTSIDE_SMX);
}

// VMX operation fixes bits of CR0 and CR4 (SDM A.7 and A.8), and switching vCPUs takes the instructions of the extended
// state.
void set_control_registers(const Capabilities& c) {
    using namespace isa;
    cpu::write_cr0(((cpu::read_cr0() | c.cr0_fixed0 | cr0::MP) & c.cr0_fixed1) & ~(cr0::TS | cr0::EM));
    std::uint64_t cr4 = cpu::read_cr4() | cr4::OSFXSR | cr4::OSXMMEXCPT;
    if ((cpu::cpuid(1).ecx & cpuid::leaf1_ecx::XSAVE) != 0) cr4 |= cr4::OSXSAVE;
    cpu::write_cr4((cr4 | c.cr4_fixed0) & c.cr4_fixed1);
}

void clear_xss() {
    constexpr std::uint32_t xsaves = 1u << 3;
    if ((cpu::cpuid(1).ecx & isa::cpuid::leaf1_ecx::XSAVE) != 0 && (cpu::cpuid(0xd, 1).eax & xsaves) != 0)
        cpu::wrmsr(isa::Msr::IA32_XSS, 0);
}

}  // namespace

std::expected<Platform, Refusal> probe() {
    if (const auto ok = check_this_processor(); !ok) return std::unexpected(ok.error());
    const Capabilities capabilities = read_capabilities();
    const auto controls = choose_controls(capabilities);
    if (!controls) return std::unexpected(controls.error());
    if (const auto ok = check_capabilities(capabilities); !ok) return std::unexpected(ok.error());
    return Platform{capabilities, *controls, with_virtual_interrupts(*controls, capabilities).has_value()};
}

std::expected<void, Refusal> enable(mm::FramePool& pool, const Platform& platform) {
    if (const auto ok = check_this_processor(); !ok) return ok;
    if (!is_alike(read_capabilities(), platform))
        return std::unexpected(Refusal{"VT-x of one processor differs from the others'", {}, uneven_remedy});

    const auto region = pool.allocate(mm::OwnerId::hypervisor);
    if (!region)
        return std::unexpected(Refusal{"there is no memory for a VMXON region", {}, "give the machine more memory"});
    *pool.at<std::uint32_t>(*region) = platform.capabilities.revision();

    lock_feature_control();
    set_control_registers(platform.capabilities);
    clear_xss();
    if (instruction::vmxon(*region) != instruction::Outcome::succeed)
        panic("VMXON failed with the region at {}", *region);
    vmxon_region = *region;
    invalidate_everything(platform.capabilities);
    return {};
}

void disable(mm::FramePool& pool) {
    if (instruction::vmxoff() != instruction::Outcome::succeed) panic("VMXOFF failed");
    cpu::write_cr4(cpu::read_cr4() & ~isa::cr4::VMXE);
    pool.release(vmxon_region);
    vmxon_region = {};
}

}  // namespace bulkhead::vmx
