// SPDX-License-Identifier: Apache-2.0
#include "guest/loader_linux.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <optional>

#include "arch/isa/msr.hpp"
#include "arch/isa/paging.hpp"
#include "guest/flat_segments.hpp"
#include "guest/linux_header.hpp"
#include "guest/placement.hpp"

namespace bulkhead::guest {

namespace {

namespace hdr = linux_header;

// What the loader itself puts into base memory. The kernel takes over from these before it uses that memory.
constexpr GuestPhys gdt_at{0x1'0000};
constexpr GuestPhys boot_params_at{0x1'1000};
constexpr GuestPhys cmdline_at{0x1'2000};
constexpr std::uint64_t cmdline_room = 0x8000;
constexpr GuestPhys page_tables_at{0x2'0000};
constexpr unsigned identity_gib = 4;
constexpr GuestPhys loader_end = page_tables_at + (2 + identity_gib) * page_size;

template <class T>
T get(std::span<const std::byte> bytes, std::size_t offset) {
    T value{};
    std::memcpy(&value, bytes.data() + offset, sizeof value);
    return value;
}

// A checked bzImage.
struct Kernel {
    std::span<const std::byte> file, setup_header, payload;
    bool wide{};  // it has a 64-bit entry point
    bool relocatable{};
    std::uint64_t alignment{}, preferred{}, init_size{};
    std::uint64_t initrd_max{}, cmdline_size{};
};

std::expected<void, LoadError> check_kind(std::span<const std::byte> file) {
    if (file.size() < hdr::end_of_2_12)
        return load_error("the kernel is truncated: {} bytes are less than the header of a bzImage", file.size());
    if (get<std::uint16_t>(file, hdr::boot_flag) != hdr::boot_flag_value ||
        get<std::uint32_t>(file, hdr::header) != hdr::magic)
        return load_error("the kernel is not a Linux bzImage");
    const auto version = get<std::uint16_t>(file, hdr::version);
    if (version < hdr::version_2_10)
        return load_error("the kernel has boot protocol {}.{}: 2.10 or newer is needed (Linux 2.6.31)", version >> 8,
                          version & 0xff);
    if (!(get<std::uint8_t>(file, hdr::loadflags) & hdr::LOADED_HIGH))
        return load_error("the kernel is a zImage, which loads below 1 MiB: a bzImage is needed");
    return {};
}

std::expected<Kernel, LoadError> parse(std::span<const std::byte> file) {
    if (const auto checked = check_kind(file); !checked) return std::unexpected(checked.error());
    Kernel kernel;
    kernel.file = file;
    const bool known_by_flags = get<std::uint16_t>(file, hdr::version) >= hdr::version_2_12;
    kernel.wide = known_by_flags && (get<std::uint16_t>(file, hdr::xloadflags) & hdr::XLF_KERNEL_64) != 0;
    const std::size_t header_end = hdr::header + get<std::uint8_t>(file, hdr::jump + 1);
    const std::size_t sectors = get<std::uint8_t>(file, hdr::setup_sects);
    const std::size_t setup = ((sectors ? sectors : 4) + 1) * hdr::sector;
    const std::uint64_t size = std::uint64_t{get<std::uint32_t>(file, hdr::syssize)} * 16;
    if (header_end < (known_by_flags ? hdr::end_of_2_12 : hdr::end_of_2_10) || header_end > setup ||
        header_end > hdr::e820_table || size <= (kernel.wide ? hdr::entry_64 : 0))
        return load_error("the kernel's setup header contradicts itself");
    // The size is stated in paragraphs, and some files end within the last.
    constexpr std::size_t paragraph = 16;
    if (file.size() + paragraph <= setup + size)
        return load_error("the kernel is truncated: {} bytes instead of {}", file.size(), setup + size);
    kernel.setup_header = file.subspan(hdr::setup_sects, header_end - hdr::setup_sects);
    kernel.payload = file.subspan(setup, std::min<std::size_t>(size, file.size() - setup));
    kernel.relocatable = get<std::uint8_t>(file, hdr::relocatable_kernel) != 0;
    kernel.alignment = get<std::uint32_t>(file, hdr::kernel_alignment);
    kernel.preferred = get<std::uint64_t>(file, hdr::pref_address);
    kernel.init_size = std::max<std::uint64_t>(get<std::uint32_t>(file, hdr::init_size), size);
    kernel.initrd_max = get<std::uint32_t>(file, hdr::initrd_addr_max);
    kernel.cmdline_size = get<std::uint32_t>(file, hdr::cmdline_size);
    if (!std::has_single_bit(kernel.alignment) || kernel.preferred > identity_gib * gib)
        return load_error("the kernel's setup header contradicts itself");
    return kernel;
}

// The kernel and its initrd go into extended memory.
constexpr GuestPhys floor_of_all{1 * mib};

std::expected<Range, LoadError> place_kernel(const Kernel& kernel, std::span<const E820Entry> map) {
    const GuestPhys preferred{kernel.preferred};
    const Range wanted{preferred, preferred + kernel.init_size};
    std::optional<Range> preferred_place, other_place;
    each_usable(map, floor_of_all, [&](const Range& range) {
        if (range.contains(wanted)) preferred_place = wanted;
        const GuestPhys first = range.first.align_up(kernel.alignment);
        const Range aligned{first, first + kernel.init_size};
        if (kernel.relocatable && !other_place && range.contains(aligned)) other_place = aligned;
    });
    if (preferred_place) return *preferred_place;
    if (other_place) return *other_place;
    return load_error("not enough memory: the kernel needs {} KiB{} and the largest usable range has {} KiB",
                      (kernel.init_size + kib - 1) / kib, kernel.relocatable ? "" : " at its fixed address",
                      largest_usable(map) / kib);
}

// As high as the kernel allows, so that it is in nobody's way.
std::expected<Range, LoadError> place_initrd(const Kernel& kernel, const Range& kernel_at, std::uint64_t size,
                                             std::span<const E820Entry> map) {
    std::optional<Range> place;
    const auto try_below = [&](const Range& range, GuestPhys end) {
        if (end < range.first || end - range.first < size) return;
        const GuestPhys first = (end - size).align_down(page_size);
        if (first >= range.first && (!place || first > place->first)) place = Range{first, first + size};
    };
    each_usable(map, floor_of_all, [&](Range range) {
        range.end = std::min(range.end, GuestPhys{kernel.initrd_max + 1});
        if (range.end <= kernel_at.first || range.first >= kernel_at.end) return try_below(range, range.end);
        try_below({kernel_at.end, range.end}, range.end);
        try_below({range.first, kernel_at.first}, std::min(range.end, kernel_at.first));
    });
    if (place) return *place;
    return load_error("not enough memory: the initrd of {} KiB does not fit beside the kernel's {} KiB below {}",
                      (size + kib - 1) / kib, (kernel_at.end - kernel_at.first) / kib, GuestPhys{kernel.initrd_max});
}

bool write_boot_params(const LinuxBoot& boot, const Kernel& kernel, const Range& kernel_at, const Range& initrd_at,
                       Memory& memory) {
    bool ok = memory.fill(boot_params_at, page_size, std::byte{});
    const auto put = [&](std::size_t offset, const auto& value) { ok &= memory.store(boot_params_at + offset, value); };
    ok &= memory.write(boot_params_at + hdr::setup_sects, kernel.setup_header);
    put(hdr::type_of_loader, hdr::loader_undefined);
    put(hdr::code32_start, static_cast<std::uint32_t>(kernel_at.first.value));
    put(hdr::ramdisk_image, static_cast<std::uint32_t>(initrd_at.first.value));
    put(hdr::ramdisk_size, static_cast<std::uint32_t>(initrd_at.end - initrd_at.first));
    put(hdr::cmd_line_ptr, static_cast<std::uint32_t>(cmdline_at.value));
    put(hdr::acpi_rsdp_addr, boot.rsdp.value);
    put(hdr::e820_entries, static_cast<std::uint8_t>(boot.map.size()));
    std::size_t at = hdr::e820_table;
    for (const E820Entry& entry : boot.map) {
        put(at, entry.first.value);
        put(at + 8, entry.size);
        put(at + 16, entry.type);
        at += hdr::e820_entry_size;
    }
    return ok;
}

// The first 4 GiB mapped to themselves by 2 MiB pages: one PML4, one PDPT, a page directory a GiB.
bool write_page_tables(Memory& memory) {
    namespace pte = isa::pte;
    constexpr std::uint64_t table = pte::P | pte::RW;
    const GuestPhys pdpt = page_tables_at + page_size;
    const GuestPhys directories = pdpt + page_size;
    bool ok = memory.fill(page_tables_at, loader_end - page_tables_at, std::byte{});
    ok &= memory.store(page_tables_at, pdpt.value | table);
    for (std::uint64_t n = 0; n < identity_gib; ++n)
        ok &= memory.store(pdpt + n * 8, (directories + n * page_size).value | table);
    // The directories lie one after the other: one array of entries, written in pieces to spare the stack.
    std::array<std::uint64_t, 64> entries{};
    constexpr std::uint64_t total = identity_gib * gib / large_page_size;
    for (std::uint64_t i = 0; i < total; i += entries.size()) {
        for (std::uint64_t j = 0; j < entries.size(); ++j) entries[j] = (i + j) * large_page_size | table | pte::PS;
        ok &= memory.store(directories + i * 8, entries);
    }
    return ok;
}

// __BOOT_CS and __BOOT_DS as 64-bit code and data (SDM volume 3, 3.4.5).
constexpr std::array<std::uint64_t, 4> gdt_64{0, 0, 0x00af'9b00'0000'ffff, 0x00cf'9300'0000'ffff};

bool write_all(const LinuxBoot& boot, const Kernel& kernel, const Range& kernel_at, const Range& initrd_at,
               Memory& memory) {
    return memory.store(gdt_at, kernel.wide ? gdt_64 : boot_gdt) &&
           write_boot_params(boot, kernel, kernel_at, initrd_at, memory) &&
           memory.write(cmdline_at, std::as_bytes(std::span{boot.cmdline})) &&
           memory.store(cmdline_at + boot.cmdline.size(), std::byte{}) &&
           (!kernel.wide || write_page_tables(memory)) &&
           memory.write(kernel_at.first, kernel.payload) &&
           (boot.initrd.empty() || memory.write(initrd_at.first, boot.initrd));
}

// The 64-bit entry point has paging on, the 32-bit one is the first byte.
InitialState entry_state(const Kernel& kernel, const Range& kernel_at) {
    InitialState state = protected_mode_state(kernel_at.first.value, gdt_at);
    state.gpr[isa::Gpr::RSI] = boot_params_at.value;
    if (!kernel.wide) return state;
    state.rip += hdr::entry_64;
    state.cr0 |= isa::cr0::PG;
    state.cr3 = page_tables_at.value;
    state.cr4 = isa::cr4::PAE;
    state.efer = isa::efer::LME | isa::efer::LMA;
    set_flat_segments(state, isa::access_rights::L);
    return state;
}

bool base_memory_usable(std::span<const E820Entry> map) {
    return std::ranges::any_of(map, [](const E820Entry& e) {
        return e.type == E820Type::usable && Range{e.first, e.end()}.contains({gdt_at, loader_end});
    });
}

}  // namespace

std::expected<InitialState, LoadError> load_linux(const LinuxBoot& boot, Memory& memory) {
    const auto kernel = parse(boot.kernel);
    if (!kernel) return std::unexpected(kernel.error());
    const std::uint64_t longest = std::min(kernel->cmdline_size, cmdline_room - 1);
    if (boot.cmdline.size() > longest)
        return load_error("the command line has {} characters, and the kernel takes {}", boot.cmdline.size(), longest);
    if (boot.map.size() > hdr::max_e820_entries) return load_error("the memory map has more than 128 ranges");
    if (!base_memory_usable(boot.map))
        return load_error("not enough memory: no usable range holds {} to {}", gdt_at, loader_end);
    const auto kernel_at = place_kernel(*kernel, boot.map);
    if (!kernel_at) return std::unexpected(kernel_at.error());
    Range initrd_at{};
    if (!boot.initrd.empty()) {
        const auto place = place_initrd(*kernel, *kernel_at, boot.initrd.size(), boot.map);
        if (!place) return std::unexpected(place.error());
        initrd_at = *place;
    }
    if (!write_all(boot, *kernel, *kernel_at, initrd_at, memory))
        return load_error("the memory map names memory that the guest does not have");
    return entry_state(*kernel, *kernel_at);
}

}  // namespace bulkhead::guest
