// SPDX-License-Identifier: Apache-2.0
#include "monitor/cpu_loop.hpp"

#include <algorithm>
#include <limits>

#include "arch/cpu/apic.hpp"
#include "arch/cpu/clock.hpp"
#include "arch/cpu/instructions.hpp"
#include "monitor/exit_table.hpp"
#include "monitor/host_devices.hpp"
#include "monitor/operator.hpp"
#include "monitor/vm.hpp"
#include "vmx/entry.hpp"
#include "vmx/entry_failure.hpp"
#include "vmx/fields.hpp"
#include "vmx/host_state.hpp"
#include "vmx/invalidation.hpp"

namespace bulkhead::monitor {
namespace {

namespace field = vmx::field;

// Every runnable vCPU gets its turn within 20 ms; a slice is no shorter than 2 ms.
constexpr std::uint64_t latency_per_second = 50;
constexpr std::uint64_t shortest_per_second = 500;
// How often the timers of a guest that sleeps on may interrupt the others.
constexpr std::uint64_t vain_timers_per_second = 10'000;

// A reason that the architecture does not define yet has the row of one that it never will. Apart, so that the usual way
// is a branch not taken.
[[gnu::noinline]] std::size_t undefined_reason() { return 71; }

std::size_t exit_index(vmx::ExitReason reason) {
    const auto index = static_cast<std::size_t>(reason);
    return index < exit_table.size() ? index : undefined_reason();
}

}  // namespace

BULKHEAD_PER_CPU constinit const Vcpu* running_vcpu = nullptr;

CpuLoop::CpuLoop(unsigned index)
    : index_(index),
      doorbell_(the_system.doorbells[index]),
      queue_(cpu::tsc_hz() / latency_per_second, cpu::tsc_hz() / shortest_per_second),
      timer_shift_(the_system.platform.capabilities.preemption_timer_shift()) {}

void CpuLoop::adopt(Vm& vm) {
    vms_[vm_count_++] = &vm;
    vm.set_loop(this);
}

void CpuLoop::enqueue(Vcpu& vcpu) {
    queue_.add(vcpu);
    preempt_ |= queue_.wake(vcpu);
}

void CpuLoop::dequeue(Vcpu& vcpu) {
    queue_.remove(vcpu);
    if (loaded_ == &vcpu) loaded_ = nullptr;
}

void CpuLoop::charge_idle(Vcpu& vcpu) {
    const std::uint64_t overhead = overhead_ - vcpu.overhead_before;
    const std::uint64_t waited = mark_ - vcpu.blocked_since;
    vcpu.account.root += std::min(overhead, waited);
    vcpu.account.idle += waited - std::min(overhead, waited);
}

bool CpuLoop::can_go_on(Vcpu& vcpu) {
    if (vcpu.wait == Vcpu::Wait::output_room) return !vcpu.vm.machine().output_stalled();
    if (vcpu.wait == Vcpu::Wait::serial_line && !vcpu.vm.machine().uart().busy_until()) return true;
    return vcpu.has_wake_event();
}

void CpuLoop::wake(Vcpu& vcpu) {
    if (vcpu.runnable() || !can_go_on(vcpu)) return;
    charge_idle(vcpu);
    vcpu.wait = Vcpu::Wait::none;
    preempt_ |= queue_.wake(vcpu);
}

void CpuLoop::block(Vcpu& vcpu) {
    const std::uint64_t now = cpu::rdtsc();
    vcpu.account.root += now - mark_;
    mark_ = now;
    vcpu.blocked_since = now;
    vcpu.overhead_before = overhead_;
    queue_.block();
}

void CpuLoop::load(Vcpu& vcpu) {
    if (loaded_ == &vcpu) return;
    unload();
    GuestMemory::close_windows();
    vcpu.vmcs.load();
    vcpu.processor.load(the_system.features);
    loaded_ = &vcpu;
}

void CpuLoop::unload() {
    if (loaded_ != nullptr) loaded_->processor.save(the_system.features);
    loaded_ = nullptr;
}

[[noreturn]] void CpuLoop::run() {
    mark_ = cpu::rdtsc();
    for (;;) {
        look_around();
        if (auto* const next = static_cast<Vcpu*>(queue_.pick()))
            run_vcpu(*next);
        else
            idle();
    }
}

// Everything that is not a guest's own exit: the host's devices, requests of other CPUs, timers of guests that wait.
void CpuLoop::look_around() {
    doorbell_.rung.store(false, std::memory_order_seq_cst);
    if (index_ == 0) host_devices().service();
    for (std::size_t i = 0; i < vm_count_; ++i) serve_vm(i);
    if (index_ == 0) leave_if_done();
}

void CpuLoop::serve_vm(std::size_t slot) {
    Vm& vm = *vms_[slot];
    if (vm.has_requests()) vm.serve_requests(*this);
    if (vm.state() == Vm::State::building) vm.build_step(*this);
    if (vm.state() != Vm::State::running) return;
    serve_timers(slot);
    if (vm.is_ending()) vm.end(*this);
}

// The guest does not run, but what its timers cost is its own. A guest can have timers that expire with every tick and
// wake nobody (interrupts masked, HLT): each such expiry is followed by a pause, or its neighbours would do nothing but
// serve them.
void CpuLoop::serve_timers(std::size_t slot) {
    Vm& vm = *vms_[slot];
    Vcpu& vcpu = vm.vcpu();
    const std::uint64_t began = cpu::rdtsc();
    vm.clock().now = began - vm.tsc_base();
    const bool due = vm.timers().earliest() <= vm.clock().now;
    if (due) vm.timers().expire();
    if (vcpu.wait == Vcpu::Wait::serial_line || vcpu.wait == Vcpu::Wait::output_room) wake(vcpu);
    if (!due) return;
    const std::uint64_t spent = cpu::rdtsc() - began;
    vcpu.account.root += spent;
    queue_.charge(vcpu, spent);
    mark_ += spent;
    if (vcpu.runnable()) return;
    vcpu.blocked_since += spent;
    quiet_until_[slot] = began + cpu::tsc_hz() / vain_timers_per_second;
}

// On the host's TSC: when something has to happen for a VM of this CPU other than `except`.
std::uint64_t CpuLoop::nearest_deadline(const Vm* except) const {
    std::uint64_t nearest = index_ == 0 ? host_devices().next_service() : std::numeric_limits<std::uint64_t>::max();
    for (std::size_t i = 0; i < vm_count_; ++i) {
        Vm& vm = *vms_[i];
        if (&vm == except) continue;
        if (vm.state() == Vm::State::building) return 0;
        if (vm.state() != Vm::State::running) continue;
        // One that is runnable has its turn anyway, and its timers then.
        if (vm.vcpu().runnable()) continue;
        const guest::Tick earliest = vm.timers().earliest();
        if (earliest != guest::never) nearest = std::min(nearest, std::max(vm.tsc_base() + earliest, quiet_until_[i]));
    }
    return nearest;
}

void CpuLoop::run_vcpu(Vcpu& vcpu) {
    load(vcpu);
    vmx::prepare_translations(the_system.platform.capabilities, vcpu.vm.ept().history(), vcpu.vm.ept().pointer(),
                              vcpu.vpid, index_);
    preempt_ = false;
    const std::uint64_t start = mark_;
    // A VM that is being built gets a step after each slice.
    const std::uint64_t others = nearest_deadline(&vcpu.vm);
    const std::uint64_t limit = others == 0 ? start + queue_.slice() : std::min(start + queue_.slice(), others);
    const std::uint64_t idle_before = vcpu.account.idle;
    running_vcpu = &vcpu;
    others_ = others;
    enter(vcpu, limit);
    running_vcpu = nullptr;
    if (vcpu.vm.is_ending()) {
        vcpu.vm.end(*this);
        return;
    }
    queue_.account(mark_ - start - (vcpu.account.idle - idle_before));
    if (vcpu.wait != Vcpu::Wait::none) block(vcpu);
}

bool CpuLoop::wait_in_place(Vcpu& vcpu) {
    if (vcpu.wait == Vcpu::Wait::none) return false;
    Vm& vm = vcpu.vm;
    while (queue_.runnable() == 1 && !vm.is_ending() && !doorbell_.rung.load(std::memory_order_relaxed)) {
        const guest::Tick due = vm.timers().earliest();
        if (due == guest::never || vm.tsc_base() + due >= others_) return false;
        const std::uint64_t halted = cpu::rdtsc();
        cpu::apic::arm_timer(vm.tsc_base() + due);
        // Interrupts are off: one that comes after the look at the doorbell ends the HLT.
        if (!doorbell_.rung.load(std::memory_order_seq_cst)) cpu::safe_halt();
        mark_ = cpu::rdtsc();
        vcpu.account.idle += mark_ - halted;
        vm.clock().now = mark_ - vm.tsc_base();
        vm.timers().expire();
        if (!can_go_on(vcpu)) continue;
        vcpu.wait = Vcpu::Wait::none;
        return true;
    }
    return false;
}

// Enters and dispatches until `limit` on the host's TSC, or until somebody else's business has to be looked at. What is
// in the loop is paid at each exit: `make bench` counts it.
void CpuLoop::enter(Vcpu& vcpu, std::uint64_t limit) {
    Vm& vm = vcpu.vm;
    ExitContext context{vcpu, *this, vcpu.exit, limit};
    const std::atomic<bool>& rung = doorbell_.rung;
    const unsigned timer_shift = timer_shift_;
    const std::uint64_t base = vm.tsc_base();
    const std::uint64_t guest_limit = limit - base;
    const std::uint64_t began = mark_, idle_before = vcpu.account.idle;
    std::uint64_t in_guest = 0;
    for (;;) {
        if (vcpu.needs_attention()) [[unlikely]]
            vcpu.prepare_events();
        // From here on the guest is entered: what prepare_events wrote is delivered once. A deadline that has passed
        // gives a count of 0, and an exit before the guest's first instruction (SDM 26.7.4). The count fits in 32 bits,
        // because `limit` is a slice away at most.
        const std::uint64_t next = std::min(guest_limit, vm.timers().earliest());
        const std::uint64_t entered = cpu::rdtsc();
        const auto left = static_cast<std::int64_t>(next + base - entered);
        const std::uint64_t count = static_cast<std::uint64_t>(left > 0 ? left : 0) >> timer_shift;
        vmx::write<field::VMX_PREEMPTION_TIMER_VALUE>(static_cast<std::uint32_t>(count));
        const vmx::EntryOutcome outcome = vmx::enter(vcpu.registers, vcpu.vmcs.launched());
        if (outcome != vmx::EntryOutcome::exited) [[unlikely]] {
            report_entry_failure(vcpu, outcome);
            break;
        }
        mark_ = cpu::rdtsc();
        in_guest += mark_ - entered;
        vcpu.vmcs.set_launched();
        vcpu.exit.take();
        const std::size_t reason = exit_index(vcpu.exit.reason());
        ++vcpu.account.exits[reason];
        if (exit_table[reason](context) == Next::pick && !wait_in_place(vcpu)) break;
        if (rung.load(std::memory_order_relaxed)) [[unlikely]]
            break;
    }
    // What was not the guest's own was spent for it. The rest of the way out is charged to whatever comes next.
    vcpu.account.guest += in_guest;
    vcpu.account.root += mark_ - began - in_guest - (vcpu.account.idle - idle_before);
}

void CpuLoop::report_entry_failure(Vcpu& vcpu, vmx::EntryOutcome outcome) {
    char text[400];
    TextBuffer buffer{text};
    vmx::explain_entry_failure(buffer, outcome, the_system.platform, the_system.widths);
    vcpu.vm.crash(buffer.view());
}

void CpuLoop::idle() {
    const std::uint64_t deadline = nearest_deadline(nullptr);
    const std::uint64_t now = cpu::rdtsc();
    overhead_ += now - mark_;
    mark_ = now;
    if (deadline <= now) return;
    if (deadline != std::numeric_limits<std::uint64_t>::max()) cpu::apic::arm_timer(deadline);
    // Interrupts are off: one that comes after the look at the doorbell ends the HLT.
    if (!doorbell_.rung.load(std::memory_order_seq_cst)) cpu::safe_halt();
    mark_ = cpu::rdtsc();
    if (mark_ < deadline) cpu::apic::disarm_timer();
}

}  // namespace bulkhead::monitor
