// SPDX-License-Identifier: Apache-2.0
// Makes ELF executables for the loaders' tests, by the offsets of the System V ABI (chapters 4 and 5).
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "guest/e820.hpp"

namespace {

using Image = std::vector<std::byte>;

template <class T>
void put(Image& image, std::size_t offset, T value) {
    std::memcpy(image.data() + offset, &value, sizeof value);
}

struct TestSegment {
    std::uint32_t type{1};  // PT_LOAD
    std::uint64_t vaddr{}, paddr{};
    Image data;
    std::uint64_t memory_size{};
};

inline Image numbered(std::size_t size) {
    Image image(size);
    for (std::size_t i = 0; i < size; ++i) image[i] = static_cast<std::byte>(i * 7 + 1);
    return image;
}

// The program headers stand behind the header, the contents behind them, in order.
inline Image make_elf(bool wide, std::uint64_t entry, const std::vector<TestSegment>& segments) {
    const std::size_t header = wide ? 64 : 52, program = wide ? 56 : 32;
    Image image(header + segments.size() * program);
    const char ident[] = {0x7f, 'E', 'L', 'F', static_cast<char>(wide ? 2 : 1), 1, 1};
    std::memcpy(image.data(), ident, sizeof ident);
    put<std::uint16_t>(image, 16, 2);
    put<std::uint16_t>(image, 18, wide ? 62 : 3);
    put<std::uint32_t>(image, 20, 1);
    const auto word = [&](std::size_t at, std::uint64_t value) {
        if (wide)
            put<std::uint64_t>(image, at, value);
        else
            put<std::uint32_t>(image, at, static_cast<std::uint32_t>(value));
    };
    word(24, entry);
    word(wide ? 32 : 28, header);
    put<std::uint16_t>(image, wide ? 54 : 42, static_cast<std::uint16_t>(program));
    put<std::uint16_t>(image, wide ? 56 : 44, static_cast<std::uint16_t>(segments.size()));
    for (std::size_t i = 0; i < segments.size(); ++i) {
        const TestSegment& s = segments[i];
        const std::size_t at = header + i * program, size = wide ? 8 : 4, first = at + (wide ? 8 : 4);
        put<std::uint32_t>(image, at, s.type);
        word(first, image.size());
        word(first + size, s.vaddr);
        word(first + 2 * size, s.paddr);
        word(first + 3 * size, s.data.size());
        word(first + 4 * size, s.memory_size ? s.memory_size : s.data.size());
        image.insert(image.end(), s.data.begin(), s.data.end());
    }
    return image;
}

// A note: sizes of owner and contents, type, both padded to 4 bytes.
inline void append_note(Image& to, const std::string& owner, std::uint32_t type, const Image& contents) {
    const std::size_t at = to.size();
    const std::size_t owner_room = (owner.size() + 4) & ~std::size_t{3};
    to.resize(at + 12 + owner_room + ((contents.size() + 3) & ~std::size_t{3}));
    put(to, at, static_cast<std::uint32_t>(owner.size() + 1));
    put(to, at + 4, static_cast<std::uint32_t>(contents.size()));
    put(to, at + 8, type);
    std::memcpy(to.data() + at + 12, owner.data(), owner.size());
    std::copy(contents.begin(), contents.end(), to.begin() + static_cast<std::ptrdiff_t>(at + 12 + owner_room));
}

inline void put_header(Image& image, std::size_t at, std::uint32_t flags) {
    put<std::uint32_t>(image, at, 0x1badb002);
    put<std::uint32_t>(image, at + 4, flags);
    put<std::uint32_t>(image, at + 8, 0u - 0x1badb002 - flags);
}

// A Multiboot kernel: ELF at 1 MiB with 8 KiB of bss, its header at the start of its text.
inline Image elf_kernel(std::uint32_t flags = 3, bool wide = false) {
    Image text = numbered(0x1000);
    put_header(text, 0, flags);
    return make_elf(wide, 0x100020, {{1, 0x100000, 0x100000, text, 0x3000}});
}

// Not ELF: the header 40h into the file says that the file goes to 2 MiB.
inline Image addressed_kernel(std::uint32_t load_end, std::uint32_t bss_end) {
    Image image = numbered(0x2000);
    put_header(image, 0x40, 0x10000);
    const std::uint32_t addresses[] = {0x200040, 0x200000, load_end, bss_end, 0x200100};
    std::memcpy(image.data() + 0x4c, addresses, sizeof addresses);
    return image;
}

constexpr std::uint32_t phys32_entry = 18;

template <class T>
inline Image bytes_of(T value) {
    Image image(sizeof value);
    put(image, 0, value);
    return image;
}

// A PVH kernel at 2 MiB with the note behind one of another owner and one of another type.
inline Image pvh_kernel(bool wide, std::uint64_t entry = 0x200040) {
    Image notes;
    append_note(notes, "GNU", phys32_entry, numbered(20));
    append_note(notes, "Xen", 6, numbered(5));
    append_note(notes, "Xen", phys32_entry,
                wide ? bytes_of<std::uint64_t>(entry) : bytes_of(static_cast<std::uint32_t>(entry)));
    return make_elf(wide, 0x200000, {{1, 0xc0200000, 0x200000, numbered(0x1000), 0x2000}, {4, 0, 0, notes, 0}});
}

// As a PC with this much memory has it.
inline std::vector<bulkhead::guest::E820Entry> pc_map(std::uint64_t size) {
    using bulkhead::GuestPhys;
    using bulkhead::guest::E820Type;
    return {{GuestPhys{0}, 0x9fc00, E820Type::usable},
            {GuestPhys{0x9fc00}, 0x400, E820Type::reserved},
            {GuestPhys{0xe0000}, 0x20000, E820Type::reserved},
            {GuestPhys{0x100000}, size - 0x100000, E820Type::usable}};
}

}  // namespace
