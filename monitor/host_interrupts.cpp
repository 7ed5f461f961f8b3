// SPDX-License-Identifier: Apache-2.0
#include "monitor/host_interrupts.hpp"

#include "arch/cpu/apic.hpp"
#include "arch/cpu/percpu.hpp"
#include "lib/log.hpp"
#include "monitor/host_devices.hpp"
#include "monitor/system.hpp"

namespace bulkhead::monitor {

void host_interrupt(std::uint8_t number) {
    switch (number) {
        case vector::spurious: return;  // is not in service
        case vector::uart:
            host_devices().interrupt();
            the_system.doorbells[cpu::index].rung.store(true, std::memory_order_relaxed);
            break;
        case vector::apic_error: log("CPU {}: local APIC error {:x}", cpu::index, cpu::apic::take_errors()); break;
        default: break;  // timer and kick: that the CPU came here is all they are for
    }
    cpu::apic::eoi();
}

void Doorbell::ring() {
    if (rung.exchange(true, std::memory_order_seq_cst)) return;
    if (this != &the_system.doorbells[cpu::index]) kick();
}

void Doorbell::kick() const { cpu::apic::send_fixed(apic_id, vector::kick); }

}  // namespace bulkhead::monitor
