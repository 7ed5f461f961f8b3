// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstring>
#include <new>

#include "arch/cpu/clock.hpp"
#include "arch/cpu/instructions.hpp"
#include "guest/acpi_tables.hpp"
#include "guest/control_registers.hpp"
#include "guest/loader_flat.hpp"
#include "guest/loader_linux.hpp"
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

// EPT tables for memory in 2-MiB pages, the VMCS, the processor state, and some air.
std::size_t frames_for(std::uint64_t memory) { return 64 + memory / gib; }

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

}  // namespace

void Vm::fail(std::string_view why) {
    log("guest {}: not started (guests.conf, line {}): {}", name(), config_.line, why);
    partition_event(link::PartitionState::crashed, "not started");
    state_ = State::off;
    release();
}

Vm::Step Vm::begin_building() {
    report_size_ = 0;
    built_ = 0;
    tsc_adjust_ = 0;
    last_account_ = {};
    mm::BlockAllocator& blocks = the_system.blocks();
    const std::size_t wanted = config_.memory / large_page_size;
    if (blocks.available() < wanted) {
        log("guest {}: needs {} MiB of memory, {} MiB are free", name(), config_.memory / mib,
            blocks.available() * large_page_size / mib);
        return std::unexpected("not enough memory");
    }
    blocks.set_budget(owner_, wanted);
    the_system.pool().set_budget(owner_, frames_for(config_.memory));
    auto ept = vmx::Ept::create(the_system.pool(), owner_, the_system.platform.capabilities);
    if (!ept) return std::unexpected("no memory for its EPT");
    ept_.emplace(std::move(*ept));
    memory_.emplace(*ept_);
    state_ = State::building;
    return {};
}

void Vm::build_step(CpuLoop& cpu) {
    const Step step = built_ < config_.memory ? add_block() : finish_building(cpu);
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

std::span<const std::byte> Vm::module(std::string_view wanted) const {
    for (const Module& m : the_system.handover->modules)
        if (m.name == wanted) return m.data;
    return {};
}

Vm::Step Vm::load(guest::InitialState& initial) {
    const auto kernel = module(config_.kernel);
    if (kernel.empty()) {
        log("guest {}: kernel {} is not among the boot modules", name(), config_.kernel);
        return std::unexpected("no kernel");
    }
    std::array<guest::E820Entry, guest::MemoryMap::max_e820_entries> storage;
    const guest::MemoryMap map{config_.memory};
    const auto e820 = map.e820(storage);

    std::expected<guest::InitialState, guest::LoadError> state;
    if (config_.loader == guest::Loader::linux) {
        const auto initrd = module(config_.initrd);
        if (!config_.initrd.empty() && initrd.empty()) {
            log("guest {}: initrd {} is not among the boot modules", name(), config_.initrd);
            return std::unexpected("no initrd");
        }
        if (!guest::write_acpi_tables(*memory_, {.vcpus = config_.vcpus, .dsdt = guest::built_in_dsdt()}))
            return std::unexpected("its ACPI tables could not be written");
        state = guest::load_linux(
            {.kernel = kernel, .initrd = initrd, .cmdline = config_.cmdline, .map = e820, .rsdp = guest::layout::rsdp},
            *memory_);
    } else {
        state = guest::load_flat(kernel, e820, *memory_);
    }
    if (!state) {
        log("guest {}: kernel {}: {}", name(), config_.kernel, state.error().message());
        return std::unexpected("its kernel cannot be loaded");
    }
    initial = *state;
    return {};
}

Vm::Step Vm::finish_building(CpuLoop& cpu) {
    guest::InitialState initial;
    if (const Step loaded = load(initial); !loaded) return loaded;

    HostCpuid host;
    cpuid_.emplace(cpuid_parameters(config_), guest::Cpuid::Host::to<&HostCpuid::ask>(&host));
    const guest::TscRatio ratio = guest::tsc_ratio(cpu::tsc_hz());
    clock_ = {.now = 0, .hz = cpu::tsc_hz()};
    machine_.emplace(guest::MachineConfig{.memory = config_.memory,
                                          .vcpus = config_.vcpus,
                                          .physical_address_bits = cpuid_->physical_address_bits(),
                                          .crystal_hz = ratio.crystal_hz,
                                          .boot_seconds = seconds_now(),
                                          .pace_serial = config_.serial_pace,
                                          .x2apic = cpuid_->shows(guest::cpuid_table::feature("x2APIC"))},
                     timers_, partition_, *this);
    msr_parameters_ = describe_msrs(*cpuid_);
    if (const Step created = create_msr_bitmap(); !created) return created;
    return create_vcpu(initial, cpu);
}

// What the guest reaches without an exit: the MSRs of its own that its CPUID shows, and its TSC, to reads of which the
// offset applies (SDM volume 3, 25.3).
Vm::Step Vm::create_msr_bitmap() {
    mm::FramePool& pool = the_system.pool();
    const auto frame = pool.allocate(owner_);
    if (!frame) return std::unexpected("no memory for its MSR bitmap");
    auto& bitmap = *new (pool.at<std::byte>(*frame)) vmx::MsrBitmap;
    for (const guest::MsrRow& row : guest::msr_table::rows) {
        const bool checked = row.home == guest::MsrHome::checked;
        if ((row.home != guest::MsrHome::direct && !checked) || !msr_parameters_.shows(row.shown)) continue;
        const vmx::MsrAccess access = checked ? vmx::MsrAccess::read : vmx::MsrAccess::read_and_write;
        for (std::uint32_t n = guest::msr_table::first_of(row); n <= guest::msr_table::last_of(row); ++n)
            static_cast<void>(bitmap.allow(static_cast<isa::Msr>(n), access));
    }
    static_cast<void>(bitmap.allow(isa::Msr::IA32_TIME_STAMP_COUNTER, vmx::MsrAccess::read));
    msr_bitmap_ = *frame;
    return {};
}

// An instruction that the guest is not shown, and that a control governs, raises #UD.
vmx::Controls Vm::offered_controls() const {
    using guest::cpuid_table::feature;
    namespace proc2 = vmx::control::proc2;
    vmx::Controls offered = controls();
    if (!cpuid_->shows(feature("RDTSCP"))) offered.proc2 &= ~proc2::ENABLE_RDTSCP;
    if (!cpuid_->shows(feature("INVPCID"))) offered.proc2 &= ~proc2::ENABLE_INVPCID;
    if (!cpuid_->shows(feature("XSAVES"))) offered.proc2 &= ~proc2::ENABLE_XSAVES;
    return offered;
}

Vm::Step Vm::create_vcpu(const guest::InitialState& initial, CpuLoop& cpu) {
    mm::FramePool& pool = the_system.pool();
    const vmx::Platform& platform = the_system.platform;
    auto vmcs = vmx::Vmcs::create(pool, owner_, platform.capabilities);
    const auto frame = pool.allocate(owner_);
    // Without VPIDs each entry drops what would be tagged by one, and 0 stands for that.
    const bool tagged = platform.controls.has_proc2(vmx::control::proc2::ENABLE_VPID);
    const auto vpid = tagged ? the_system.vpids.allocate() : std::optional<std::uint16_t>{0};
    if (!vmcs || !frame || !vpid) return std::unexpected("no memory for its vCPU");
    auto* const processor = new (pool.at<std::byte>(*frame)) vmx::ProcessorState;
    processor->reset();
    vcpu_.emplace(*this, 0u, machine_->lapic(0), std::move(*vmcs), *processor, *vpid,
                  msr_parameters_);
    machine_->connect(0, *vcpu_);
    vcpu_->registers = initial.gpr;

    cr0_ = vmx::cr0_policy(platform.capabilities);
    cr4_ = vmx::cr4_policy(platform.capabilities, guest::offered_cr4(*cpuid_));
    cpu.load(*vcpu_);
    vmx::write_host_state(vmx::read_host_state());
    tsc_base_ = cpu::rdtsc();
    vmx::write_controls({.controls = offered_controls(),
                         .ept_pointer = ept_->pointer(),
                         .vpid = *vpid,
                         .msr_bitmap = msr_bitmap_,
                         .io_bitmap = pool.phys(the_system.io_bitmap),
                         .exception_bitmap = exception_bitmap,
                         .tsc_offset = 0 - tsc_base_,
                         .cr0 = cr0_,
                         .cr4 = cr4_});
    vmx::write_guest_state(to_vmx(initial), cr0_, cr4_);
    state_ = State::running;
    vcpu_->blocked_since = tsc_base_;
    cpu.enqueue(*vcpu_);
    log("guest {}: started on CPU {} with {} MiB", name(), home_, config_.memory / mib);
    partition_event(link::PartitionState::running, {});
    return {};
}

}  // namespace bulkhead::monitor
