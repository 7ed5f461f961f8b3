// SPDX-License-Identifier: Apache-2.0
#include "boot/boot_info.hpp"

#include <algorithm>
#include <cstring>
#include <limits>

namespace bulkhead::boot {
namespace {

using Bytes = std::span<const std::byte>;
using Result = std::expected<void, BootInfoError>;

constexpr std::size_t information_header = 8;
constexpr std::size_t tag_header = 8;
constexpr std::size_t tag_alignment = 8;

enum class Tag : std::uint32_t {
    end = 0,
    command_line = 1,
    loader_name = 2,
    module = 3,
    memory_map = 6,
    acpi_old_rsdp = 14,
    acpi_new_rsdp = 15,
};
constexpr std::uint32_t memory_available = 1;

// The caller has made sure that the field is inside.
template <class T>
T field(Bytes bytes, std::size_t offset) {
    T value;
    std::memcpy(&value, bytes.data() + offset, sizeof value);
    return value;
}

std::expected<std::string_view, BootInfoError> string_in(Bytes bytes) {
    const auto end = std::find(bytes.begin(), bytes.end(), std::byte{0});
    if (end == bytes.end()) return std::unexpected(BootInfoError::unterminated_string);
    return std::string_view{reinterpret_cast<const char*>(bytes.data()), static_cast<std::size_t>(end - bytes.begin())};
}

Result parse_string(Bytes body, std::string_view& out) {
    const auto text = string_in(body);
    if (!text) return std::unexpected(text.error());
    out = *text;
    return {};
}

Result parse_module(Bytes body, BootInfo& info) {
    if (body.size() < 8) return std::unexpected(BootInfoError::malformed_tag);
    const auto start = field<std::uint32_t>(body, 0);
    const auto end = field<std::uint32_t>(body, 4);
    if (end < start) return std::unexpected(BootInfoError::malformed_module);
    const auto text = string_in(body.subspan(8));
    if (!text) return std::unexpected(text.error());
    if (info.module_count == max_modules) return std::unexpected(BootInfoError::too_many_modules);
    info.module_storage[info.module_count++] = {*text, {HostPhys{start}, end - start}};
    return {};
}

Result parse_memory_map(Bytes body, BootInfo& info) {
    // Fields: entry size, entry version, then entries of base, length, type and a reserved word. A newer version may
    // make entries larger, not different.
    constexpr std::size_t smallest_entry = 24;
    if (body.size() < 8) return std::unexpected(BootInfoError::malformed_tag);
    const std::size_t entry_size = field<std::uint32_t>(body, 0);
    const Bytes entries = body.subspan(8);
    if (entry_size < smallest_entry || entry_size % tag_alignment != 0 || entries.size() % entry_size != 0)
        return std::unexpected(BootInfoError::malformed_memory_map);

    for (std::size_t at = 0; at < entries.size(); at += entry_size) {
        const HostPhys base{field<std::uint64_t>(entries, at)};
        // Firmware is known to describe the last byte of the address space.
        const std::uint64_t length = std::min(field<std::uint64_t>(entries, at + 8),
                                              std::numeric_limits<std::uint64_t>::max() - base.value);
        if (length == 0) continue;
        if (info.memory_map_entries == max_memory_map_entries)
            return std::unexpected(BootInfoError::too_many_memory_ranges);
        info.memory_map_storage[info.memory_map_entries++] = {
            {base, length}, field<std::uint32_t>(entries, at + 16) == memory_available};
    }
    return {};
}

Result parse_tag(Tag type, Bytes body, BootInfo& info) {
    switch (type) {
        case Tag::command_line: return parse_string(body, info.command_line);
        case Tag::loader_name: return parse_string(body, info.loader_name);
        case Tag::module: return parse_module(body, info);
        case Tag::memory_map: return parse_memory_map(body, info);
        case Tag::acpi_new_rsdp: info.rsdp = body; return {};
        case Tag::acpi_old_rsdp:
            if (info.rsdp.empty()) info.rsdp = body;
            return {};
        default: return {};
    }
}

}  // namespace

std::uint32_t boot_info_size(Bytes start) { return field<std::uint32_t>(start, 0); }

Result parse_boot_info(Bytes bytes, BootInfo& info) {
    info = {};
    if (bytes.size() < information_header) return std::unexpected(BootInfoError::truncated);
    const std::size_t total = boot_info_size(bytes);
    if (total > bytes.size()) return std::unexpected(BootInfoError::truncated);

    for (std::size_t at = information_header;;) {
        if (at > total || total - at < tag_header) return std::unexpected(BootInfoError::truncated);
        const auto type = static_cast<Tag>(field<std::uint32_t>(bytes, at));
        const std::size_t size = field<std::uint32_t>(bytes, at + 4);
        if (size < tag_header || size > total - at) return std::unexpected(BootInfoError::malformed_tag);
        if (type == Tag::end) break;
        if (auto ok = parse_tag(type, bytes.subspan(at + tag_header, size - tag_header), info); !ok) return ok;
        at += (size + tag_alignment - 1) & ~(tag_alignment - 1);
    }
    if (info.memory_map_entries == 0) return std::unexpected(BootInfoError::no_memory_map);
    return {};
}

std::string_view describe(BootInfoError error) {
    switch (error) {
        case BootInfoError::truncated: return "it ends before its last tag";
        case BootInfoError::malformed_tag: return "a tag has an impossible size";
        case BootInfoError::unterminated_string: return "a string in it has no end";
        case BootInfoError::malformed_memory_map: return "its memory map has an impossible entry size";
        case BootInfoError::malformed_module: return "a module in it ends before it begins";
        case BootInfoError::no_memory_map: return "it has no memory map";
        case BootInfoError::too_many_memory_ranges: return "its memory map has too many ranges";
        case BootInfoError::too_many_modules: return "it has too many modules";
    }
    return "it has an unknown error";
}

}  // namespace bulkhead::boot
