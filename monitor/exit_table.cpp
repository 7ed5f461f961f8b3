// SPDX-License-Identifier: Apache-2.0
#include "monitor/exit_table.hpp"

#include <algorithm>

#include "monitor/cpu_loop.hpp"
#include "monitor/handlers.hpp"
#include "monitor/vm.hpp"

namespace bulkhead::monitor {
namespace {

using vmx::ExitReason;
using vmx::Needs;
using enum vmx::Needs;

// One function a row, so that what a handler does not need is not even tested for.
template <ExitHandler handler, Needs needs>
Next with(ExitContext& c) {
    c.exit.fetch(needs);
    return handler(c);
}

// For a handler that reaches the model of the machine: it has it for itself, and the guest's clock stands at the moment
// of the exit.
template <ExitHandler handler>
[[gnu::noinline]] Next with_lock(ExitContext& c) {
    const MachineLock lock{c.vcpu.vm};
    c.vcpu.vm.set_clock(c.cpu.mark());
    return handler(c);
}

template <ExitHandler handler, Needs needs>
Next with_machine(ExitContext& c) {
    c.exit.fetch(needs);
    if (c.vcpu.vm.is_shared()) [[unlikely]]
        return with_lock<handler>(c);
    c.vcpu.vm.set_clock(c.cpu.mark());
    return handler(c);
}

struct Rows {
    std::array<ExitHandler, vmx::exit_reason_count> handlers{};
    std::array<unsigned, vmx::exit_reason_count> written{};
};

constexpr Rows rows = [] {
    Rows r{};
    auto set = [&](ExitReason reason, Next (&handler)(ExitContext&)) {
        r.handlers[static_cast<std::size_t>(reason)] = &handler;
        ++r.written[static_cast<std::size_t>(reason)];
    };
    using enum ExitReason;
    namespace h = handler;

    set(EXCEPTION_OR_NMI, with<h::exception_or_nmi, interruption | qualification>);
    set(EXTERNAL_INTERRUPT, with<h::external_interrupt, interruption>);
    set(TRIPLE_FAULT, h::triple_fault);
    set(INIT_SIGNAL, h::init_signal);
    set(INTERRUPT_WINDOW, h::window);
    set(NMI_WINDOW, h::window);
    set(CPUID, with<h::cpuid, length>);
    set(HLT, with_machine<h::hlt, length>);
    set(INVD, with<h::skip, length>);
    set(WBINVD, with<h::skip, length>);
    set(PAUSE, with<h::pause, length>);
    set(TASK_SWITCH, with_machine<h::task_switch, length | qualification>);
    set(CR_ACCESS, with_machine<h::cr_access, length | qualification>);
    set(IO_INSTRUCTION, with_machine<h::io_instruction, length | qualification>);
    set(RDMSR, with_machine<h::rdmsr, length>);
    set(WRMSR, with_machine<h::wrmsr, length>);
    set(XSETBV, with<h::xsetbv, length>);
    set(EPT_VIOLATION, with_machine<h::ept_violation, qualification | guest_linear | guest_physical>);
    set(PREEMPTION_TIMER_EXPIRED, with_machine<h::preemption_timer, nothing>);
    set(VIRTUALIZED_EOI, with_machine<h::virtualized_eoi, qualification>);

    // Instructions that the guest's CPUID does not offer.
    for (const ExitReason reason :
         {GETSEC, VMCALL, VMCLEAR, VMLAUNCH, VMPTRLD, VMPTRST, VMREAD, VMRESUME, VMWRITE, VMXOFF, VMXON, MWAIT, MONITOR,
          INVEPT, INVVPID, VMFUNC, ENCLS, ENCLV, PCONFIG, UMWAIT, TPAUSE, LOADIWKEY, SEAMCALL, TDCALL, RDMSRLIST,
          WRMSRLIST, RSM, XSAVES, XRSTORS})
        set(reason, h::undefined);
    // CR4.PCE stays the guest's own, but there is no counter that it could read.
    set(RDPMC, h::general_protection);

    set(ENTRY_FAILURE_GUEST_STATE, h::entry_failed);
    set(ENTRY_FAILURE_MSR_LOADING, h::entry_failed);
    set(ENTRY_FAILURE_MACHINE_CHECK, h::entry_failed);

    // No control that Bulkhead sets lets these happen, or (the last line) nobody defines them.
    for (const ExitReason reason :
         {STARTUP_IPI, IO_SMI, OTHER_SMI, INVLPG, RDTSC, MOV_DR, MONITOR_TRAP_FLAG, TPR_BELOW_THRESHOLD,
          APIC_ACCESS, GDTR_OR_IDTR_ACCESS, LDTR_OR_TR_ACCESS, EPT_MISCONFIGURATION, RDTSCP,
          APIC_WRITE, RDRAND, INVPCID, RDSEED, PML_LOG_FULL, SPP_EVENT, ENQCMD_PASID_FAILURE, ENQCMDS_PASID_FAILURE,
          BUS_LOCK, INSTRUCTION_TIMEOUT, ExitReason{35}, ExitReason{38}, ExitReason{42}, ExitReason{71}})
        set(reason, h::unexpected);
    return r;
}();

// Counted, since not every compilation takes the address of a function template's instance for one that is not null: a
// sanitizer that checks pointers makes g++ wait for the linker's word. `set` takes a reference, and so no null.
static_assert(std::ranges::all_of(rows.written, [](unsigned n) { return n == 1; }), "every exit reason has one row");

}  // namespace

constinit const std::array<ExitHandler, vmx::exit_reason_count> exit_table = rows.handlers;

}  // namespace bulkhead::monitor
