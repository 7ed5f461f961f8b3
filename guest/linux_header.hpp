// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

// Fields of a bzImage's setup header and of boot_params by their offsets, which are the same in both
// (Linux, Documentation/arch/x86/boot.rst and zero-page.rst).
namespace bulkhead::guest::linux_header {

// setup header
inline constexpr std::size_t setup_sects = 0x1f1;        // 1 byte
inline constexpr std::size_t syssize = 0x1f4;            // 4, in units of 16 bytes
inline constexpr std::size_t boot_flag = 0x1fe;          // 2
inline constexpr std::size_t jump = 0x200;               // 2; the second is the length of the header after 202h
inline constexpr std::size_t header = 0x202;             // 4
inline constexpr std::size_t version = 0x206;            // 2
inline constexpr std::size_t type_of_loader = 0x210;     // 1
inline constexpr std::size_t loadflags = 0x211;          // 1
inline constexpr std::size_t code32_start = 0x214;       // 4
inline constexpr std::size_t ramdisk_image = 0x218;      // 4
inline constexpr std::size_t ramdisk_size = 0x21c;       // 4
inline constexpr std::size_t cmd_line_ptr = 0x228;       // 4
inline constexpr std::size_t initrd_addr_max = 0x22c;    // 4
inline constexpr std::size_t kernel_alignment = 0x230;   // 4
inline constexpr std::size_t relocatable_kernel = 0x234; // 1
inline constexpr std::size_t xloadflags = 0x236;         // 2
inline constexpr std::size_t cmdline_size = 0x238;       // 4, without the terminating zero
inline constexpr std::size_t pref_address = 0x258;       // 8
inline constexpr std::size_t init_size = 0x260;          // 4
inline constexpr std::size_t end_of_2_10 = 0x264;
inline constexpr std::size_t end_of_2_12 = 0x268;

inline constexpr std::uint16_t boot_flag_value = 0xaa55;
inline constexpr std::uint32_t magic = 0x53726448;  // "HdrS"
inline constexpr std::uint16_t version_2_10 = 0x20a;
inline constexpr std::uint16_t version_2_12 = 0x20c;
inline constexpr std::uint8_t LOADED_HIGH = 1u << 0;
inline constexpr std::uint16_t XLF_KERNEL_64 = 1u << 0;
inline constexpr std::uint8_t loader_undefined = 0xff;

// boot_params alone
inline constexpr std::size_t acpi_rsdp_addr = 0x70;  // 8
inline constexpr std::size_t e820_entries = 0x1e8;   // 1
inline constexpr std::size_t e820_table = 0x2d0;     // 20 bytes an entry
inline constexpr std::size_t e820_entry_size = 20;
inline constexpr std::size_t max_e820_entries = 128;

inline constexpr std::size_t sector = 512;
inline constexpr std::uint64_t entry_64 = 0x200;  // from the load address

}  // namespace bulkhead::guest::linux_header
