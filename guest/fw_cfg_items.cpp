// SPDX-License-Identifier: Apache-2.0
#include "guest/fw_cfg_items.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include "guest/linux_header.hpp"
#include "guest/memory_map.hpp"
#include "guest/placement.hpp"

namespace bulkhead::guest {
namespace {

namespace key = fw_cfg_key;
namespace hdr = linux_header;

// Where firmware is to put the parts, as QEMU has it.
constexpr std::uint32_t setup_at = 0x1'0000, cmdline_at = 0x2'0000, kernel_at = 0x10'0000;

struct [[gnu::packed]] E820File {
    std::uint64_t address{}, length{};
    E820Type type{E820Type::usable};
};
static_assert(sizeof(E820File) == 20);

bool add_sized(FwCfg& device, std::uint16_t size_key, std::uint16_t data_key, std::span<const std::byte> data) {
    return device.add_value(size_key, static_cast<std::uint32_t>(data.size())) && device.add(data_key, data);
}

bool add_machine(FwCfg& device, std::uint64_t memory, unsigned vcpus) {
    const MemoryMap map{memory};
    std::array<E820File, 2> e820;
    std::size_t count = 0;
    for (const RamRange& range : map.ram())
        if (range.size != 0) e820[count++] = {.address = range.first.value, .length = range.size};
    return device.add_value(key::ram_size, memory) &&
           device.add_value(key::cpus, static_cast<std::uint16_t>(vcpus)) &&
           device.add_value(key::max_cpus, static_cast<std::uint16_t>(vcpus)) &&
           // ISA interrupt 0 is at pin 2 of the I/O APIC.
           device.add_value(key::irq0_override, std::uint32_t{1}) &&
           device.add_file_copy("etc/e820", std::as_bytes(std::span{e820}.first(count)));
}

// As high as the kernel allows, below the end of the low RAM.
std::uint32_t initrd_address(const FwCfgItems& items) {
    std::uint64_t limit = MemoryMap{items.memory}.low_size();
    if (items.loader == Loader::linux) {
        std::uint32_t highest = 0;
        std::memcpy(&highest, items.kernel.data() + hdr::initrd_addr_max, sizeof highest);
        limit = std::min<std::uint64_t>(limit, std::uint64_t{highest} + 1);
    }
    if (items.initrd.size() > limit) return 0;
    return static_cast<std::uint32_t>(GuestPhys{limit - items.initrd.size()}.align_down(page_size).value);
}

bool add_kernel(FwCfg& device, const FwCfgItems& items) {
    if (items.loader != Loader::linux)
        return add_sized(device, key::kernel_size, key::kernel_data, items.kernel) &&
               device.add_value(key::kernel_entry, static_cast<std::uint32_t>(items.entry));
    // The loader has looked at the header before.
    const auto sectors = static_cast<std::size_t>(items.kernel[hdr::setup_sects]);
    const std::size_t setup = ((sectors != 0 ? sectors : 4) + 1) * hdr::sector;
    return add_sized(device, key::setup_size, key::setup_data, items.kernel.first(setup)) &&
           add_sized(device, key::kernel_size, key::kernel_data, items.kernel.subspan(setup)) &&
           device.add_value(key::setup_address, setup_at) && device.add_value(key::kernel_address, kernel_at);
}

// Its size counts a zero behind it, which is what the device has behind every item.
bool add_cmdline(FwCfg& device, std::string_view cmdline) {
    return device.add_value(key::cmdline_size, static_cast<std::uint32_t>(cmdline.size() + 1)) &&
           device.add(key::cmdline_data, std::as_bytes(std::span{cmdline})) &&
           device.add_value(key::cmdline_address, cmdline_at);
}

bool add_rom(FwCfg& device, std::string_view name, std::span<const std::byte> data) {
    return data.empty() || device.add_file(name, data);
}

}  // namespace

bool add_firmware_items(FwCfg& device, const FirmwareItems& items) {
    constexpr unsigned ms = 1000;
    const auto wait = static_cast<std::uint16_t>(items.boot_menu * ms);
    // What SeaBIOS shows on the screen it would show on its debug console too.
    constexpr std::byte no{0};
    return add_machine(device, items.memory, items.vcpus) &&
           device.add_value(key::boot_menu, static_cast<std::uint16_t>(items.boot_menu != 0)) &&
           device.add_file_copy("etc/boot-menu-wait", std::as_bytes(std::span{&wait, 1})) &&
           device.add_file_copy("etc/screen-and-debug", {&no, 1}) &&
           add_rom(device, "vgaroms/vgabios.bin", items.vgabios) &&
           add_rom(device, "genroms/option.rom", items.option_rom) &&
           add_rom(device, "floppyimg/floppy.img", items.floppy);
}

bool add_items(FwCfg& device, const FwCfgItems& items) {
    return add_machine(device, items.memory, items.vcpus) && add_kernel(device, items) &&
           add_cmdline(device, items.cmdline) &&
           (items.initrd.empty() || (add_sized(device, key::initrd_size, key::initrd_data, items.initrd) &&
                                     device.add_value(key::initrd_address, initrd_address(items))));
}

}  // namespace bulkhead::guest
