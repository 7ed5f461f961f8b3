// SPDX-License-Identifier: Apache-2.0
#include "guest/loader_multiboot.hpp"

#include <cstring>
#include <optional>

#include "guest/config.hpp"
#include "guest/elf.hpp"
#include "guest/flat_segments.hpp"
#include "guest/multiboot_format.hpp"

namespace bulkhead::guest {
namespace {

namespace mb = multiboot;

constexpr std::string_view loader_name = "Bulkhead";

struct FoundHeader {
    std::size_t offset{};
    mb::Header header;
};

// On a 4-byte boundary; magic, flags and checksum have the sum 0.
std::optional<FoundHeader> find_header(std::span<const std::byte> file) {
    const std::size_t end = std::min(file.size(), mb::search);
    for (std::size_t at = 0; at + sizeof(mb::Header) <= end; at += 4) {
        mb::Header header;
        std::memcpy(&header, file.data() + at, sizeof header);
        if (header.magic == mb::HEADER_MAGIC && header.magic + header.flags + header.checksum == 0)
            return FoundHeader{at, header};
    }
    return std::nullopt;
}

std::expected<void, LoadError> check_flags(std::uint32_t flags) {
    using namespace mb::header_flag;
    if ((flags & VIDEO_MODE) != 0)
        return load_error("the kernel asks for a video mode, and the guest has no display (Multiboot flag 2)");
    if ((flags & required & ~(PAGE_ALIGN | MEMORY_INFO)) != 0)
        return load_error("the kernel asks for something unknown by its Multiboot flags {:08x}", flags);
    return {};
}

// The "a.out kludge": the header says where the file, whatever it is, goes.
std::expected<GuestPhys, LoadError> load_by_addresses(const MultibootBoot& boot, const FoundHeader& found,
                                                      Memory& memory, Footprint& taken) {
    mb::Addresses a;
    const std::size_t at = found.offset + sizeof(mb::Header);
    if (boot.kernel.size() - at < sizeof a) return load_error("the kernel is truncated within its Multiboot header");
    std::memcpy(&a, boot.kernel.data() + at, sizeof a);
    // Where in the file the text starts.
    if (a.header_addr < a.load_addr || a.header_addr - a.load_addr > found.offset)
        return load_error("the kernel's Multiboot header contradicts itself");
    const std::size_t start = found.offset - (a.header_addr - a.load_addr);
    const std::uint64_t in_file = boot.kernel.size() - start;
    // Zero stands for the whole file, and for no bss.
    const std::uint64_t size = a.load_end_addr != 0 ? std::uint64_t{a.load_end_addr} - a.load_addr : in_file;
    const GuestPhys first{a.load_addr}, loaded = first + size;
    const GuestPhys end = a.bss_end_addr != 0 ? GuestPhys{a.bss_end_addr} : loaded;
    if ((a.load_end_addr != 0 && a.load_end_addr < a.load_addr) || end < loaded || a.entry_addr < a.load_addr ||
        GuestPhys{a.entry_addr} >= end)
        return load_error("the kernel's Multiboot header contradicts itself");
    if (size > in_file) return load_error("the kernel is truncated: {} bytes of {} are there", in_file, size);
    if (!is_usable(boot.map, {first, end}))
        return load_error("not enough memory: no usable range holds the kernel's {} KiB at {}",
                          (end - first + kib - 1) / kib, first);
    if (!taken.add({first, end}) || !memory.write(first, boot.kernel.subspan(start, size)) ||
        !memory.fill(loaded, end - loaded, std::byte{}))
        return load_error("the memory map names memory that the guest does not have");
    return GuestPhys{a.entry_addr};
}

std::expected<GuestPhys, LoadError> load_elf(const MultibootBoot& boot, Memory& memory, Footprint& taken) {
    if (!Elf::is_elf(boot.kernel))
        return load_error("the kernel is no ELF file, and its Multiboot header has no addresses (flag 16)");
    const auto elf = Elf::parse(boot.kernel);
    if (!elf) return std::unexpected(elf.error());
    const auto entry = elf->entry();
    if (!entry) return entry;
    if (const auto loaded = elf->load(boot.map, memory, taken); !loaded) return std::unexpected(loaded.error());
    return entry;
}

std::uint64_t info_size(const MultibootBoot& boot) {
    std::uint64_t size = BlockWriter::room(sizeof(mb::Info)) + BlockWriter::room(sizeof boot_gdt) +
                         BlockWriter::room(loader_name) + BlockWriter::room(boot.cmdline);
    for (const BootModule& module : boot.modules)
        size += BlockWriter::room(sizeof(mb::Module)) + BlockWriter::room(module.string);
    return size + boot.map.size() * BlockWriter::room(sizeof(mb::MapEntry));
}

constexpr std::uint32_t address_32(GuestPhys address) {
    return static_cast<std::uint32_t>(address.value);
}

// Sizes of the memory from 0 and from 1 MiB on, up to the first hole.
void describe_memory(mb::Info& info, std::span<const E820Entry> map) {
    each_usable(map, GuestPhys{0}, [&](const Range& range) {
        if (range.first == GuestPhys{0}) info.mem_lower = static_cast<std::uint32_t>(range.size() / kib);
        if (range.first == GuestPhys{1 * mib}) info.mem_upper = static_cast<std::uint32_t>(range.size() / kib);
    });
    info.flags |= mb::info_flag::MEMORY | mb::info_flag::MEM_MAP;
}

struct Written {
    GuestPhys info, gdt;
};

std::optional<Written> write_info(const MultibootBoot& boot, std::span<const Range> places, const Range& at,
                                  Memory& memory) {
    BlockWriter out{memory, at};
    mb::Info info{.flags = mb::info_flag::CMDLINE | mb::info_flag::BOOT_LOADER_NAME};
    describe_memory(info, boot.map);
    // The information comes first and is known last.
    const GuestPhys info_at = out.append_value(info);
    const GuestPhys gdt_at = out.append_value(boot_gdt);
    info.boot_loader_name = address_32(out.append_text(loader_name));
    info.cmdline = address_32(out.append_text(boot.cmdline));
    std::array<mb::Module, max_modules> modules{};
    for (std::size_t i = 0; i < boot.modules.size(); ++i)
        modules[i] = {.mod_start = address_32(places[i].first),
                      .mod_end = address_32(places[i].end),
                      .string = address_32(out.append_text(boot.modules[i].string))};
    if (!boot.modules.empty()) {
        info.flags |= mb::info_flag::MODS;
        info.mods_count = static_cast<std::uint32_t>(boot.modules.size());
        info.mods_addr = address_32(out.append(std::as_bytes(std::span{modules}.first(boot.modules.size()))));
    }
    // Each entry is a multiple of 8 bytes: they lie one behind the other.
    info.mmap_length = static_cast<std::uint32_t>(boot.map.size() * sizeof(mb::MapEntry));
    for (std::size_t i = 0; i < boot.map.size(); ++i) {
        const E820Entry& entry = boot.map[i];
        const GuestPhys entry_at = out.append_value(mb::MapEntry{
            .base_addr = entry.first.value, .length = entry.size, .type = static_cast<std::uint32_t>(entry.type)});
        if (i == 0) info.mmap_addr = address_32(entry_at);
    }
    if (!out.good() || !memory.store(info_at, info)) return std::nullopt;
    return Written{info_at, gdt_at};
}

}  // namespace

std::expected<InitialState, LoadError> load_multiboot(const MultibootBoot& boot, Memory& memory) {
    const auto found = find_header(boot.kernel);
    if (!found)
        return load_error("the kernel has no Multiboot header in its first {} bytes",
                          std::min(boot.kernel.size(), mb::search));
    if (const auto known = check_flags(found->header.flags); !known) return std::unexpected(known.error());
    Footprint taken;
    const bool has_addresses = (found->header.flags & mb::header_flag::AOUT_KLUDGE) != 0;
    const auto entry = has_addresses ? load_by_addresses(boot, *found, memory, taken) : load_elf(boot, memory, taken);
    if (!entry) return std::unexpected(entry.error());
    std::array<Range, max_modules> places{};
    if (const auto loaded = load_modules(boot.modules, boot.map, memory, taken, places); !loaded)
        return std::unexpected(loaded.error());
    const auto info_place = taken.place_low(info_size(boot), boot.map);
    if (!info_place) return load_error("not enough memory: the boot information has no place");
    const auto written = write_info(boot, places, *info_place, memory);
    if (!written) return load_error("the memory map names memory that the guest does not have");

    InitialState state = protected_mode_state(entry->value, written->gdt);
    state.gpr[isa::Gpr::RAX] = mb::BOOTLOADER_MAGIC;
    state.gpr[isa::Gpr::RBX] = written->info.value;
    return state;
}

}  // namespace bulkhead::guest
