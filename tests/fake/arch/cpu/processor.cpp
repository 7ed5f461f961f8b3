// SPDX-License-Identifier: Apache-2.0
// What of arch/cpu the monitor calls, on the processor of arch/cpu/instructions.hpp beside this file.
#include "arch/cpu/apic.hpp"
#include "arch/cpu/instructions.hpp"
#include "arch/cpu/panic.hpp"
#include "arch/cpu/percpu.hpp"

namespace bulkhead::cpu {

BULKHEAD_PER_CPU constinit unsigned index = 0;

void dispatch_nmi() { ++test::cpu_state().nmis_dispatched; }
void set_raw_sink(RawSink) {}

namespace apic {

void eoi() { ++test::cpu_state().eois; }
std::uint32_t take_errors() { return 0; }
void send_fixed(std::uint32_t destination, std::uint8_t vector) {
    test::cpu_state().ipis.push_back({destination, vector});
}
void arm_timer(std::uint64_t deadline) { test::cpu_state().timer = deadline; }
void disarm_timer() { test::cpu_state().timer.reset(); }

}  // namespace apic

}  // namespace bulkhead::cpu
