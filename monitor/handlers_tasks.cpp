// SPDX-License-Identifier: Apache-2.0
#include "arch/cpu/instructions.hpp"
#include "guest/emulate/walk.hpp"
#include "guest/task_switch.hpp"
#include "monitor/cpu_loop.hpp"
#include "monitor/handlers.hpp"
#include "monitor/vcpu_state.hpp"
#include "monitor/vm.hpp"
#include "vmx/fields.hpp"
#include "vmx/qualification.hpp"

namespace bulkhead::monitor::handler {
namespace {

namespace emulator = guest::emulator;
namespace field = vmx::field;

// Keeps the PDPTEs that the walk of the guest's paging uses in step with CR3.
class Control final : public guest::TaskControl {
  public:
    Control(Vcpu& vcpu, std::array<std::uint64_t, 4>& pdptes) : vcpu_(vcpu), pdptes_(pdptes) {}

    bool load_cr3(std::uint64_t value) override {
        if ((vmx::read<field::GUEST_CR4>() & isa::cr4::PAE) != 0) {
            const auto loaded = load_pdptes(vcpu_, value);
            if (!loaded) return false;
            pdptes_ = *loaded;
            write_pdptes(pdptes_);
        }
        vmx::write<field::GUEST_CR3>(value);
        return true;
    }
    void clear_local_breakpoints() override {
        vmx::write<field::GUEST_DR7>(vmx::read<field::GUEST_DR7>() & ~isa::dr7::local_enable);
    }

  private:
    Vcpu& vcpu_;
    std::array<std::uint64_t, 4>& pdptes_;
};

guest::TaskSwitch request_of(const ExitContext& c, const std::optional<vmx::Event>& event) {
    const vmx::TaskSwitch exit = vmx::TaskSwitch::decode(c.exit.qualification);
    guest::TaskSwitch request{.source = static_cast<guest::TaskSource>(exit.source), .selector = exit.selector};
    // The processor goes on behind an instruction, an event that is no instruction's returns to where it came.
    const bool by_instruction = exit.source != vmx::TaskSwitch::Source::task_gate || (event && event->is_software());
    request.next_ip = vmx::read<field::GUEST_RIP>() + (by_instruction ? c.exit.length : 0);
    request.external = event && !event->is_software();
    if (event) request.error_code = event->error_code;
    return request;
}

// What the switch does to the blocking of interrupts and NMIs (SDM volume 3, 6.7.1 and 6.8.3).
void set_blocking(guest::TaskSource source, const std::optional<vmx::Event>& event) {
    using namespace vmx::interruptibility;
    std::uint32_t blocking =
        vmx::read<field::GUEST_INTERRUPTIBILITY_STATE>() & ~(BLOCKING_BY_STI | BLOCKING_BY_MOV_SS);
    if (source == guest::TaskSource::iret) blocking &= ~BLOCKING_BY_NMI;
    if (event && event->type == vmx::EventType::nmi) blocking |= BLOCKING_BY_NMI;
    vmx::write<field::GUEST_INTERRUPTIBILITY_STATE>(blocking);
}

}  // namespace

Next task_switch(ExitContext& c) {
    Vm& vm = c.vcpu.vm;
    const auto event = vmx::interrupted_event();
    const guest::TaskSwitch request = request_of(c, event);
    VcpuState state{c.vcpu};
    emulator::MachineBus bus{vm.memory(), vm.machine().mmio()};
    std::array<std::uint64_t, 4> pdptes{vmx::read<field::GUEST_PDPTE0>(), vmx::read<field::GUEST_PDPTE1>(),
                                        vmx::read<field::GUEST_PDPTE2>(), vmx::read<field::GUEST_PDPTE3>()};
    emulator::Walk walk{state, vm.memory(), {.physical_bits = vm.cpuid().physical_address_bits()}, &pdptes};
    Control control{c.vcpu, pdptes};
    const guest::TaskSwitchResult result = guest::switch_task(request, state, control, bus, walk);
    if (result.outcome == emulator::Outcome::unsupported) {
        vm.crash(c.vcpu, "a task switch goes through what is not memory");
        return Next::pick;
    }
    if (result.committed) {
        set_blocking(request.source, event);
        vmx::write<field::GUEST_PENDING_DEBUG_EXCEPTIONS>(std::uint64_t{0});
        // CR3 may have changed.
        c.vcpu.vpid.changed();
        c.vcpu.ask_attention();
    }
    if (result.outcome == emulator::Outcome::fault) {
        // It may make a double fault of the event that was on its way.
        if (event) c.vcpu.deliver_again(*event);
        (void)raise(c, result.fault);
        return Next::pick;
    }
    if (result.debug_trap) {
        cpu::write_dr<6>(cpu::read_dr<6>() | isa::dr6::BT);
        (void)raise(c, {isa::Exception::DB, std::nullopt, 0});
    }
    return Next::pick;
}

}  // namespace bulkhead::monitor::handler
