// SPDX-License-Identifier: Apache-2.0
#include "arch/cpu/instructions.hpp"
#include "arch/cpu/traps.hpp"
#include "guest/lapic.hpp"
#include "lib/log.hpp"
#include "monitor/cpu_loop.hpp"
#include "monitor/handlers.hpp"
#include "monitor/host_interrupts.hpp"
#include "monitor/vm.hpp"
#include "vmx/entry_failure.hpp"
#include "vmx/event.hpp"
#include "vmx/fields.hpp"

namespace bulkhead::monitor::handler {

namespace field = vmx::field;

// #DB and #AC are intercepted because their delivery can raise them again without end, in which the processor takes
// no interrupt (a guest could hold the CPU for ever); an exit in between breaks the circle. #MC is the machine's.
Next exception_or_nmi(ExitContext& c) {
    const vmx::InterruptionInformation information = c.exit.interruption;
    if (information.type() == vmx::EventType::nmi) {
        cpu::dispatch_nmi();
        cpu::unblock_nmis();
        return Next::pick;
    }
    if (information.is(vmx::EventType::hardware_exception, isa::Exception::MC))
        panic("machine check while guest {} ran", c.vcpu.vm.name());
    const auto interrupted = vmx::interrupted_event();
    if (interrupted) c.vcpu.deliver_again(*interrupted);
    if (information.is(vmx::EventType::hardware_exception, isa::Exception::DB))
        vmx::latch_debug_exception(c.exit.qualification);
    // Undefined where the delivery of an event was interrupted (SDM 27.2.3).
    if (!interrupted && information.nmi_unblocked_by_iret())
        vmx::write<field::GUEST_INTERRUPTIBILITY_STATE>(vmx::read<field::GUEST_INTERRUPTIBILITY_STATE>() |
                                                        vmx::interruptibility::BLOCKING_BY_NMI);
    if (information.type() == vmx::EventType::privileged_software_exception) {
        c.vcpu.deliver_again({.vector = information.vector(),
                              .type = information.type(),
                              .instruction_length = vmx::read<field::VM_EXIT_INSTRUCTION_LENGTH>()});
        return Next::resume;
    }
    isa::Fault fault{.vector = static_cast<isa::Exception>(information.vector())};
    if (information.has_error_code()) fault.error_code = c.exit.interruption_error_code;
    return raise(c, fault);
}

Next external_interrupt(ExitContext& c) {
    host_interrupt(c.exit.interruption.vector());
    return Next::resume;
}

Next window(ExitContext& c) {
    c.vcpu.ask_attention();
    return Next::resume;
}

// The processor has ended a level-triggered interrupt; the local APIC and the I/O APICs have to know (SDM 29.1.4).
Next virtualized_eoi(ExitContext& c) {
    c.vcpu.vm.machine().set_current(c.vcpu.index);
    c.vcpu.lapic.ended_in_hardware(static_cast<std::uint8_t>(c.exit.qualification));
    return Next::resume;
}

// A timer of the guest's devices, or the end of its time.
Next preemption_timer(ExitContext& c) {
    c.vcpu.vm.expire_timers(c.vcpu.seat);
    return c.cpu.mark() >= c.limit ? Next::pick : Next::resume;
}

Next triple_fault(ExitContext& c) {
    c.vcpu.vm.crash(c.vcpu, "triple fault", Vm::Ending::triple_fault);
    return Next::pick;
}

// An INIT that somebody outside sent to this CPU: it is not the guest's.
Next init_signal(ExitContext&) { return Next::resume; }

Next entry_failed(ExitContext& c) {
    char storage[400];
    TextBuffer text{storage};
    vmx::explain_entry_failure(text, vmx::EntryOutcome::exited, the_system.platform, the_system.widths);
    c.vcpu.vm.crash(c.vcpu, text.view());
    return Next::pick;
}

Next unexpected(ExitContext& c) {
    char storage[120];
    TextBuffer text{storage};
    print(text, "exit for a reason that is not handled: {} ({}), qualification {:x}", vmx::name_of(c.exit.reason()),
          static_cast<unsigned>(c.exit.reason()), vmx::read<field::EXIT_QUALIFICATION>());
    c.vcpu.vm.crash(c.vcpu, text.view());
    return Next::pick;
}

}  // namespace bulkhead::monitor::handler
