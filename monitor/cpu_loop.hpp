// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>

#include "arch/cpu/percpu.hpp"
#include "guest/config.hpp"
#include "monitor/sched.hpp"
#include "monitor/system.hpp"
#include "vmx/entry.hpp"

namespace bulkhead::monitor {

struct Seat;
class Vcpu;
class Vm;

// What one CPU does for ever: look at its mailboxes and timers, pick a vCPU, run it, halt when there is none.
//
// Time is charged without gaps. `mark_` is the host's TSC up to which it has been: the guest's own from entry to exit;
// root from exit to entry; and while no vCPU can run, what is not halted is overhead, that each vCPU which waited
// meanwhile counts as root.
class CpuLoop {
  public:
    explicit CpuLoop(unsigned index);

    void adopt(Seat& seat);
    [[noreturn]] void run();

    // ---- for the VMs that have a seat here, with their machine locked

    void enqueue(Vcpu& vcpu);
    void dequeue(Vcpu& vcpu);
    // Lets it run if it has a reason to.
    void wake(Vcpu& vcpu);

    // ---- for the exit handlers

    // The vCPU that runs now has nothing to do until `has_wake_event`.
    void block(Vcpu& vcpu);
    // The vCPU that runs now lets its siblings on this CPU go first, once it is out.
    void yield() { yields_ = true; }
    // The vCPU that runs now waits. If nothing else can run here before its own next timer, the CPU halts until then,
    // without the way through the scheduler. True when the vCPU goes on.
    bool wait_in_place(Vcpu& vcpu);
    unsigned index() const { return index_; }
    // Makes the vCPU's VMCS current and its ProcessorState the CPU's.
    void load(Vcpu& vcpu);
    void unload();
    // The host's TSC at the last exit (or end of a halt).
    std::uint64_t mark() const { return mark_; }

  private:
    void look_around();
    void serve_home(Vm& vm);
    void serve_seat(Seat& seat);
    void take_or_leave(Seat& seat);
    void serve_vcpus(Seat& seat);
    void serve_timers(Seat& seat);
    void run_vcpu(Vcpu& vcpu);
    void enter(Vcpu& vcpu, std::uint64_t limit);
    void report_entry_failure(Vcpu& vcpu, vmx::EntryOutcome outcome);
    void idle();
    static bool can_go_on(Vcpu& vcpu);
    static bool waits(Seat& seat);
    void charge_idle(Vcpu& vcpu);
    std::uint64_t nearest_deadline(const Seat* except) const;

    const unsigned index_;
    Doorbell& doorbell_;
    RunQueue queue_;
    std::array<Seat*, guest::max_guests> seats_{};
    std::size_t seat_count_{};
    Vcpu* loaded_{};
    bool yields_{};
    std::uint64_t mark_{};
    std::uint64_t run_began_{};  // of the vCPU that runs now
    std::uint64_t overhead_{};
    std::uint64_t others_{};  // while a vCPU runs: when something is due here for somebody else
    unsigned timer_shift_{};
};

// The vCPU that this CPU runs, for a report of the hypervisor's own fault.
BULKHEAD_PER_CPU extern const Vcpu* running_vcpu;

}  // namespace bulkhead::monitor
