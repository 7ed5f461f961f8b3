// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <span>

#include "arch/cpu/apic.hpp"
#include "guest/config.hpp"
#include "monitor/console.hpp"
#include "monitor/handover.hpp"
#include "monitor/vectors.hpp"
#include "vmx/cpu.hpp"
#include "vmx/guest_state_check.hpp"
#include "vmx/io_bitmap.hpp"
#include "vmx/switch.hpp"
#include "vmx/vpid.hpp"

namespace bulkhead::monitor {

class Vm;

// What other CPUs need of a CPU: to make it look at its VMs' mailboxes, and at vCPUs that wait.
struct Doorbell {
    std::uint32_t apic_id{};
    std::atomic<bool> rung{false};

    // From any CPU. One that sits in a guest or halts comes out of it.
    void ring();
    // From another CPU: one that sits in a guest comes out, and goes on with it.
    void kick() const;
};

// What all CPUs share. Written on the boot CPU before the others enter the monitor; afterwards only its parts that
// synchronise themselves change.
struct System {
    const Handover* handover{};
    vmx::Platform platform{};
    vmx::StateFeatures features{};
    vmx::AddressWidths widths{};
    vmx::VpidAllocator vpids;
    vmx::IoBitmap* io_bitmap{};  // one for all: no port is a guest's own
    Console* console{};
    guest::Config config{};
    std::array<Vm*, guest::max_guests> vms{};
    std::size_t vm_count{};
    std::array<Doorbell, max_cpus> doorbells{};
    std::atomic<unsigned> cpus_in_service{};
    std::atomic<bool> quitting{false};

    mm::FramePool& pool() const { return *handover->pool; }
    mm::BlockAllocator& blocks() const { return *handover->blocks; }
    std::span<Vm* const> guests() const { return {vms.data(), vm_count}; }
};

extern System the_system;

}  // namespace bulkhead::monitor
