// SPDX-License-Identifier: Apache-2.0
#include "monitor/vcpu.hpp"

#include <utility>

#include "arch/cpu/instructions.hpp"
#include "arch/isa/control.hpp"
#include "guest/exceptions.hpp"
#include "guest/lapic.hpp"
#include "monitor/cpu_loop.hpp"
#include "monitor/vm.hpp"
#include "vmx/fields.hpp"
#include "vmx/guest_state.hpp"

namespace bulkhead::monitor {

namespace field = vmx::field;

Vcpu::Vcpu(Vm& owner, Seat& place, unsigned number, guest::Lapic& local_apic, vmx::Vmcs region,
           vmx::ProcessorState& state, std::uint16_t tag, const guest::MsrParameters& msr_parameters)
    : Entity(&owner),
      vm(owner),
      seat(place),
      lapic(local_apic),
      index(number),
      vmcs(std::move(region)),
      processor(state),
      vpid(tag),
      msrs(msr_parameters),
      wait(number == 0 ? Wait::none : Wait::startup),
      startup_(number == 0),
      primary_controls_(owner.controls().proc) {}

void Vcpu::use_virtual_interrupts() { lapic.bind(virtual_interrupts_.emplace(*this)); }

// Its own CPU looks at it before the next entry, and wakes it if that is a reason to. Another CPU makes it look: if it
// waits, by having its CPU look around; else it is in the guest and has to come out, or will be entered.
void Vcpu::signal() {
    const bool asked = attention_.exchange(true, std::memory_order_seq_cst);
    if (seat.cpu == cpu::index)
        seat.loop->wake(*this);
    else if (wait != Wait::none)
        the_system.doorbells[seat.cpu].ring();
    else if (!asked)
        the_system.doorbells[seat.cpu].kick();
}

void Vcpu::interrupt_pending() { signal(); }

void Vcpu::nmi() {
    nmi_pending_ = true;
    signal();
}

void Vcpu::init() {
    startup_.init();
    signal();
}

void Vcpu::startup(std::uint8_t vector) {
    startup_.startup(vector);
    if (startup_.pending()) signal();
}

bool Vcpu::raise(const isa::Fault& fault) {
    const std::optional<isa::Exception> first = interrupted_ ? interrupted_->exception_vector() : std::nullopt;
    interrupted_.reset();
    ask_attention();
    vmx::end_interrupt_shadow();
    // A page fault has its address in CR2 even where it makes a double fault.
    if (fault.vector == isa::Exception::PF) cpu::write_cr2(fault.address);
    switch (guest::combine(first, fault.vector)) {
        case guest::Combination::shutdown: return false;
        case guest::Combination::double_fault:
            event_ = vmx::Event::exception({isa::Exception::DF, 0u, 0});
            return true;
        case guest::Combination::serial: break;
    }
    event_ = vmx::Event::exception(fault);
    if (guest::pushes_resume_flag(fault.vector))
        vmx::write<field::GUEST_RFLAGS>(vmx::read<field::GUEST_RFLAGS>() | isa::rflags::RF);
    return true;
}

void Vcpu::deliver_again(const vmx::Event& event) {
    interrupted_ = event;
    // An NMI that was being delivered blocks further ones already; injected anew it must find the way free.
    if (event.type == vmx::EventType::nmi)
        vmx::write<field::GUEST_INTERRUPTIBILITY_STATE>(vmx::read<field::GUEST_INTERRUPTIBILITY_STATE>() &
                                                        ~vmx::interruptibility::BLOCKING_BY_NMI);
    vmx::end_interrupt_shadow();
    ask_attention();
}

void Vcpu::set_tsc_adjust(std::uint64_t adjust) {
    tsc_adjust_ = adjust;
    vmx::write<field::TSC_OFFSET>(adjust - vm.tsc_base());
    lapic.set_tsc_adjust(adjust);
}

// SDM volume 3, table 9-1. What an INIT finds underway - an event to deliver, an NMI, a HLT - is gone.
void Vcpu::initialize() {
    event_.reset();
    interrupted_.reset();
    nmi_pending_ = false;
    registers = {};
    registers[isa::Gpr::RDX] = vm.cpuid().version();
    vmx::write_guest_state_after_init(vm.cr0(), vm.cr4());
    processor.init();
    lapic.init();
    vpid.changed();
}

// In real mode; the rest is as the INIT left it.
void Vcpu::begin_at(std::uint16_t segment, std::uint16_t offset) {
    isa::SegmentRegister cs = vmx::read_segment(isa::Segment::CS);
    cs.selector = segment;
    cs.base = std::uint64_t{segment} << 4;
    vmx::write_segment(isa::Segment::CS, cs);
    vmx::write<field::GUEST_RIP>(std::uint64_t{offset});
}

void Vcpu::obey_startup() {
    for (;;) {
        switch (startup_.obey()) {
            case guest::Startup::Order::initialize:
                initialize();
                if (startup_.waiting()) break;
                // At its reset vector there is firmware, which goes on as after power-up, or where it was told to, and
                // takes the 8259s' interrupts for granted (MP specification 1.4, 3.6.2.2).
                if (vm.machine().has_firmware()) {
                    lapic.enter_virtual_wire_mode();
                    break;
                }
                if (const auto to = vm.machine().resume_from_init(vm.memory())) {
                    begin_at(to->segment, to->offset);
                    break;
                }
                vm.reset();
                return;
            // SDM volume 3, 8.4.3.
            case guest::Startup::Order::start:
                begin_at(static_cast<std::uint16_t>(startup_.vector() << 8), 0);
                break;
            case guest::Startup::Order::none:
                wait = startup_.waiting() ? Wait::startup : Wait::none;
                return;
        }
    }
}

bool Vcpu::prepare_events() {
    const MachineLock lock{vm};
    if (startup_.pending()) {
        obey_startup();
        ask_attention();
        return false;
    }
    if (interrupted_) event_ = std::exchange(interrupted_, std::nullopt);
    inject_next();
    if (virtual_interrupts_) virtual_interrupts_->prepare();
    write_primary_controls();
    attention_.store(false, std::memory_order_relaxed);
    return true;
}

void Vcpu::inject_next() {
    if (event_) {
        vmx::inject(*event_);
        event_.reset();
        return;
    }
    if (!nmi_pending_ && !lapic.interrupt_deliverable()) return;
    // A trap of the instruction before comes first (SDM volume 3, table 6-2): the window opens behind it.
    if (vmx::debug_exception_pending()) return;
    const std::uint32_t blocking = vmx::read<field::GUEST_INTERRUPTIBILITY_STATE>();
    if (nmi_pending_ && vmx::nmi_window_open(blocking)) {
        vmx::inject(vmx::Event::nmi());
        nmi_pending_ = false;
        return;
    }
    if (lapic.interrupt_deliverable() && vmx::interrupt_window_open(vmx::read<field::GUEST_RFLAGS>(), blocking))
        if (const auto vector = lapic.acknowledge()) vmx::inject(vmx::Event::interrupt(*vector));
}

// A window is asked for where something still waits.
void Vcpu::write_primary_controls() {
    namespace proc = vmx::control::proc;
    std::uint32_t controls = vm.controls().proc;
    if (lapic.interrupt_deliverable()) controls |= proc::INTERRUPT_WINDOW_EXITING;
    if (nmi_pending_) controls |= proc::NMI_WINDOW_EXITING;
    if (virtual_interrupts_) controls |= virtual_interrupts_->primary_controls();
    if (controls == primary_controls_) return;
    primary_controls_ = controls;
    vmx::write<field::PRIMARY_PROCESSOR_BASED_CONTROLS>(controls);
}

// What a halted processor blocks stays blocked: in the handler of an NMI, the next one does not end the HLT.
void Vcpu::halt() {
    // A trap that is due after HLT itself takes the processor out of it at once (SDM volume 2, HLT).
    if (vmx::debug_exception_pending()) return;
    const bool interrupts = (vmx::read<field::GUEST_RFLAGS>() & isa::rflags::IF) != 0;
    nmis_blocked_ = !vmx::nmi_window_open(vmx::read<field::GUEST_INTERRUPTIBILITY_STATE>());
    wait = interrupts ? Wait::interrupt : Wait::nmi;
    if (has_wake_event()) wait = Wait::none;
}

// Of any vCPU of this CPU: its VMCS need not be the current one.
bool Vcpu::has_wake_event() const {
    if (startup_.pending()) return true;
    if (wait == Wait::startup) return false;
    if (event_ || interrupted_) return true;
    if (nmi_pending_ && (wait == Wait::serial_line || !nmis_blocked_)) return true;
    if (wait == Wait::nmi) return false;
    return lapic.interrupt_deliverable();
}

// RIP in the width of the code that the guest runs. CS.L means nothing outside IA-32e mode (SDM volume 3, 3.4.5).
std::uint64_t Vcpu::wrapped(std::uint64_t rip) {
    const bool is_64_bit = (vmx::read<field::GUEST_CS_ACCESS_RIGHTS>() & isa::access_rights::L) != 0 &&
        (vmx::read<field::GUEST_IA32_EFER>() & isa::efer::LMA) != 0;
    return is_64_bit ? rip : rip & 0xffff'ffff;
}

void Vcpu::end_shadow() {
    vmx::end_interrupt_shadow();
    ask_attention();
}

guest::Breakpoints Vcpu::breakpoints() {
    return {.address = {cpu::read_dr<0>(), cpu::read_dr<1>(), cpu::read_dr<2>(), cpu::read_dr<3>()},
            .dr7 = vmx::read<field::GUEST_DR7>()};
}

void Vcpu::meet(std::uint64_t pending) {
    if (pending != 0)
        vmx::write<field::GUEST_PENDING_DEBUG_EXCEPTIONS>(vmx::read<field::GUEST_PENDING_DEBUG_EXCEPTIONS>() | pending);
}

void Vcpu::meet_breakpoints_of_port(std::uint16_t port, unsigned size) {
    if ((vmx::read<field::GUEST_CR4>() & isa::cr4::DE) != 0) meet(breakpoints().match_port(port, size));
}

void Vcpu::complete_load_of_ss() {
    using namespace vmx::interruptibility;
    const std::uint32_t blocking = vmx::read<field::GUEST_INTERRUPTIBILITY_STATE>();
    vmx::write<field::GUEST_INTERRUPTIBILITY_STATE>((blocking & ~BLOCKING_BY_STI) | BLOCKING_BY_MOV_SS);
    vmx::trace_instruction(true);
}

}  // namespace bulkhead::monitor
