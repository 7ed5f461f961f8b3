// SPDX-License-Identifier: Apache-2.0
#include "guest/elf.hpp"

#include <cstring>

namespace bulkhead::guest {
namespace {

// Offsets that depend on the class: those of the file's header, then those of a program header.
struct Layout {
    std::size_t size, entry, phoff, phentsize, phnum;
    std::size_t ph_size, ph_offset, ph_vaddr, ph_paddr, ph_filesz, ph_memsz;
};
constexpr Layout layout_32{52, 24, 28, 42, 44, 32, 4, 8, 12, 16, 20};
constexpr Layout layout_64{64, 24, 32, 54, 56, 56, 8, 16, 24, 32, 40};

constexpr std::uint8_t class_32 = 1, class_64 = 2, little_endian = 1;
constexpr std::uint16_t type_executable = 2, machine_386 = 3, machine_x86_64 = 62;
// More than any kernel has: what looks at all of them does not take long.
constexpr std::size_t most_segments = 40;
constexpr std::size_t at_class = 4, at_data = 5, at_type = 16, at_machine = 18;

template <class T>
T get(std::span<const std::byte> bytes, std::size_t offset) {
    T value{};
    std::memcpy(&value, bytes.data() + offset, sizeof value);
    return value;
}

std::uint64_t get_word(std::span<const std::byte> bytes, std::size_t offset, bool wide) {
    return wide ? get<std::uint64_t>(bytes, offset) : get<std::uint32_t>(bytes, offset);
}

constexpr const Layout& layout_of(bool wide) {
    return wide ? layout_64 : layout_32;
}

constexpr std::uint64_t align_4(std::uint64_t n) {
    return (n + 3) & ~3ull;
}

}  // namespace

bool Elf::is_elf(std::span<const std::byte> file) {
    static constexpr char magic[] = {0x7f, 'E', 'L', 'F'};
    return file.size() >= sizeof magic && std::memcmp(file.data(), magic, sizeof magic) == 0;
}

std::expected<Elf, LoadError> Elf::parse(std::span<const std::byte> file) {
    if (!is_elf(file)) return load_error("the kernel is not an ELF file");
    if (file.size() < layout_32.size)
        return load_error("the kernel is truncated: {} bytes are less than an ELF header", file.size());
    const auto kind = get<std::uint8_t>(file, at_class);
    const auto machine = get<std::uint16_t>(file, at_machine);
    Elf elf;
    elf.file_ = file;
    elf.wide_ = kind == class_64;
    const Layout& at = layout_of(elf.wide_);
    if (machine != machine_386 && machine != machine_x86_64)
        return load_error("the kernel is for another machine: ELF machine {} is not x86", machine);
    if ((kind != class_32 && kind != class_64) || get<std::uint8_t>(file, at_data) != little_endian)
        return load_error("the kernel's ELF header contradicts itself");
    if (get<std::uint16_t>(file, at_type) != type_executable)
        return load_error("the kernel is no executable: its ELF type is {}", get<std::uint16_t>(file, at_type));
    if (file.size() < at.size)
        return load_error("the kernel is truncated: {} bytes are less than an ELF header", file.size());
    elf.entry_ = get_word(file, at.entry, elf.wide_);
    elf.headers_ = get_word(file, at.phoff, elf.wide_);
    elf.header_size_ = get<std::uint16_t>(file, at.phentsize);
    elf.count_ = get<std::uint16_t>(file, at.phnum);
    if (elf.count_ == 0 || elf.header_size_ < at.ph_size) return load_error("the kernel has no ELF segments");
    if (elf.count_ > most_segments)
        return load_error("the kernel has {} ELF segments, {} are the most", elf.count_, most_segments);
    if (elf.headers_ > file.size() || elf.count_ * elf.header_size_ > file.size() - elf.headers_)
        return load_error("the kernel is truncated: its program headers are at {:x}, after {} bytes it ends",
                          elf.headers_, file.size());
    if (const auto checked = elf.check_segments(); !checked) return std::unexpected(checked.error());
    return elf;
}

std::expected<void, LoadError> Elf::check_segments() const {
    bool any = false;
    for (std::size_t i = 0; i < count_; ++i) {
        const ElfSegment s = segment(i);
        if (s.type != ElfSegment::LOAD && s.type != ElfSegment::NOTE) continue;
        std::uint64_t end = 0;
        if (__builtin_add_overflow(s.offset, s.file_size, &end) || end > file_.size())
            return load_error("the kernel is truncated: its segment {} is {} bytes at {:x}, after {} bytes it ends", i,
                              s.file_size, s.offset, file_.size());
        if (s.type != ElfSegment::LOAD) continue;
        if (s.file_size > s.memory_size) return load_error("the kernel's segment {} contradicts itself", i);
        any |= s.memory_size != 0;
    }
    if (!any) return load_error("the kernel has nothing to load");
    return {};
}

ElfSegment Elf::segment(std::size_t index) const {
    const Layout& at = layout_of(wide_);
    const auto header = file_.subspan(headers_ + index * header_size_, at.ph_size);
    const auto word = [&](std::size_t offset) { return get_word(header, offset, wide_); };
    return {.type = get<std::uint32_t>(header, 0),
            .offset = word(at.ph_offset),
            .vaddr = word(at.ph_vaddr),
            .paddr = word(at.ph_paddr),
            .file_size = word(at.ph_filesz),
            .memory_size = word(at.ph_memsz)};
}

std::expected<GuestPhys, LoadError> Elf::entry() const {
    std::optional<std::uint64_t> virtual_one, physical_one;
    for (std::size_t i = 0; i < count_; ++i) {
        const ElfSegment s = segment(i);
        if (s.type != ElfSegment::LOAD) continue;
        if (!virtual_one && entry_ >= s.vaddr && entry_ - s.vaddr < s.memory_size)
            virtual_one = entry_ - s.vaddr + s.paddr;
        if (entry_ >= s.paddr && entry_ - s.paddr < s.memory_size) physical_one = entry_;
    }
    const auto found = virtual_one ? virtual_one : physical_one;
    if (!found || *found >= placement_limit.value)
        return load_error("the kernel's entry point {:x} is in none of its segments below 4 GiB", entry_);
    return GuestPhys{*found};
}

// A note is the sizes of its owner's name (with the zero) and of its contents, its type, then both, 4-byte aligned.
std::optional<std::span<const std::byte>> Elf::note(std::string_view owner, std::uint32_t type) const {
    constexpr std::size_t header = 12;
    for (std::size_t i = 0; i < count_; ++i) {
        const ElfSegment s = segment(i);
        if (s.type != ElfSegment::NOTE) continue;
        auto rest = contents(s);
        while (rest.size() >= header) {
            const auto name_size = get<std::uint32_t>(rest, 0), size = get<std::uint32_t>(rest, 4);
            const std::uint64_t start = header + align_4(name_size);
            if (start > rest.size() || size > rest.size() - start) break;
            if (get<std::uint32_t>(rest, 8) == type && name_size == owner.size() + 1 &&
                std::memcmp(rest.data() + header, owner.data(), owner.size()) == 0)
                return rest.subspan(start, size);
            rest = rest.subspan(std::min<std::uint64_t>(start + align_4(size), rest.size()));
        }
    }
    return std::nullopt;
}

std::expected<void, LoadError> Elf::load(std::span<const E820Entry> map, Memory& memory, Footprint& taken) const {
    for (std::size_t i = 0; i < count_; ++i) {
        const ElfSegment s = segment(i);
        if (s.type != ElfSegment::LOAD || s.memory_size == 0) continue;
        std::uint64_t end = 0;
        if (__builtin_add_overflow(s.paddr, s.memory_size, &end) ||
            !is_usable(map, {GuestPhys{s.paddr}, GuestPhys{end}}))
            return load_error("not enough memory: no usable range holds the kernel's {} KiB at {}",
                              (s.memory_size + kib - 1) / kib, GuestPhys{s.paddr});
        const Range place{GuestPhys{s.paddr}, GuestPhys{end}};
        if (!taken.add(place) || !memory.write(place.first, contents(s)) ||
            !memory.fill(place.first + s.file_size, s.memory_size - s.file_size, std::byte{}))
            return load_error("the memory map names memory that the guest does not have");
    }
    return {};
}

}  // namespace bulkhead::guest
