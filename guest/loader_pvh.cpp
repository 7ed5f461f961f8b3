// SPDX-License-Identifier: Apache-2.0
#include "guest/loader_pvh.hpp"

#include <cstring>
#include <optional>

#include "guest/config.hpp"
#include "guest/elf.hpp"
#include "guest/flat_segments.hpp"
#include "guest/pvh_format.hpp"

namespace bulkhead::guest {
namespace {

// The initrd and the modules.
constexpr std::size_t max_files = max_modules + 1;

// The entry point, which is a physical address, 4 or 8 bytes long.
std::expected<GuestPhys, LoadError> find_entry(const Elf& elf) {
    const auto note = elf.note(pvh::note_owner, pvh::XEN_ELFNOTE_PHYS32_ENTRY);
    if (!note) return load_error("the kernel has no PVH entry point (ELF note XEN_ELFNOTE_PHYS32_ENTRY)");
    std::uint64_t entry = 0;
    if (note->size() != 4 && note->size() != 8) return load_error("the kernel's PVH note contradicts itself");
    std::memcpy(&entry, note->data(), note->size());
    for (std::size_t i = 0; i < elf.segment_count(); ++i) {
        const ElfSegment s = elf.segment(i);
        if (s.type == ElfSegment::LOAD && entry >= s.paddr && entry - s.paddr < s.memory_size) return GuestPhys{entry};
    }
    return load_error("the kernel's PVH entry point {:x} is in none of its segments", entry);
}

std::uint64_t info_size(const PvhBoot& boot, std::span<const BootModule> files) {
    std::uint64_t size = BlockWriter::room(sizeof(pvh::StartInfo)) + BlockWriter::room(sizeof boot_gdt) +
                         BlockWriter::room(boot.cmdline) +
                         boot.map.size() * BlockWriter::room(sizeof(pvh::MemmapEntry));
    for (const BootModule& file : files)
        size += BlockWriter::room(sizeof(pvh::ModlistEntry)) + BlockWriter::room(file.string);
    return size;
}

struct Written {
    GuestPhys info, gdt;
};

std::optional<Written> write_info(const PvhBoot& boot, std::span<const BootModule> files, std::span<const Range> places,
                                  const Range& at, Memory& memory) {
    BlockWriter out{memory, at};
    pvh::StartInfo info{.nr_modules = static_cast<std::uint32_t>(files.size()),
                        .rsdp_paddr = boot.rsdp.value,
                        .memmap_entries = static_cast<std::uint32_t>(boot.map.size())};
    // The information comes first and is known last.
    const GuestPhys info_at = out.append_value(info);
    const GuestPhys gdt_at = out.append_value(boot_gdt);
    info.cmdline_paddr = out.append_text(boot.cmdline).value;
    std::array<pvh::ModlistEntry, max_files> modules{};
    for (std::size_t i = 0; i < files.size(); ++i) {
        modules[i] = {.paddr = places[i].first.value, .size = places[i].size()};
        if (!files[i].string.empty()) modules[i].cmdline_paddr = out.append_text(files[i].string).value;
    }
    if (!files.empty()) info.modlist_paddr = out.append(std::as_bytes(std::span{modules}.first(files.size()))).value;
    // Each entry is a multiple of 8 bytes: they lie one behind the other.
    for (std::size_t i = 0; i < boot.map.size(); ++i) {
        const E820Entry& entry = boot.map[i];
        const GuestPhys entry_at = out.append_value(pvh::MemmapEntry{
            .addr = entry.first.value, .size = entry.size, .type = static_cast<std::uint32_t>(entry.type)});
        if (i == 0) info.memmap_paddr = entry_at.value;
    }
    if (!out.good() || !memory.store(info_at, info)) return std::nullopt;
    return Written{info_at, gdt_at};
}

}  // namespace

std::expected<InitialState, LoadError> load_pvh(const PvhBoot& boot, Memory& memory) {
    const auto elf = Elf::parse(boot.kernel);
    if (!elf) return std::unexpected(elf.error());
    const auto entry = find_entry(*elf);
    if (!entry) return std::unexpected(entry.error());
    Footprint taken;
    if (const auto loaded = elf->load(boot.map, memory, taken); !loaded) return std::unexpected(loaded.error());

    std::array<BootModule, max_files> files{};
    std::size_t count = 0;
    if (!boot.initrd.empty()) files[count++].data = boot.initrd;
    if (boot.modules.size() > max_modules) return load_error("there are more than {} modules", max_modules);
    for (const BootModule& module : boot.modules) files[count++] = module;
    const auto all = std::span{files}.first(count);
    std::array<Range, max_files> places{};
    if (const auto loaded = load_modules(all, boot.map, memory, taken, places); !loaded)
        return std::unexpected(loaded.error());

    const auto info_place = taken.place_low(info_size(boot, all), boot.map);
    if (!info_place) return load_error("not enough memory: the boot information has no place");
    const auto written = write_info(boot, all, places, *info_place, memory);
    if (!written) return load_error("the memory map names memory that the guest does not have");
    InitialState state = protected_mode_state(entry->value, written->gdt);
    state.gpr[isa::Gpr::RBX] = written->info.value;
    return state;
}

}  // namespace bulkhead::guest
