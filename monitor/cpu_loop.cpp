// SPDX-License-Identifier: Apache-2.0
#include "monitor/cpu_loop.hpp"

#include <algorithm>
#include <limits>
#include <utility>

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

// A reason that the architecture does not define yet has the row of one that it never will. Apart, so that the usual
// way is a branch not taken.
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

void CpuLoop::adopt(Seat& seat) {
    seats_[seat_count_++] = &seat;
    seat.loop = this;
}

void CpuLoop::enqueue(Vcpu& vcpu) {
    queue_.add(vcpu);
    vcpu.blocked_since = mark_;
    vcpu.overhead_before = overhead_;
    if (vcpu.wait == Vcpu::Wait::none)
        static_cast<void>(queue_.wake(vcpu));
    else
        wake(vcpu);
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
    // When the vCPU that runs now has woken another one of its guest, which should run instead, it comes out.
    const bool preempts = queue_.wake(vcpu, running_vcpu != nullptr ? mark_ - run_began_ : 0);
    if (preempts && running_vcpu != nullptr) doorbell_.rung.store(true, std::memory_order_relaxed);
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
    if (loaded_ == nullptr) return;
    loaded_->processor.save(the_system.features);
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
    for (std::size_t i = 0; i < seat_count_; ++i) serve_seat(*seats_[i]);
    if (index_ == 0) leave_if_done();
}

void CpuLoop::serve_home(Vm& vm) {
    if (vm.has_requests()) vm.serve_requests();
    if (vm.state() != Vm::State::building) return;
    if (vm.is_ending())
        vm.end();
    else
        vm.build_step();
}

void CpuLoop::serve_seat(Seat& seat) {
    Vm& vm = seat.vm;
    const bool home = vm.home() == index_;
    if (home && (vm.has_requests() || vm.state() == Vm::State::building)) [[unlikely]]
        serve_home(vm);
    if (vm.state() != Vm::State::running) return;
    {
        const MachineLock lock{vm};
        if (seat.taken && !vm.is_ending()) [[likely]]
            serve_vcpus(seat);
        else
            take_or_leave(seat);
    }
    if (vm.is_ending() && home && vm.is_left()) [[unlikely]]
        vm.end();
}

// Whether the guest still runs is known under the lock alone: its home makes an end of it under the lock.
void CpuLoop::take_or_leave(Seat& seat) {
    Vm& vm = seat.vm;
    if (vm.is_ending() && seat.taken) vm.leave(seat);
    if (!vm.is_ending() && vm.state() == Vm::State::running) vm.take(seat);
}

void CpuLoop::serve_vcpus(Seat& seat) {
    Vm& vm = seat.vm;
    vm.set_clock(cpu::rdtsc());
    if (seat.timers.earliest() <= vm.clock().now) serve_timers(seat);
    vm.for_each(seat, [&](Vcpu& vcpu) {
        if (vcpu.needs_attention() || vcpu.waits_for_console()) wake(vcpu);
    });
}

// Whether a vCPU of the seat may wait for a timer.
bool CpuLoop::waits(Seat& seat) {
    if (!seat.taken) return false;
    bool waits = false;
    seat.vm.for_each(seat, [&](Vcpu& vcpu) { waits = waits || !vcpu.runnable(); });
    return waits;
}

// The guest does not run, but what its timers cost is its own: the first vCPU pays. A guest can have timers that expire
// with every tick and wake nobody (interrupts masked, HLT): each such expiry is followed by a pause, or its neighbours
// would do nothing but serve them.
void CpuLoop::serve_timers(Seat& seat) {
    const std::uint64_t began = cpu::rdtsc();
    seat.vm.expire_timers(seat);
    bool awake = false;
    seat.vm.for_each(seat, [&](Vcpu& vcpu) {
        if (vcpu.waits_for_console()) wake(vcpu);
        awake = awake || vcpu.runnable();
    });
    Vcpu& payer = seat.vm.vcpu(static_cast<unsigned>(std::countr_zero(seat.vcpus)));
    const std::uint64_t spent = cpu::rdtsc() - began;
    payer.account.root += spent;
    queue_.charge(payer, spent);
    mark_ += spent;
    if (!payer.runnable()) payer.blocked_since += spent;
    if (!awake) seat.quiet_until = began + cpu::tsc_hz() / vain_timers_per_second;
}

// On the host's TSC: when something has to happen for a seat of this CPU other than `except`.
std::uint64_t CpuLoop::nearest_deadline(const Seat* except) const {
    std::uint64_t nearest = index_ == 0 ? host_devices().next_service() : std::numeric_limits<std::uint64_t>::max();
    for (std::size_t i = 0; i < seat_count_; ++i) {
        Seat& seat = *seats_[i];
        if (&seat == except) continue;
        if (seat.vm.home() == index_ && seat.vm.state() == Vm::State::building) return 0;
        if (seat.vm.state() != Vm::State::running) continue;
        // Who is runnable has its turn anyway, and its timers then.
        if (!waits(seat)) continue;
        const guest::Tick earliest = seat.timers.earliest();
        if (earliest != guest::never)
            nearest = std::min(nearest, std::max(seat.vm.tsc_base() + earliest, seat.quiet_until));
    }
    return nearest;
}

void CpuLoop::run_vcpu(Vcpu& vcpu) {
    load(vcpu);
    vmx::prepare_translations(the_system.platform.capabilities, vcpu.vm.ept().history(), vcpu.vm.ept().pointer(),
                              vcpu.vpid, index_);
    const std::uint64_t start = run_began_ = mark_;
    // A VM that is being built gets a step after each slice.
    const std::uint64_t others = nearest_deadline(&vcpu.seat);
    const std::uint64_t limit = others == 0 ? start + queue_.slice() : std::min(start + queue_.slice(), others);
    const std::uint64_t idle_before = vcpu.account.idle;
    running_vcpu = &vcpu;
    others_ = others;
    enter(vcpu, limit);
    running_vcpu = nullptr;
    // A guest that ends is left in look_around, where it cannot be picked again before.
    if (vcpu.vm.is_ending()) return;
    queue_.account(mark_ - start - (vcpu.account.idle - idle_before));
    if (std::exchange(yields_, false)) queue_.yield();
    if (vcpu.wait != Vcpu::Wait::none) block(vcpu);
}

bool CpuLoop::wait_in_place(Vcpu& vcpu) {
    if (vcpu.wait == Vcpu::Wait::none) return false;
    Vm& vm = vcpu.vm;
    while (queue_.runnable() == 1 && !vm.is_ending() && !doorbell_.rung.load(std::memory_order_relaxed)) {
        const guest::Tick due = vcpu.seat.timers.earliest();
        if (due == guest::never || vm.tsc_base() + due >= others_) return false;
        const std::uint64_t halted = cpu::rdtsc();
        cpu::apic::arm_timer(vm.tsc_base() + due);
        // Interrupts are off: one that comes after the look at the doorbell ends the HLT.
        if (!doorbell_.rung.load(std::memory_order_seq_cst)) cpu::safe_halt();
        mark_ = cpu::rdtsc();
        vcpu.account.idle += mark_ - halted;
        const MachineLock lock{vm};
        vm.set_clock(mark_);
        vm.expire_timers(vcpu.seat);
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
    const guest::TimerQueue& timers = vcpu.seat.timers;
    const std::uint64_t base = vm.tsc_base();
    const std::uint64_t guest_limit = limit - base;
    const std::uint64_t began = mark_, idle_before = vcpu.account.idle;
    std::uint64_t in_guest = 0;
    for (;;) {
        if (vcpu.needs_attention()) [[unlikely]]
            if (!vcpu.prepare_events()) break;
        // From here on the guest is entered: what prepare_events wrote is delivered once. A deadline that has passed
        // gives a count of 0, and an exit before the guest's first instruction (SDM 26.7.4). The count fits in 32 bits,
        // because `limit` is a slice away at most.
        const std::uint64_t next = std::min(guest_limit, timers.earliest());
        const std::uint64_t entered = cpu::rdtsc();
        const auto left = static_cast<std::int64_t>(next + base - entered);
        vmx::write<field::VMX_PREEMPTION_TIMER_VALUE>(static_cast<std::uint32_t>(left > 0 ? left : 0) >> timer_shift);
        in_guest -= entered;
        const vmx::EntryOutcome outcome = vmx::enter(vcpu.registers, vcpu.vmcs.launched());
        if (outcome != vmx::EntryOutcome::exited) [[unlikely]] {
            in_guest += cpu::rdtsc();
            report_entry_failure(vcpu, outcome);
            break;
        }
        mark_ = cpu::rdtsc();
        in_guest += mark_;
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
    vcpu.vm.crash(vcpu, buffer.view());
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
