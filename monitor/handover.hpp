// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "drivers/acpi.hpp"
#include "drivers/uart.hpp"
#include "mm/block_allocator.hpp"
#include "mm/frame_pool.hpp"

namespace bulkhead::monitor {

inline constexpr std::size_t max_cpus = drivers::acpi::max_processors;

// A file that the boot loader put into memory: read-only for ever.
struct Module {
    std::string_view name;  // the string after the file name in the loader's configuration
    std::span<const std::byte> data;
};

// What boot has found and set up. It outlives the monitor.
struct Handover {
    std::string_view command_line;
    std::string_view loader_name;
    std::span<const Module> modules;

    std::span<const std::uint32_t> apic_ids;  // of the CPUs that run, by cpu::index
    std::uint64_t tsc_hz{};
    std::uint64_t seconds_since_1970{};  // when the boot CPU's TSC was `tsc_at_clock`; 0 when the machine has no clock
    std::uint64_t tsc_at_clock{};

    mm::FramePool* pool{};
    mm::BlockAllocator* blocks{};

    const drivers::acpi::Platform* platform{};  // soft-off, reset, interrupt routes
    std::span<drivers::IoApic> io_apics;        // every input masked
    drivers::Uart* uart{};                      // initialised; the monitor's from `start` on

    std::size_t cpu_count() const { return apic_ids.size(); }
};

// On the boot CPU, before all else: looks at the processor, and refuses a machine on which guests cannot run.
void require_vmx();
// On the boot CPU, once, while the others wait.
void start(const Handover& handover);
// On every CPU, after `start`.
[[noreturn]] void cpu_main();

}  // namespace bulkhead::monitor
