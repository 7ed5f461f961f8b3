// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>
#include <string_view>

#include "lib/address.hpp"
#include "lib/format.hpp"

namespace bulkhead::guest {

inline constexpr std::size_t max_guests = 8;
inline constexpr unsigned max_vcpus = 16;
inline constexpr std::size_t max_modules = 8;  // a guest

enum class Loader : std::uint8_t { linux, flat, multiboot, pvh, bios, uefi };
std::string_view name_of(Loader loader);  // as in guests.conf
enum class Paravirt : std::uint8_t { none, kvm };

// A file that the kernel is handed, and the string that goes with it.
struct ModuleConfig {
    std::string_view file;  // a boot module's name
    std::string_view string;
};

// What firmware starts from.
enum class BootDevice : std::uint8_t { none, floppy, disk, cdrom };
inline constexpr std::size_t boot_devices = 3;

// What is on the cables of the IDE controller.
enum class DriveKind : std::uint8_t { disk, cdrom };
inline constexpr std::size_t max_drives = 4;
struct DriveConfig {
    DriveKind kind{};
    std::string_view file;  // a boot module's name
};

// One guest's section of guests.conf. The strings point into the text that was parsed.
struct GuestConfig {
    std::string_view name;
    std::uint64_t memory{};  // bytes, a multiple of 2 MiB
    unsigned vcpus{1};
    Loader loader{Loader::linux};
    std::string_view kernel;   // a boot module's name
    std::string_view initrd;   // likewise; empty: none
    std::string_view cmdline;
    std::string_view firmware; // likewise, of a loader that starts it; the next three too
    std::string_view vgabios, option_rom, floppy;
    unsigned boot_menu{};      // seconds that firmware waits for a key; 0: no menu
    std::array<BootDevice, boot_devices> boot_order{BootDevice::floppy, BootDevice::disk, BootDevice::cdrom};
    std::array<DriveConfig, max_drives> drives{};
    std::size_t drive_count{};
    std::uint64_t disk_memory{16 * mib};  // bytes, for what is written to disks; 0: they take no writes
    std::array<ModuleConfig, max_modules> modules{};
    std::size_t module_count{};
    unsigned console{};        // the digit after Ctrl-A that selects its partition: 1 to 9
    std::uint64_t cpus{~0ull}; // bit n: may run on CPU n
    Paravirt paravirt{Paravirt::none};
    std::string_view cpuid_hide;  // features that CPUID does not show, by their names in cpuid_table, blanks between
    bool apic_virtualization{true};  // by the processor, where it can
    bool serial_pace{};        // the UART takes the time of its baud rate
    bool fw_cfg{};             // the firmware configuration device
    bool debug_exit{};         // ports by which the guest ends itself with a status
    bool debug_console{};      // ports whose output goes to its console
    bool test_device{};        // loop-back registers, interrupt lines, RAM behind MMIO
    unsigned line{};           // where the section starts, for later errors

    constexpr bool has_firmware() const { return loader == Loader::bios || loader == Loader::uefi; }
    constexpr std::span<const ModuleConfig> module_list() const { return std::span{modules}.first(module_count); }
    constexpr std::span<const DriveConfig> drive_list() const { return std::span{drives}.first(drive_count); }
};

struct Config {
    std::array<GuestConfig, max_guests> guests{};
    std::size_t count{};
};

struct ConfigError {
    unsigned line{};
    std::array<char, 160> text{};  // what was expected and what was found
    std::string_view message() const { return text.data(); }
};

std::expected<Config, ConfigError> parse_config(std::string_view text);

}  // namespace bulkhead::guest
