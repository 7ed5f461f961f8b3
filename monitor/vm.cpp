// SPDX-License-Identifier: Apache-2.0
#include "monitor/vm.hpp"

#include <algorithm>
#include <utility>

#include "arch/cpu/clock.hpp"
#include "arch/cpu/instructions.hpp"
#include "lib/log.hpp"
#include "monitor/cpu_loop.hpp"

namespace bulkhead::monitor {
namespace {

// They outlive the guest's other memory.
mm::OwnerId owner_of_drives(mm::OwnerId guest) {
    static_assert(static_cast<std::size_t>(mm::OwnerId::first_guest) + 2 * guest::max_guests <= mm::max_owners);
    return static_cast<mm::OwnerId>(static_cast<std::size_t>(guest) + guest::max_guests);
}

}  // namespace

Vm::Vm(const guest::GuestConfig& config, mm::OwnerId owner, Partition& partition, std::span<const unsigned> places)
    : config_(config), owner_(owner), home_(places[0]), partition_(partition), drives_(config, owner_of_drives(owner)) {
    for (unsigned i = 0; i < places.size(); ++i) {
        unsigned number = 0;
        while (number < seat_count_ && seats_[number]->cpu != places[i]) ++number;
        if (number == seat_count_) seats_[seat_count_++].emplace(*this, places[i], clock_);
        seats_[number]->vcpus |= 1u << i;
    }
    partition_.set_input_callback(Delegate<void()>::to<&Vm::input_came>(this));
    partition_.set_room_callback(Delegate<void()>::to<&Vm::room_came>(this));
}

Seat& Vm::seat_of(unsigned vcpu) {
    unsigned number = 0;
    while (!seats_[number]->has(vcpu)) ++number;
    return *seats_[number];
}

// ---- requests

void Vm::ask(Request request) {
    mailbox_.post(request);
    the_system.doorbells[home_].ring();
}

void Vm::serve_requests() {
    const std::uint32_t requests = mailbox_.take();
    if (contains(requests, Request::stop)) {
        stop();
        return;
    }
    if (contains(requests, Request::restart) && state_ != State::off) {
        restart_ = true;
        end_soon(Ending::stopped);
        return;
    }
    if (state_ == State::off && (contains(requests, Request::start) || contains(requests, Request::restart)))
        if (const Step begun = begin_building(); !begun) fail(begun.error());
    if (contains(requests, Request::screen)) show_screen();
    if (state_ != State::running || is_ending()) return;
    const MachineLock lock{*this};
    set_clock(cpu::rdtsc());
    if (contains(requests, Request::input)) machine_->input_available();
    if (contains(requests, Request::output_room)) {
        machine_->transmit_room();
        rouse_pollers();
    }
}

// The operator's word counts more than a reset that is under way.
void Vm::stop() {
    restart_ = false;
    if (state_ == State::off) return drives_.remove();  // it was about to come back
    if (end_soon(Ending::stopped)) return;
    Ending reset = Ending::reset;
    ending_.compare_exchange_strong(reset, Ending::stopped);
}

// ---- the end

bool Vm::end_soon(Ending ending) {
    Ending none = Ending::none;
    if (!ending_.compare_exchange_strong(none, ending)) return false;
    for (unsigned i = 0; i < seat_count_; ++i) the_system.doorbells[seats_[i]->cpu].ring();
    return true;
}

// Of several vCPUs that fail at once, the first one is reported. The guest's memory and vCPUs stay until this CPU
// has left it.
void Vm::crash(const Vcpu& vcpu, std::string_view why, Ending ending) {
    if (end_soon(ending)) keep_report(vcpu, why);
}

void Vm::take(Seat& seat) {
    for_each(seat, [&](Vcpu& vcpu) {
        prepare_vmcs(vcpu);
        seat.loop->enqueue(vcpu);
    });
    seat.taken = true;
    seats_taken_.fetch_add(1, std::memory_order_relaxed);
}

void Vm::leave(Seat& seat) {
    for_each(seat, [&](Vcpu& vcpu) {
        seat.loop->dequeue(vcpu);
        vcpu.vmcs.clear();
    });
    GuestMemory::close_windows();
    seat.taken = false;
    if (seats_taken_.fetch_sub(1, std::memory_order_release) == 1) the_system.doorbells[home_].ring();
}

void Vm::end() {
    const Ending ending = ending_;
    last_account_ = account();
    log_ending(ending);
    {
        // A CPU that has not taken its seat yet must find out that there is none to be taken.
        const MachineLock lock{*this};
        state_ = State::off;
        ending_ = Ending::none;
    }
    release();
    // A machine that is reset starts over, with its disks as it left them; one that ended in a fault stays as it is, to
    // be looked at.
    const bool restart = std::exchange(restart_, false);
    if (restart || ending != Ending::reset) drives_.remove();
    if (restart || ending == Ending::reset) ask(Request::start);
    the_system.doorbells[0].ring();
}

void Vm::release() {
    for (std::optional<Vcpu>& vcpu : vcpus_) {
        if (vcpu && vcpu->vpid.vpid() != 0) the_system.vpids.release(vcpu->vpid.vpid());
        vcpu.reset();
    }
    machine_.reset();
    cpuid_.reset();
    GuestMemory::close_windows();
    memory_.reset();
    ept_.reset();
    the_system.pool().release_all(owner_);
    the_system.blocks().release_all(owner_);
}

// ---- what the vCPUs share

void Vm::lock() {
    lock_.lock();
    changes_before_ = seats_[0]->timers.changes();
}

// The home asks for its earliest timer without the lock. When another CPU has changed one, it has to look again.
void Vm::unlock() {
    const guest::TimerQueue& timers = seats_[0]->timers;
    const bool changed = timers.changes() != changes_before_ && timers.earliest() != guest::never;
    lock_.unlock();
    if (changed && cpu::index != home_) the_system.doorbells[home_].ring();
}

// Not the moment of an exit: another vCPU may have been in the model since. RDTSC is not ordered with the lock, so that
// it can be a little behind.
void Vm::advance_clock() { clock_.now = std::max(clock_.now, cpu::rdtsc() - tsc_base_); }

// The line's timer is served here: a vCPU that waits on another CPU is told.
void Vm::rouse_pollers() {
    if (!is_shared()) return;
    const Vcpu::Wait in_vain = machine_->uart().busy_until() ? Vcpu::Wait::serial_line : Vcpu::Wait::none;
    for (std::optional<Vcpu>& vcpu : vcpus_)
        if (vcpu && vcpu->waits_for_console() && vcpu->wait != in_vain && vcpu->seat.cpu != home_) vcpu->signal();
}

}  // namespace bulkhead::monitor
