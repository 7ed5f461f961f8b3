// SPDX-License-Identifier: Apache-2.0
#include "monitor/vm.hpp"

#include "arch/cpu/clock.hpp"
#include "arch/cpu/instructions.hpp"
#include "guest/lapic.hpp"
#include "lib/log.hpp"
#include "monitor/cpu_loop.hpp"
#include "vmx/fields.hpp"

namespace bulkhead::monitor {

Vm::Vm(const guest::GuestConfig& config, mm::OwnerId owner, Partition& partition, unsigned home)
    : config_(config), owner_(owner), home_(home), partition_(partition) {
    partition_.set_input_callback(Delegate<void()>::to<&Vm::input_came>(this));
    partition_.set_room_callback(Delegate<void()>::to<&Vm::room_came>(this));
}

void Vm::ask(Request request) {
    mailbox_.post(request);
    the_system.doorbells[home_].ring();
}

void Vm::serve_requests(CpuLoop& cpu) {
    const std::uint32_t requests = mailbox_.take();
    if (contains(requests, Request::stop)) {
        restart_ = false;
        if (state_ != State::off) {
            end_soon(Ending::stopped);
            end(cpu);
        }
        return;
    }
    if (contains(requests, Request::restart) && state_ != State::off) {
        end_soon(Ending::stopped);
        end(cpu);
        restart_ = true;
    }
    if (state_ == State::off && (restart_ || contains(requests, Request::start) || contains(requests, Request::restart))) {
        restart_ = false;
        if (const Step begun = begin_building(); !begun) fail(begun.error());
    }
    if (state_ != State::running) return;
    clock_.now = cpu::rdtsc() - tsc_base_;
    if (contains(requests, Request::input)) machine_->uart().input_available();
    if (contains(requests, Request::output_room)) machine_->transmit_room();
}

void Vm::wake(Vcpu& vcpu) { loop_->wake(vcpu); }

void Vm::set_tsc_adjust(std::uint64_t adjust) {
    tsc_adjust_ = adjust;
    vmx::write<vmx::field::TSC_OFFSET>(adjust - tsc_base_);
    vcpu_->lapic.set_tsc_adjust(adjust);
}

void Vm::crash(std::string_view why) {
    keep_report(why);
    end_soon(Ending::crashed);
}

void Vm::end(CpuLoop& cpu) {
    const Ending ending = *ending_;
    ending_.reset();
    if (state_ == State::running) {
        last_account_ = vcpu_->account;
        cpu.dequeue(*vcpu_);
        vcpu_->vmcs.clear();
        if (const std::uint16_t vpid = vcpu_->vpid.vpid(); vpid != 0) the_system.vpids.release(vpid);
    }
    state_ = State::off;
    log_ending(ending);
    release();
    // A machine that is reset starts over; one that ended in a fault stays as it is, to be looked at.
    if (ending == Ending::reset) ask(Request::start);
    the_system.doorbells[0].ring();
}

void Vm::release() {
    vcpu_.reset();
    machine_.reset();
    cpuid_.reset();
    GuestMemory::close_windows();
    memory_.reset();
    ept_.reset();
    the_system.pool().release_all(owner_);
    the_system.blocks().release_all(owner_);
}

}  // namespace bulkhead::monitor
