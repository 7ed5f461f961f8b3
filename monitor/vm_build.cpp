// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstring>
#include <new>

#include "arch/cpu/clock.hpp"
#include "arch/cpu/instructions.hpp"
#include "guest/control_registers.hpp"
#include "guest/memory_map.hpp"
#include "lib/log.hpp"
#include "mm/window.hpp"
#include "monitor/cpu_loop.hpp"
#include "monitor/vm.hpp"
#include "vmx/guest_state.hpp"
#include "vmx/host_state.hpp"
#include "vmx/msr_bitmap.hpp"

// How a guest comes into being: its memory block by block, then its machine, its kernel and its vCPU.
namespace bulkhead::monitor {
namespace {

// EPT tables for memory in 2-MiB pages, a VMCS and a processor state for each vCPU, and some air.
std::size_t frames_for(const guest::GuestConfig& config) {
    return 64 + config.memory / gib + 2 * config.vcpus +
        (config.test_device ? guest::TestDevice::ram_size / page_size : 0);
}

isa::CpuidResult host_cpuid(std::uint32_t leaf, std::uint32_t subleaf) { return cpu::cpuid(leaf, subleaf); }

struct HostCpuid {
    isa::CpuidResult ask(std::uint32_t leaf, std::uint32_t subleaf) { return host_cpuid(leaf, subleaf); }
};

// EBX of leaf 0Dh, subleaf 1, follows XCR0.
std::uint32_t compacted_area() {
    if (!the_system.features.xsave) return 0;
    const std::uint64_t before = cpu::xgetbv(0);
    cpu::xsetbv(0, the_system.features.xcr0);
    const std::uint32_t size = cpu::cpuid(0xd, 1).ebx;
    cpu::xsetbv(0, before);
    return size;
}

guest::CpuidParameters cpuid_parameters(const guest::GuestConfig& config) {
    const vmx::Controls& controls = the_system.platform.controls;
    return {.vcpus = config.vcpus,
            .paravirt = config.paravirt,
            .tsc_hz = cpu::tsc_hz(),
            .xcr0 = the_system.features.xsave ? the_system.features.xcr0 : 0,
            .compacted_area = compacted_area(),
            .rdtscp = the_system.features.rdtscp && controls.has_proc2(vmx::control::proc2::ENABLE_RDTSCP),
            .invpcid = controls.has_proc2(vmx::control::proc2::ENABLE_INVPCID),
            .xsaves = controls.has_proc2(vmx::control::proc2::ENABLE_XSAVES),
            .spec_ctrl = the_system.features.spec_ctrl,
            .arch_capabilities = true,
            .hidden = config.cpuid_hide};
}

guest::MsrParameters describe_msrs(const guest::Cpuid& cpuid) {
    guest::MsrParameters parameters = guest::msr_parameters(cpuid);
    parameters.tsc_hz = cpu::tsc_hz();
    if (parameters.shows(guest::MsrShown::arch_capabilities))
        parameters.arch_capabilities_value = cpu::rdmsr(isa::Msr::IA32_ARCH_CAPABILITIES);
    return parameters;
}

// Guest time 0 is the host's wall clock at that moment.
std::uint64_t seconds_now() {
    const Handover& h = *the_system.handover;
    return h.seconds_since_1970 + (cpu::rdtsc() - h.tsc_at_clock) / h.tsc_hz;
}

vmx::GuestState to_vmx(const guest::InitialState& initial) {
    vmx::GuestState state = vmx::state_after_reset();
    state.rip = initial.rip;
    state.rsp = initial.gpr[isa::Gpr::RSP];
    state.rflags = initial.rflags;
    state.cr0 = initial.cr0;
    state.cr3 = initial.cr3;
    state.cr4 = initial.cr4;
    state.efer = initial.efer;
    state.segments = initial.segments;
    state.gdtr_base = initial.gdtr_base;
    state.gdtr_limit = initial.gdtr_limit;
    state.idtr_base = initial.idtr_base;
    state.idtr_limit = initial.idtr_limit;
    return state;
}

std::uint16_t nvram_order(const std::array<guest::BootDevice, guest::boot_devices>& order) {
    unsigned nibbles = 0;
    for (std::size_t i = 0; i < order.size(); ++i) nibbles |= static_cast<unsigned>(order[i]) << (4 * i);
    return static_cast<std::uint16_t>(nibbles);
}

}  // namespace

void Vm::fail(std::string_view why) {
    log("guest {}: not started (guests.conf, line {}): {}", name(), config_.line, why);
    partition_event(link::PartitionState::crashed, "not started");
    state_ = State::off;
    release();
    drives_.remove();
}

// Those of a machine that was reset are there already.
Vm::Step Vm::insert_drives() {
    if (drives_.inserted()) return {};
    std::array<std::span<const std::byte>, guest::max_drives> images;
    std::size_t count = 0;
    for (const guest::DriveConfig& drive : config_.drive_list())
        if (!find_module(drive.kind == guest::DriveKind::disk ? "disk" : "cdrom", drive.file, images[count++]))
            return std::unexpected("no disk");
    return drives_.insert(std::span{images}.first(count));
}

Vm::Step Vm::begin_building() {
    report_size_ = 0;
    built_ = 0;
    last_account_ = {};
    if (const Step inserted = insert_drives(); !inserted) return inserted;
    mm::BlockAllocator& blocks = the_system.blocks();
    const std::size_t wanted = config_.memory / large_page_size + (config_.has_firmware() ? 1 : 0);
    if (blocks.available() < wanted) {
        log("guest {}: needs {} MiB of memory, {} MiB are free", name(), config_.memory / mib,
            blocks.available() * large_page_size / mib);
        return std::unexpected("not enough memory");
    }
    blocks.set_budget(owner_, wanted);
    the_system.pool().set_budget(owner_, frames_for(config_));
    auto ept = vmx::Ept::create(the_system.pool(), owner_, the_system.platform.capabilities);
    if (!ept) return std::unexpected("no memory for its EPT");
    ept_.emplace(std::move(*ept));
    memory_.emplace(*ept_);
    state_ = State::building;
    return {};
}

void Vm::build_step() {
    const Step step = built_ < config_.memory ? add_block() : finish_building();
    GuestMemory::close_windows();
    if (!step) fail(step.error());
}

// What the block's last owner left in it is gone before the guest can reach it.
Vm::Step Vm::add_block() {
    const auto block = the_system.blocks().allocate(owner_);
    if (!block) return std::unexpected("its memory is gone");
    {
        const mm::Window window{*block, mm::PageSize::size_2m};
        std::memset(window.data(), 0, large_page_size);
    }
    const guest::MemoryMap map{config_.memory};
    for (const guest::RamRange& range : map.ram()) {
        if (built_ < range.offset || built_ >= range.offset + range.size) continue;
        if (!ept_->map_ram(range.first + (built_ - range.offset), *block, large_page_size))
            return std::unexpected("no memory for its EPT");
    }
    built_ += large_page_size;
    return {};
}

// What stands behind the test device's MMIO: frames that are not in the guest's memory.
std::expected<std::span<std::byte>, std::string_view> Vm::test_ram() {
    if (!config_.test_device) return std::span<std::byte>{};
    constexpr std::size_t size = guest::TestDevice::ram_size;
    const auto frames = the_system.pool().allocate(owner_, size / page_size);
    if (!frames) return std::unexpected("no memory for its test device");
    auto* const ram = the_system.pool().at<std::byte>(*frames);
    std::memset(ram, 0, size);
    return std::span{ram, size};
}

Vm::Step Vm::finish_building() {
    if (const Step created = create_machine(); !created) return created;
    for (unsigned i = 0; i < config_.vcpus; ++i)
        if (const Step created = create_vcpu(i); !created) return created;
    start();
    return {};
}

Vm::Step Vm::create_machine() {
    HostCpuid host;
    cpuid_.emplace(cpuid_parameters(config_), guest::Cpuid::Host::to<&HostCpuid::ask>(&host));
    BootFiles files;
    if (const Step found = find_files(files); !found) return found;
    if (const Step loaded = load(files, initial_); !loaded) return loaded;

    const guest::TscRatio ratio = guest::tsc_ratio(cpu::tsc_hz());
    const auto ram = test_ram();
    if (!ram) return std::unexpected(ram.error());
    clock_ = {.now = 0, .hz = cpu::tsc_hz()};
    std::array<guest::TimerQueue*, guest::max_vcpus> lapic_timers{};
    for (unsigned i = 0; i < config_.vcpus; ++i) lapic_timers[i] = &seat_of(i).timers;
    machine_.emplace(
        guest::MachineConfig{.memory = config_.memory,
                             .vcpus = config_.vcpus,
                             .physical_address_bits = cpuid_->physical_address_bits(),
                             .crystal_hz = ratio.crystal_hz,
                             .boot_seconds = seconds_now(),
                             .pace_serial = config_.serial_pace,
                             .x2apic = cpuid_->shows(guest::cpuid_table::feature("x2APIC")),
                             .debug_exit = config_.debug_exit,
                             .debug_console = config_.debug_console,
                             .fw_cfg_memory = config_.fw_cfg || config_.has_firmware() ? &*memory_ : nullptr,
                             .firmware = {.rom = files.firmware,
                                          .memory = &*memory_,
                                          .map = this,
                                          .boot_order = nvram_order(config_.boot_order),
                                          .places_acpi = config_.loader == guest::Loader::uefi},
                             .drives = drives_.list(),
                             .test_ram = *ram,
                             .lapic_timers = std::span{lapic_timers}.first(config_.vcpus)},
        seats_[0]->timers, partition_, *this);
    if (!fill_fw_cfg(files, initial_.rip)) return std::unexpected("its firmware configuration has no room");
    cr0_ = vmx::cr0_policy(the_system.platform.capabilities);
    cr4_ = vmx::cr4_policy(the_system.platform.capabilities, guest::offered_cr4(*cpuid_));
    msr_parameters_ = describe_msrs(*cpuid_);
    controls_ = choose_controls();
    return create_msr_bitmaps();
}

// What the guest reaches without an exit: the MSRs of its own that its CPUID shows, and its TSC, to reads of which the
// offset applies (SDM volume 3, 25.3).
std::expected<HostPhys, std::string_view> Vm::create_msr_bitmap(bool x2apic) {
    mm::FramePool& pool = the_system.pool();
    const auto frame = pool.allocate(owner_);
    if (!frame) return std::unexpected("no memory for its MSR bitmaps");
    auto& bitmap = *new (pool.at<std::byte>(*frame)) vmx::MsrBitmap;
    for (const guest::MsrRow& row : guest::msr_table::rows) {
        const bool checked = row.home == guest::MsrHome::checked;
        if ((row.home != guest::MsrHome::direct && !checked) || !msr_parameters_.shows(row.shown)) continue;
        const vmx::MsrAccess access = checked ? vmx::MsrAccess::read : vmx::MsrAccess::read_and_write;
        for (std::uint32_t n = guest::msr_table::first_of(row); n <= guest::msr_table::last_of(row); ++n)
            static_cast<void>(bitmap.allow(static_cast<isa::Msr>(n), access));
    }
    static_cast<void>(bitmap.allow(isa::Msr::IA32_TIME_STAMP_COUNTER, vmx::MsrAccess::read));
    for (std::uint32_t n = 0; x2apic && n < 0x100; ++n) {
        const auto msr = static_cast<isa::Msr>(static_cast<std::uint32_t>(isa::Msr::IA32_X2APIC_FIRST) + n);
        if (guest::x2apic_read_is_plain(msr)) static_cast<void>(bitmap.allow(msr, vmx::MsrAccess::read));
        if (guest::x2apic_write_is_virtual(msr)) static_cast<void>(bitmap.allow(msr, vmx::MsrAccess::write));
    }
    return *frame;
}

Vm::Step Vm::create_msr_bitmaps() {
    for (const bool x2apic : {false, true}) {
        const auto bitmap = create_msr_bitmap(x2apic);
        if (!bitmap) return std::unexpected(bitmap.error());
        (x2apic ? x2apic_msr_bitmap_ : msr_bitmap_) = *bitmap;
        if (!controls_.deliver_virtual_interrupts()) break;
    }
    return {};
}

// An instruction that the guest is not shown, and that a control governs, raises #UD.
vmx::Controls Vm::choose_controls() const {
    using guest::cpuid_table::feature;
    namespace proc2 = vmx::control::proc2;
    const vmx::Platform& platform = the_system.platform;
    vmx::Controls offered = platform.controls;
    if (config_.apic_virtualization)
        if (const auto more = vmx::with_virtual_interrupts(offered, platform.capabilities)) offered = *more;
    if (!cpuid_->shows(feature("RDTSCP"))) offered.proc2 &= ~proc2::ENABLE_RDTSCP;
    if (!cpuid_->shows(feature("INVPCID"))) offered.proc2 &= ~proc2::ENABLE_INVPCID;
    if (!cpuid_->shows(feature("XSAVES"))) offered.proc2 &= ~proc2::ENABLE_XSAVES;
    return offered;
}

Vm::Step Vm::create_vcpu(unsigned index) {
    mm::FramePool& pool = the_system.pool();
    const vmx::Platform& platform = the_system.platform;
    auto vmcs = vmx::Vmcs::create(pool, owner_, platform.capabilities);
    const auto frame = pool.allocate(owner_);
    // Without VPIDs each entry drops what would be tagged by one, and 0 stands for that.
    const bool tagged = platform.controls.has_proc2(vmx::control::proc2::ENABLE_VPID);
    const auto vpid = tagged ? the_system.vpids.allocate() : std::optional<std::uint16_t>{0};
    if (!vmcs || !frame || !vpid) return std::unexpected("no memory for its vCPUs");
    auto* const processor = new (pool.at<std::byte>(*frame)) vmx::ProcessorState;
    processor->reset();
    Vcpu& vcpu = vcpus_[index].emplace(
        *this, seat_of(index), index, machine_->lapic(index), std::move(*vmcs), *processor, *vpid, msr_parameters_);
    machine_->connect(index, vcpu);
    if (controls_.deliver_virtual_interrupts()) vcpu.use_virtual_interrupts();
    if (index == 0 && !config_.has_firmware())
        vcpu.registers = initial_.gpr;
    else
        vcpu.registers[isa::Gpr::RDX] = cpuid_->version();
    return {};
}

// On the vCPU's own CPU: the host's state is that CPU's.
void Vm::prepare_vmcs(Vcpu& vcpu) {
    const mm::FramePool& pool = the_system.pool();
    vcpu.seat.loop->load(vcpu);
    vmx::write_host_state(vmx::read_host_state());
    // Alone on its CPU, a vCPU waits for others best by going on.
    vmx::Controls controls = controls_;
    if (std::popcount(vcpu.seat.vcpus) == 1) controls.proc2 &= ~vmx::control::proc2::PAUSE_LOOP_EXITING;
    vmx::write_controls({.controls = controls,
                         .ept_pointer = ept_->pointer(),
                         .vpid = vcpu.vpid.vpid(),
                         .msr_bitmap = msr_bitmap_,
                         .io_bitmap = pool.phys(the_system.io_bitmap),
                         .virtual_apic_page = pool.phys(&machine_->lapic_page(vcpu.index)),
                         .exception_bitmap = exception_bitmap,
                         .tsc_offset = 0 - tsc_base_,
                         .cr0 = cr0_,
                         .cr4 = cr4_});
    const bool loaded = vcpu.index == 0 && !config_.has_firmware();
    vmx::write_guest_state(loaded ? to_vmx(initial_) : vmx::state_after_reset(), cr0_, cr4_);
}

// The home takes its seat first, the other CPUs as soon as they look.
void Vm::start() {
    tsc_base_ = cpu::rdtsc();
    state_ = State::running;
    for (unsigned i = 1; i < seat_count_; ++i) the_system.doorbells[seats_[i]->cpu].ring();
    log("guest {}: started on CPU {} with {} MiB", name(), home_, config_.memory / mib);
    partition_event(link::PartitionState::running, {});
}

}  // namespace bulkhead::monitor
