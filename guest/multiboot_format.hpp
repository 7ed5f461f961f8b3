// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

// The Multiboot Specification 0.6.96, by its own names.
namespace bulkhead::guest::multiboot {

inline constexpr std::uint32_t HEADER_MAGIC = 0x1bad'b002;
inline constexpr std::uint32_t BOOTLOADER_MAGIC = 0x2bad'b002;  // in EAX at the entry
inline constexpr std::size_t search = 8192;                     // the header lies wholly in these first bytes

// The header (3.1). What the flags do not mention is not there.
struct Header {
    std::uint32_t magic{}, flags{}, checksum{};
};
struct Addresses {
    std::uint32_t header_addr{}, load_addr{}, load_end_addr{}, bss_end_addr{}, entry_addr{};
};
namespace header_flag {
inline constexpr std::uint32_t PAGE_ALIGN = 1u << 0, MEMORY_INFO = 1u << 1, VIDEO_MODE = 1u << 2;
inline constexpr std::uint32_t AOUT_KLUDGE = 1u << 16;
// A loader that does not know one of these has to refuse.
inline constexpr std::uint32_t required = 0xffff;
}  // namespace header_flag

// The boot information (3.3).
struct Info {
    std::uint32_t flags{};
    std::uint32_t mem_lower{}, mem_upper{};  // KiB
    std::uint32_t boot_device{};
    std::uint32_t cmdline{};
    std::uint32_t mods_count{}, mods_addr{};
    std::uint32_t syms[4]{};
    std::uint32_t mmap_length{}, mmap_addr{};
    std::uint32_t drives_length{}, drives_addr{};
    std::uint32_t config_table{};
    std::uint32_t boot_loader_name{};
    std::uint32_t apm_table{};
    std::uint32_t vbe[4]{};
};
static_assert(sizeof(Info) == 88 && offsetof(Info, mmap_length) == 44 && offsetof(Info, boot_loader_name) == 64);
namespace info_flag {
inline constexpr std::uint32_t MEMORY = 1u << 0, CMDLINE = 1u << 2, MODS = 1u << 3, MEM_MAP = 1u << 6,
                               BOOT_LOADER_NAME = 1u << 9;
}

struct Module {
    std::uint32_t mod_start{}, mod_end{}, string{}, reserved{};
};
static_assert(sizeof(Module) == 16);

struct [[gnu::packed]] MapEntry {
    std::uint32_t size{20};  // of what follows
    std::uint64_t base_addr{}, length{};
    std::uint32_t type{};
};
static_assert(sizeof(MapEntry) == 24);

}  // namespace bulkhead::guest::multiboot
