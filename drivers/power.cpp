// SPDX-License-Identifier: Apache-2.0
#include "drivers/power.hpp"

#include <string_view>

#include "arch/cpu/instructions.hpp"

namespace bulkhead::drivers {
namespace {

// PM1 control (ACPI 6.4, 4.8.3.2.1).
constexpr std::uint16_t sci_en = 1u << 0, slp_typ_mask = 7u << 10, slp_en = 1u << 13;
constexpr unsigned poll_limit = 1'000'000;

void enter_acpi_mode(const acpi::SoftOff& off) {
    if (off.smi_command == 0 || off.enable_value == 0) return;
    if ((cpu::in16(off.pm1a_control) & sci_en) != 0) return;
    cpu::out8(off.smi_command, off.enable_value);
    for (unsigned i = 0; i < poll_limit && (cpu::in16(off.pm1a_control) & sci_en) == 0; ++i) cpu::pause();
}

void write_sleep(std::uint16_t port, std::uint8_t type) {
    const auto value = static_cast<std::uint16_t>((cpu::in16(port) & ~(slp_typ_mask | slp_en)) | type << 10);
    cpu::out16(port, value);
    cpu::out16(port, value | slp_en);
}

void soft_off_by_acpi(const acpi::SoftOff& off) {
    enter_acpi_mode(off);
    write_sleep(off.pm1a_control, off.sleep_type_a);
    if (off.pm1b_control != 0) write_sleep(off.pm1b_control, off.sleep_type_b);
    for (unsigned i = 0; i < poll_limit; ++i) cpu::pause();
}

// Bochs ends when it reads this word at its port; elsewhere nobody answers there.
void leave_emulator() {
    for (const char c : std::string_view("Shutdown")) cpu::out8(0x8900, static_cast<std::uint8_t>(c));
}

[[noreturn]] void halt_for_ever() {
    cpu::cli();
    for (;;) cpu::hlt();
}

void reset_by_acpi(const acpi::ResetRegister& reg) {
    if (reg.space == acpi::AddressSpace::io) {
        cpu::out8(static_cast<std::uint16_t>(reg.address), reg.value);
    } else if (reg.space == acpi::AddressSpace::pci_configuration) {
        // Bus 0; device, function and register in the words of the address (ACPI 6.4, table 5.1).
        const auto device = static_cast<std::uint32_t>(reg.address >> 32 & 0x1f);
        const auto function = static_cast<std::uint32_t>(reg.address >> 16 & 7);
        const auto offset = static_cast<std::uint32_t>(reg.address & 0xff);
        cpu::out32(0xcf8, 1u << 31 | device << 11 | function << 8 | (offset & 0xfc));
        cpu::out8(static_cast<std::uint16_t>(0xcfc + (offset & 3)), reg.value);
    }
    // A register in memory is not mapped here; the ways below remain.
    for (unsigned i = 0; i < poll_limit; ++i) cpu::pause();
}

}  // namespace

void power_off(const std::optional<acpi::SoftOff>& soft_off) {
    cpu::cli();
    leave_emulator();
    if (soft_off) soft_off_by_acpi(*soft_off);
    halt_for_ever();
}

void reset(const std::optional<acpi::ResetRegister>& reset_register) {
    cpu::cli();
    if (reset_register) reset_by_acpi(*reset_register);
    // The chipset's reset control register, then the keyboard controller's reset line.
    cpu::out8(0xcf9, 0x02);
    cpu::out8(0xcf9, 0x06);
    for (unsigned i = 0; i < poll_limit && (cpu::in8(0x64) & 0x02) != 0; ++i) cpu::pause();
    cpu::out8(0x64, 0xfe);
    for (unsigned i = 0; i < poll_limit; ++i) cpu::pause();
    // A triple fault.
    cpu::lidt({});
    asm volatile("ud2");
    halt_for_ever();
}

}  // namespace bulkhead::drivers
