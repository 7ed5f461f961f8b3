// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "guest/clock.hpp"

namespace bulkhead::monitor {

class CpuLoop;
class Vm;

// What a VM has on one CPU: the vCPUs that live there, and the timers that are served there - those of their local
// APICs, and on the VM's home the devices' too.
struct Seat {
    Seat(Vm& owner, unsigned number, guest::Clock& clock) : vm(owner), cpu(number), timers(clock) {}

    bool has(unsigned vcpu) const { return (vcpus >> vcpu & 1) != 0; }

    Vm& vm;
    const unsigned cpu;
    std::uint32_t vcpus{};  // bit n: vCPU n
    guest::TimerQueue timers;
    CpuLoop* loop{};  // once the CPU is in service
    bool taken{};     // its vCPUs are in the loop's hands
    // On the host's TSC: its timers interrupt nobody before. See CpuLoop::serve_timers.
    std::uint64_t quiet_until{};
};

}  // namespace bulkhead::monitor
