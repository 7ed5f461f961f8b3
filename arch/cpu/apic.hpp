// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "lib/address.hpp"

// The local APIC of the CPU that calls (SDM volume 3, chapter 10). All CPUs use it in the same mode: x2APIC where the
// processor has it.
namespace bulkhead::cpu::apic {

struct Vectors {
    std::uint8_t timer{};
    std::uint8_t error{};
    std::uint8_t spurious{0xff};
};

// Whether `initialize` will use x2APIC mode, which needs no page.
bool has_x2apic();
// Where the registers are in xAPIC mode.
HostPhys physical_base();

// On the boot CPU, once. `page` is physical_base() mapped uncached, or null in x2APIC mode.
void initialize(volatile void* page, Vectors vectors);
// On every CPU, the boot CPU too, before anything below: turns the APIC on, masks its local sources but LINT1 (NMI),
// and forgets interrupts that the firmware left in service.
void enable();

std::uint32_t id();
void eoi();
// The error status register: what happened since the last call.
std::uint32_t take_errors();

// The destination is an APIC ID. Each returns when the message is on its way.
void send_fixed(std::uint32_t destination, std::uint8_t vector);
void send_nmi(std::uint32_t destination);
void send_init(std::uint32_t destination);
void send_startup(std::uint32_t destination, HostPhys entry);  // entry: aligned to 4 KiB, below 1 MiB

// TSC-deadline mode where the processor has it. Else the count-down timer, whose rate `calibrate_timer` measures once
// (on the boot CPU, when the frequency of the TSC is known).
bool has_tsc_deadline();
void calibrate_timer();
// One interrupt when the TSC reaches `deadline`; at once if it has. The count-down timer may come early when the
// deadline is farther off than 2^32 of its ticks.
void arm_timer(std::uint64_t deadline);
void disarm_timer();

}  // namespace bulkhead::cpu::apic
