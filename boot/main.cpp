// SPDX-License-Identifier: Apache-2.0
#include <atomic>

#include "arch/cpu/apic.hpp"
#include "arch/cpu/clock.hpp"
#include "arch/cpu/instructions.hpp"
#include "arch/cpu/tables.hpp"
#include "boot/boot_info.hpp"
#include "boot/early_log.hpp"
#include "boot/memory.hpp"
#include "boot/physical.hpp"
#include "boot/platform.hpp"
#include "boot/refuse.hpp"
#include "boot/smp.hpp"
#include "boot/trampoline.hpp"
#include "monitor/handover.hpp"
#include "monitor/vectors.hpp"

namespace bulkhead::boot {
namespace {

constinit BootInfo boot_info;
constinit RunningCpus running_cpus;
constinit monitor::Handover handover;
constinit std::atomic<bool> handed_over{false};

void start_local_apic(mm::AddressSpace& space) {
    volatile void* page = nullptr;
    if (!cpu::apic::has_x2apic()) page = map_registers(space, cpu::apic::physical_base(), page_size);
    cpu::apic::initialize(page, {.timer = monitor::vector::timer,
                                 .error = monitor::vector::apic_error,
                                 .spurious = monitor::vector::spurious});
    cpu::apic::enable();
    cpu::apic::calibrate_timer();
}

void application_processor() {
    while (!handed_over.load(std::memory_order_acquire)) cpu::pause();
    monitor::cpu_main();
}

void start_other_cpus(const Platform& platform, const Memory& memory, mm::AddressSpace& space) {
    const auto trampoline = choose_trampoline(boot_info.memory_map(), memory.reserved());
    if (!trampoline) refuse("there is no free page below 1 MiB, which the other processors need to start.");
    start_cpus(platform.acpi.processors(), {space, *memory.blocks, *trampoline}, application_processor, running_cpus);
}

void print_summary(const Platform& platform, const Memory& memory) {
    log("CPUs: {} of {}, {}, TSC {} kHz by the {}", running_cpus.count, platform.acpi.processor_count,
        cpu::apic::has_x2apic() ? "x2APIC" : "xAPIC", platform.tsc.hz / 1000,
        platform.tsc.source == cpu::ClockSource::pm_timer ? "ACPI timer" : "PIT");
    log("Memory: {} MiB for guests, {} MiB for the hypervisor", memory.blocks->available() * large_page_size / mib,
        memory.layout.pool.size / mib);
    for (const monitor::Module& module : memory.modules())
        log("Module: {}, {} KiB", module.name, module.data.size() / kib);
}

[[noreturn]] void hand_over(const Platform& platform, Memory& memory) {
    handover = {
        .command_line = boot_info.command_line,
        .loader_name = boot_info.loader_name,
        .modules = memory.modules(),
        .apic_ids = running_cpus.apic_ids(),
        .tsc_hz = platform.tsc.hz,
        .seconds_since_1970 = platform.seconds_since_1970,
        .tsc_at_clock = platform.tsc_at_clock,
        .pool = memory.pool,
        .blocks = memory.blocks,
        .platform = &platform.acpi,
        .io_apics = platform.io_apics,
        .uart = &log_uart(),
    };
    monitor::start(handover);
    handed_over.store(true, std::memory_order_release);
    monitor::cpu_main();
}

}  // namespace

// From boot/entry.S, on the boot CPU's stack, in an address space that maps the image and the private area.
extern "C" [[noreturn]] void boot_main(std::uint32_t boot_info_address) {
    start_log();
    cpu::load_tables();  // a fault is reported from here on
    log("Bulkhead starts");

    monitor::require_vmx();
    read_boot_info(HostPhys{boot_info_address}, boot_info);
    Memory& memory = divide_memory(boot_info);
    mm::AddressSpace& space = build_address_space(memory);
    cpu::set_control_registers();
    map_modules(boot_info, space, memory);

    const Platform& platform = find_platform(boot_info, space, memory);
    start_local_apic(space);
    start_other_cpus(platform, memory, space);

    print_summary(platform, memory);
    hand_over(platform, memory);
}

}  // namespace bulkhead::boot
