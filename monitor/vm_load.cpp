// SPDX-License-Identifier: Apache-2.0
#include "guest/acpi_tables.hpp"
#include "guest/bios_data.hpp"
#include "guest/fw_cfg_items.hpp"
#include "guest/loader_flat.hpp"
#include "guest/loader_linux.hpp"
#include "guest/loader_multiboot.hpp"
#include "guest/loader_pvh.hpp"
#include "guest/memory_map.hpp"
#include "guest/mp_table.hpp"
#include "lib/log.hpp"
#include "monitor/vm.hpp"

// What a guest starts with: its files, found among the boot modules, and the tables that firmware would have left.
namespace bulkhead::monitor {

std::span<const std::byte> Vm::module(std::string_view wanted) const {
    for (const Module& m : the_system.handover->modules)
        if (m.name == wanted) return m.data;
    return {};
}

// An empty name stands for no file.
bool Vm::find_module(std::string_view what, std::string_view file, std::span<const std::byte>& data) const {
    data = module(file);
    if (!data.empty() || file.empty()) return true;
    log("guest {}: {} {} is not among the boot modules", name(), what, file);
    return false;
}

Vm::Step Vm::find_files(BootFiles& files) const {
    if (!find_module("kernel", config_.kernel, files.kernel)) return std::unexpected("no kernel");
    if (!find_module("initrd", config_.initrd, files.initrd)) return std::unexpected("no initrd");
    if (!find_module("firmware", config_.firmware, files.firmware)) return std::unexpected("no firmware");
    if (!find_module("vgabios", config_.vgabios, files.vgabios)) return std::unexpected("no vgabios");
    if (!find_module("option-rom", config_.option_rom, files.option_rom)) return std::unexpected("no option-rom");
    if (!find_module("floppy", config_.floppy, files.floppy)) return std::unexpected("no floppy");
    for (const guest::ModuleConfig& wanted : config_.module_list()) {
        guest::BootModule& module = files.modules[files.module_count++];
        module.string = wanted.string;
        if (!find_module("module", wanted.file, module.data)) return std::unexpected("no module");
    }
    return {};
}

Vm::LoadResult Vm::load_kernel(const BootFiles& files) {
    std::array<guest::E820Entry, guest::MemoryMap::max_e820_entries> storage;
    const guest::MemoryMap map{config_.memory};
    const auto e820 = map.e820(storage);
    const auto modules = std::span{files.modules}.first(files.module_count);
    const GuestPhys rsdp = guest::layout::rsdp;
    switch (config_.loader) {
        case guest::Loader::linux:
            return guest::load_linux({files.kernel, files.initrd, config_.cmdline, e820, rsdp}, *memory_);
        case guest::Loader::multiboot:
            return guest::load_multiboot({files.kernel, config_.cmdline, modules, e820}, *memory_);
        case guest::Loader::pvh:
            return guest::load_pvh({files.kernel, files.initrd, config_.cmdline, modules, e820, rsdp}, *memory_);
        case guest::Loader::flat:
        case guest::Loader::bios:
        case guest::Loader::uefi:
            break;
    }
    return guest::load_flat(files.kernel, e820, *memory_);
}

Vm::Step Vm::write_tables() {
    const isa::CpuidResult features = cpuid_->get(1, 0, guest::CpuidDynamic{});
    if (!guest::write_acpi_tables(*memory_, {.vcpus = config_.vcpus, .dsdt = guest::built_in_dsdt()}) ||
        !guest::write_mp_table(*memory_,
                               {.vcpus = config_.vcpus, .cpu_signature = features.eax, .cpu_features = features.edx}) ||
        !guest::write_bios_data(*memory_))
        return std::unexpected("its tables could not be written");
    return {};
}

Vm::Step Vm::load(const BootFiles& files, guest::InitialState& initial) {
    if (config_.has_firmware()) return load_firmware(files);
    if (const Step written = write_tables(); !written) return written;
    const LoadResult state = load_kernel(files);
    if (!state) {
        log("guest {}: kernel {}: {}", name(), config_.kernel, state.error().message());
        return std::unexpected("its kernel cannot be loaded");
    }
    initial = *state;
    return {};
}

bool Vm::fill_fw_cfg(const BootFiles& files, std::uint64_t entry) {
    guest::FwCfg* const device = machine_->fw_cfg();
    if (config_.has_firmware())
        return acpi_loader_.add_to(*device) && guest::add_firmware_items(*device, {.memory = config_.memory,
                                                                                   .vcpus = config_.vcpus,
                                                                                   .boot_menu = config_.boot_menu,
                                                                                   .vgabios = files.vgabios,
                                                                                   .option_rom = files.option_rom,
                                                                                   .floppy = files.floppy});
    return device == nullptr || guest::add_items(*device, {.memory = config_.memory,
                                                           .vcpus = config_.vcpus,
                                                           .loader = config_.loader,
                                                           .kernel = files.kernel,
                                                           .initrd = files.initrd,
                                                           .cmdline = config_.cmdline,
                                                           .entry = entry});
}

}  // namespace bulkhead::monitor
