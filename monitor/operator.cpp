// SPDX-License-Identifier: Apache-2.0
#include "monitor/operator.hpp"

#include <algorithm>

#include "arch/cpu/panic.hpp"
#include "drivers/power.hpp"
#include "lib/log.hpp"
#include "monitor/host_devices.hpp"
#include "monitor/vm.hpp"

namespace bulkhead::monitor {
namespace {

Vm* find(unsigned partition) {
    for (Vm* vm : the_system.guests())
        if (vm->config().console == partition) return vm;
    return nullptr;
}

// Delegates name a member; there is one operator.
struct Operator {
    void order(Action action) {
        if (action.kind == Action::Kind::restart || action.kind == Action::Kind::screen) {
            const auto request = action.kind == Action::Kind::restart ? Request::restart : Request::screen;
            if (Vm* const vm = find(action.partition)) vm->ask(request);
            return;
        }
        log("leaving: all guests off, machine off");
        the_system.quitting.store(true, std::memory_order_release);
        for (Vm* vm : the_system.guests()) vm->ask(Request::stop);
        the_system.doorbells[0].ring();
    }
    void report(TextSink& sink) {
        for (const Vm* vm : the_system.guests()) vm->write_accounting(sink);
    }
    void dump(unsigned partition, TextSink& sink) {
        const Vm* const vm = find(partition);
        if (vm == nullptr)
            print(sink, "this partition is no guest's\n");
        else if (vm->report().empty())
            print(sink, "guest {} has not failed since its start\n", vm->name());
        else
            sink.write(vm->report());
    }
};

constinit Operator the_operator;

}  // namespace

void start_operator() {
    Console& console = *the_system.console;
    console.set_operator(Delegate<void(Action)>::to<&Operator::order>(&the_operator));
    console.set_report(Delegate<void(TextSink&)>::to<&Operator::report>(&the_operator));
    console.set_dump(Delegate<void(unsigned, TextSink&)>::to<&Operator::dump>(&the_operator));
}

void open_for_business() {
    unsigned focus = hypervisor_partition;
    for (const Vm* vm : the_system.guests())
        if (focus == hypervisor_partition || vm->config().console < focus) focus = vm->config().console;
    the_system.console->start(focus);
    host_devices().start();
    for (Vm* vm : the_system.guests()) vm->ask(Request::start);
}

void leave_if_done() {
    if (!the_system.quitting.load(std::memory_order_acquire)) return;
    const auto off = [](const Vm* vm) { return vm->state() == Vm::State::off; };
    if (!std::ranges::all_of(the_system.guests(), off)) return;
    host_devices().drain();
    drivers::power_off(the_system.handover->platform->soft_off);
}

}  // namespace bulkhead::monitor
