// SPDX-License-Identifier: Apache-2.0
#include "boot/platform.hpp"

#include <array>

#include "arch/cpu/instructions.hpp"
#include "boot/physical.hpp"
#include "boot/refuse.hpp"
#include "drivers/rtc.hpp"

namespace bulkhead::boot {
namespace {

constinit Platform platform;
constinit std::array<drivers::IoApic, drivers::acpi::max_io_apics> io_apics;

void read_acpi(const BootInfo& info, mm::FramePool& pool) {
    if (info.rsdp.empty()) refuse("the firmware has no ACPI tables: switch ACPI on in its set-up.");
    TableReader reader{pool};
    const auto found = drivers::acpi::read_platform(
        info.rsdp, drivers::acpi::MapPhysical::to<&TableReader::read>(&reader));
    if (!found) refuse("the ACPI tables cannot be used: {}.", drivers::acpi::describe(found.error()));
    platform.acpi = *found;
    if (found->madt_truncated) log("ACPI: the MADT has a malformed entry; what follows it is ignored");
    if (found->processors_left_out != 0)
        log("ACPI: {} processors are left out, {} are the most", found->processors_left_out,
            drivers::acpi::max_processors);
}

void start_clock() {
    std::optional<cpu::PmTimer> timer;
    if (const auto& block = platform.acpi.pm_timer) timer = cpu::PmTimer{block->port, block->is_32_bit};
    const auto measured = cpu::measure_tsc(timer);
    if (!measured) refuse("neither the ACPI timer nor the PIT counts, so that there is no measure of time.");
    platform.tsc = *measured;
    cpu::set_tsc_hz(measured->hz);
    if (!measured->agreed) log("Clock: measurements of the TSC disagree; the last one is used");

    if (const auto seconds = drivers::read_rtc(platform.acpi.century_register)) platform.seconds_since_1970 = *seconds;
    platform.tsc_at_clock = cpu::rdtsc();
}

void silence_interrupt_controllers(mm::AddressSpace& space) {
    constexpr std::uint64_t register_bytes = 0x20;  // index and data register (82093AA data sheet, 3.0)
    if (platform.acpi.has_legacy_pics) drivers::mask_legacy_pics();
    const auto entries = platform.acpi.io_apic_entries();
    for (std::size_t i = 0; i < entries.size(); ++i)
        io_apics[i].initialize(map_registers(space, entries[i].address, register_bytes), entries[i].gsi_base);
    platform.io_apics = std::span(io_apics).first(entries.size());
}

}  // namespace

const Platform& find_platform(const BootInfo& info, mm::AddressSpace& space, const Memory& memory) {
    read_acpi(info, *memory.pool);
    start_clock();
    silence_interrupt_controllers(space);
    return platform;
}

}  // namespace bulkhead::boot
