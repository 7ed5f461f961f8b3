// SPDX-License-Identifier: Apache-2.0
#include <cstring>

#include "arch/cpu/percpu.hpp"
#include "guest/memory_map.hpp"
#include "lib/log.hpp"
#include "mm/window.hpp"
#include "monitor/vm.hpp"

// A guest that starts with firmware of its own: its image, and what it makes of the addresses below 1 MiB.
namespace bulkhead::monitor {
namespace {

// Where OVMF puts the registers of ACPI (EDK II, OvmfPkg/Include/OvmfPlatforms.h); SeaBIOS takes those of the tables.
constexpr std::uint16_t ovmf_pm_base = 0xb000;

// What a PC's boot block has at least, and what fits into the guest's block.
constexpr std::uint64_t smallest_image = 64 * kib;

// Sizes of floppies that SeaBIOS takes for one (its floppy.c): 160 to 2880 KiB.
bool is_floppy_size(std::uint64_t size) {
    for (const std::uint64_t sectors : {320, 360, 640, 720, 1440, 2400, 2880, 5760})
        if (size == 512 * sectors) return true;
    return false;
}

constexpr vmx::EptAttributes rights(guest::Backing backing) {
    return backing == guest::Backing::ram ? vmx::ept::ram : vmx::ept::read_only;
}

}  // namespace

Vm::Step Vm::load_firmware(const BootFiles& files) {
    const std::uint64_t size = files.firmware.size();
    if (size < smallest_image || size > large_page_size || size % page_size != 0) {
        log("guest {}: firmware {}: expected whole pages, {} to {} KiB, found {} bytes", name(), config_.firmware,
            smallest_image / kib, large_page_size / kib, size);
        return std::unexpected("its firmware is none");
    }
    if (!files.floppy.empty() && !is_floppy_size(files.floppy.size())) {
        log("guest {}: floppy {}: expected the size of a floppy, such as 1474560 bytes, found {}", name(),
            config_.floppy, files.floppy.size());
        return std::unexpected("its floppy is none");
    }
    const auto block = the_system.blocks().allocate(owner_);
    if (!block) return std::unexpected("its memory is gone");
    rom_ = *block;
    {
        const mm::Window window{rom_, mm::PageSize::size_2m};
        std::memcpy(window.data(), files.firmware.data(), size);
        std::memset(window.data() + size, 0, large_page_size - size);
    }
    if (!ept_->map(GuestPhys{4 * gib - size}, rom_, size, vmx::ept::read_only))
        return std::unexpected("no memory for its EPT");
    if (!acpi_loader_.build({.vcpus = config_.vcpus,
                             .dsdt = guest::built_in_pc_dsdt(),
                             .pm_base = config_.loader == guest::Loader::uefi ? ovmf_pm_base : guest::AcpiPm::base,
                             .display_and_keyboard = true}))
        return std::unexpected("its tables could not be written");
    return {};
}

// The first call, when the machine is made, splits the pages; those after it change entries that are there. No CPU goes
// on with the old translations: this one comes out of its loop, as the others do.
void Vm::back(GuestPhys first, std::uint64_t size, guest::Backing backing, std::uint64_t offset_in_rom) {
    const auto ram = ept_->lookup(GuestPhys{0});
    const HostPhys host = backing == guest::Backing::rom ? rom_ + offset_in_rom : ram->output + first.value;
    const auto changed = backing == guest::Backing::nothing ? ept_->unmap(first, size)
                                                            : ept_->remap(first, host, size, rights(backing));
    if (!changed) {
        log("guest {}: no memory for its EPT", name());
        end_soon(Ending::crashed);
    }
    if (state_ != State::running) return;
    for (unsigned i = 0; i < seat_count_; ++i) {
        Doorbell& doorbell = the_system.doorbells[seats_[i]->cpu];
        if (seats_[i]->cpu == cpu::index)
            doorbell.rung.store(true, std::memory_order_relaxed);
        else
            doorbell.ring();
    }
}

}  // namespace bulkhead::monitor
