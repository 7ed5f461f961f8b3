// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>

#include "arch/isa/control.hpp"
#include "arch/isa/exception.hpp"
#include "arch/isa/registers.hpp"
#include "guest/breakpoints.hpp"
#include "guest/interrupt.hpp"
#include "guest/msr.hpp"
#include "guest/startup.hpp"
#include "monitor/accounting.hpp"
#include "monitor/sched.hpp"
#include "monitor/virtual_interrupts.hpp"
#include "vmx/event.hpp"
#include "vmx/exit.hpp"
#include "vmx/fields.hpp"
#include "vmx/switch.hpp"
#include "vmx/translation.hpp"
#include "vmx/vmcs.hpp"

namespace bulkhead::guest {
class Lapic;
}

namespace bulkhead::monitor {

struct Seat;
class Vm;

// One processor of a guest. It lives on one CPU, that of its seat, for as long as the guest runs, and belongs to that
// CPU; what the models tell it may come from any, with the machine of the VM locked (see MachineLock).
class Vcpu final : public guest::ProcessorEvents, public Entity {
  public:
    Vcpu(Vm& vm, Seat& seat, unsigned index, guest::Lapic& lapic, vmx::Vmcs vmcs, vmx::ProcessorState& processor,
         std::uint16_t vpid, const guest::MsrParameters& msr_parameters);

    // ---- guest::ProcessorEvents

    void interrupt_pending() override;
    void nmi() override;
    void init() override;
    void startup(std::uint8_t vector) override;

    // ---- what the next entry delivers

    // A fault of the instruction that exited. Combines with an event whose delivery the exit interrupted (SDM volume 3,
    // table 6-5); false when that makes a triple fault.
    [[nodiscard]] bool raise(const isa::Fault& fault);
    // The delivery of an event was interrupted by the exit; it starts again unless a fault takes its place.
    void deliver_again(const vmx::Event& event);
    bool has_event() const { return event_.has_value(); }
    // Writes the event, NMI or interrupt that is due to the VMCS, and asks for a window where one has to wait. False
    // when the vCPU is not to be entered as it is: after an INIT or a start-up IPI it waits, or comes anew.
    [[nodiscard]] bool prepare_events();
    // Cheap: whether `prepare_events` has anything to do.
    bool needs_attention() const { return attention_.load(std::memory_order_relaxed); }
    void ask_attention() { attention_.store(true, std::memory_order_relaxed); }
    // HLT: waits, unless there is a reason to go on already. The machine is locked.
    void halt();
    // Whether a vCPU that waits has a reason to go on. The machine is locked.
    bool has_wake_event() const;
    // Something has come for it, or it may look again whether it still has to wait.
    void signal();

    // The processor helps with the local APIC of this vCPU. Before the first entry.
    void use_virtual_interrupts();

    // Past the instruction that exited: RIP, and what its completion does (SDM volume 3, 6.8.3 and 17.3.1.4).
    void skip_instruction(std::uint32_t length);
    void complete_instruction();
    // The same of one that loads SS: interrupts, and #DB of a single step, wait for the next.
    void complete_load_of_ss();
    // An access to a port, done in the processor's place, may meet a breakpoint: the trap is due with the next entry.
    void trace_port(std::uint16_t port, unsigned size) {
        if (breakpoints_enabled()) [[unlikely]]
            meet_breakpoints_of_port(port, size);
    }
    // The same of data in two steps, since an instruction that faults in the end has met none. In the pending debug
    // exceptions' bits.
    static std::uint64_t breakpoints_at(std::uint64_t linear, unsigned size, bool write) {
        return breakpoints_enabled() ? breakpoints().match_data(linear, size, write) : 0;
    }
    static void meet(std::uint64_t pending);
    static bool breakpoints_enabled() { return (vmx::read<vmx::field::GUEST_DR7>() & 0xff) != 0; }

    isa::Registers registers;  // all but RSP

    // IA32_TSC_ADJUST (SDM volume 3, 17.17.3): what the guest added to this vCPU's TSC.
    std::uint64_t tsc_adjust() const { return tsc_adjust_; }
    void set_tsc_adjust(std::uint64_t adjust);

    Vm& vm;
    Seat& seat;
    guest::Lapic& lapic;
    const unsigned index;

    vmx::Exit exit;  // the last one
    vmx::Vmcs vmcs;
    vmx::ProcessorState& processor;
    vmx::VpidHistory vpid;
    guest::Msrs msrs;
    Accounting account;

    // Why a vCPU that is not runnable waits.
    enum class Wait : std::uint8_t {
        none,
        interrupt,       // HLT
        nmi,             // HLT with interrupts masked
        serial_line,     // it polls a transmitter that is busy
        output_room,     // what it wrote to a debug console has no room yet
        startup,         // for its start-up IPI
    };
    Wait wait{Wait::none};
    bool waits_for_console() const { return wait == Wait::serial_line || wait == Wait::output_room; }
    std::uint64_t blocked_since{};    // host TSC
    std::uint64_t overhead_before{};  // the CPU's, when it blocked: see CpuLoop

  private:
    static std::uint64_t wrapped(std::uint64_t rip);
    void obey_startup();
    void initialize();
    void begin_at(std::uint16_t segment, std::uint16_t offset);
    void end_shadow();
    static guest::Breakpoints breakpoints();
    void meet_breakpoints_of_port(std::uint16_t port, unsigned size);
    void inject_next();
    void write_primary_controls();

    std::atomic<bool> attention_{};
    guest::Startup startup_;
    bool nmi_pending_{};
    bool nmis_blocked_{};  // while it is halted
    std::uint32_t primary_controls_;  // as the VMCS has them
    std::optional<VirtualInterrupts> virtual_interrupts_;
    std::optional<vmx::Event> event_;
    std::optional<vmx::Event> interrupted_;
    std::uint64_t tsc_adjust_{};
};

inline void Vcpu::skip_instruction(std::uint32_t length) {
    const std::uint64_t rip = vmx::read<vmx::field::GUEST_RIP>();
    std::uint64_t next = rip + length;
    // Outside 64-bit code RIP has 32 bits; the sum can leave them only if it was near their end.
    if (((rip ^ next) >> 32) != 0) [[unlikely]]
        next = wrapped(next);
    vmx::write<vmx::field::GUEST_RIP>(next);
    complete_instruction();
}

inline void Vcpu::complete_instruction() {
    using namespace vmx::interruptibility;
    const std::uint32_t blocking = vmx::read<vmx::field::GUEST_INTERRUPTIBILITY_STATE>();
    if ((blocking & (BLOCKING_BY_STI | BLOCKING_BY_MOV_SS)) != 0) [[unlikely]]
        end_shadow();
    if ((vmx::read<vmx::field::GUEST_RFLAGS>() & (isa::rflags::TF | isa::rflags::RF)) != 0) [[unlikely]]
        vmx::trace_instruction(true);
}

}  // namespace bulkhead::monitor
