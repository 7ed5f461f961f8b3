// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>

#include "arch/cpu/clock.hpp"
#include "boot/boot_info.hpp"
#include "boot/memory.hpp"
#include "drivers/acpi.hpp"
#include "drivers/ioapic.hpp"

namespace bulkhead::boot {

// The machine around the processors.
struct Platform {
    drivers::acpi::Platform acpi;
    std::span<drivers::IoApic> io_apics;
    cpu::TscFrequency tsc{};
    std::uint64_t seconds_since_1970{};
    std::uint64_t tsc_at_clock{};
};

// Reads the ACPI tables, measures the clock, reads the time, and silences the interrupt controllers.
const Platform& find_platform(const BootInfo& info, mm::AddressSpace& space, const Memory& memory);

}  // namespace bulkhead::boot
