// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>
#include <string_view>

#include "lib/address.hpp"
#include "mm/regions.hpp"

// What the boot loader says: the Multiboot2 information structure (Multiboot2 specification 2.0, chapter 3.6).
namespace bulkhead::boot {

inline constexpr std::size_t max_modules = 64;
inline constexpr std::size_t max_memory_map_entries = 256;

struct BootModule {
    std::string_view string;  // what follows the file name in the loader's `module2` line
    mm::MemoryRange range;
};

// The views point into the bytes that were parsed.
struct BootInfo {
    std::string_view command_line;
    std::string_view loader_name;
    std::span<const std::byte> rsdp;  // a copy of ACPI's root pointer, the newer one if there are two; empty if none

    std::array<mm::MemoryMapEntry, max_memory_map_entries> memory_map_storage{};
    std::size_t memory_map_entries{};
    std::array<BootModule, max_modules> module_storage{};
    std::size_t module_count{};

    std::span<const mm::MemoryMapEntry> memory_map() const {
        return std::span(memory_map_storage).first(memory_map_entries);
    }
    std::span<const BootModule> modules() const { return std::span(module_storage).first(module_count); }
};

enum class BootInfoError : std::uint8_t {
    truncated,              // it ends before its last tag
    malformed_tag,          // a tag is smaller than its fields or larger than what is left
    unterminated_string,
    malformed_memory_map,
    malformed_module,       // it ends before it begins
    no_memory_map,
    too_many_memory_ranges,
    too_many_modules,
};
std::string_view describe(BootInfoError error);

// The structure's size, as its first field states it. Needs four bytes.
std::uint32_t boot_info_size(std::span<const std::byte> start);

// Fills `info`, which is large for a stack.
[[nodiscard]] std::expected<void, BootInfoError> parse_boot_info(std::span<const std::byte> bytes, BootInfo& info);

}  // namespace bulkhead::boot
