// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "arch/cpu/clock.hpp"
#include "arch/cpu/instructions.hpp"
#include "mm/memory.hpp"
#include "monitor/cpu_loop.hpp"
#include "monitor/exit_table.hpp"
#include "monitor/system.hpp"
#include "monitor/vm.hpp"
#include "vmx/entry.hpp"
#include "vmx/instructions.hpp"

namespace bulkhead::monitor {
namespace {

using test::cpu_state;
using vmx::ExitReason;

// Fields of the VMCS by their encodings (SDM volume 3, appendix B).
namespace vmcs {
enum : std::uint32_t {
    guest_efer = 0x2806,
    proc_controls = 0x4002,
    entry_controls = 0x4012,
    entry_interruption = 0x4016,
    entry_error_code = 0x4018,
    entry_length = 0x401a,
    exit_reason = 0x4402,
    exit_interruption = 0x4404,
    exit_error_code = 0x4406,
    vectoring = 0x4408,
    vectoring_error_code = 0x440a,
    exit_length = 0x440c,
    cs_rights = 0x4816,
    interruptibility = 0x4824,
    cr0_shadow = 0x6004,
    cr4_shadow = 0x6006,
    qualification = 0x6400,
    guest_cr0 = 0x6800,
    guest_cr3 = 0x6802,
    guest_cr4 = 0x6804,
    guest_rip = 0x681e,
    guest_rflags = 0x6820,
    pending_debug = 0x6822,
    guest_physical = 0x2400,
    guest_linear = 0x640a,
    guest_debugctl = 0x2802,
    tsc_offset = 0x2010,
    preemption_timer = 0x482e,
};
}  // namespace vmcs

// Pages, as a machine has them.
class Pages {
  public:
    explicit Pages(std::size_t size, std::size_t alignment = page_size)
        : bytes_(static_cast<std::byte*>(std::aligned_alloc(alignment, size)), &std::free), size_(size) {}
    std::span<std::byte> span() const { return {bytes_.get(), size_}; }

  private:
    std::unique_ptr<std::byte, void (*)(void*)> bytes_;
    std::size_t size_;
};

struct Log final : LogSink {
    void line(std::string_view text) override { text_ += std::string{text} + "\n"; }
    bool has(std::string_view words) const { return text_.find(words) != text_.npos; }
    std::string text_;
};

// Two guests, "one" and "two", on CPU 1 of a machine: the monitor's own code, from the request to start a guest to the
// exit handlers, over a processor and memory that are played.
class MonitorTest : public testing::Test {
  protected:
    static constexpr std::uint64_t tsc_hz = 1'000'000'000;
    static constexpr std::uint64_t memory = 4 * mib;
    static constexpr HostPhys pool_base{0x10'0000}, blocks_base{0x4000'0000};
    static constexpr std::size_t block_count = 5;  // room for both guests, and not for a third
    static constexpr auto owner_one = mm::OwnerId::first_guest;

    void SetUp() override {
        std::destroy_at(&the_system);
        std::construct_at(&the_system);
        pool.initialize(pool_base, pool_memory.span());
        const mm::MemoryRange range{blocks_base, block_count * large_page_size};
        owners.resize(mm::BlockAllocator::entries_for({&range, 1}));
        blocks.initialize({&range, 1}, owners);
        test::ram() = {blocks_base, block_memory.span()};
        make_processor();
        make_system();
        cpu::index = 1;
        loop.emplace(1u);
        for (unsigned i = 0; i < 2; ++i) {
            vms[i] = std::make_unique<Vm>(the_system.config.guests[i], static_cast<mm::OwnerId>(2 + i), *partitions[i],
                                          home);
            the_system.vms[the_system.vm_count++] = vms[i].get();
            loop->adopt(vms[i]->seat(0));
        }
    }

    void TearDown() override {
        for (auto& vm : vms) vm.reset();
        cpu::index = 0;
        set_log_sink(nullptr);
        test::guest() = {};
    }

    void make_processor() {
        test::processor() = test::FakeProcessor{};
        cpu_state() = test::FakeCpu{};
        auto& c = cpu_state();
        c.cpuid = [](std::uint32_t leaf, std::uint32_t subleaf) -> isa::CpuidResult {
            switch (leaf) {
                case 0: return {0x16, 0x756e6547, 0x6c65746e, 0x49656e69};
                case 1: return {0x00050654, 0x07100800, 0xffff'ffff, 0xffff'ffff};
                case 7: return subleaf == 0 ? isa::CpuidResult{0, 0xffff'ffff, 0xffff'ffff, 0} : isa::CpuidResult{};
                case 0xd:
                    if (subleaf == 0) return {7, 0x340, 0x340, 0};
                    return subleaf == 2 ? isa::CpuidResult{256, 576, 0, 0} : isa::CpuidResult{};
                case 0x8000'0000: return {0x8000'0008, 0, 0, 0};
                case 0x8000'0001: return {0, 0, 0xffff'ffff, 0xffff'ffff};
                case 0x8000'0008: return {0x3028, 0, 0, 0};
                default: return {};
            }
        };
        for (const vmx::SwitchedMsr& m : vmx::switched_msrs()) c.msrs[m.msr] = 0;
        c.msrs[isa::Msr::IA32_PRED_CMD] = 0;
        c.tsc = 1'000'000;
        cpu::set_tsc_hz(tsc_hz);
        EXPECT_EQ(test::processor().vmxon(HostPhys{0x1000}), test::Outcome::succeed);
    }

    void make_system() {
        // The emulated machine's.
        const vmx::Capabilities capabilities{
            .basic = 0x00d8'1000'0000'002b,
            .procbased2 = 0x0217'7fff'0000'0000,
            .true_pinbased = 0x0000'007f'0000'0016,
            .true_procbased = 0xf7f9'fffe'0400'6172,
            .true_exit = 0x01ff'ffff'0003'6dfb,
            .true_entry = 0x0003'ffff'0000'11fb,
            .misc = 0x6004'01e0,
            .cr0_fixed0 = 0x8000'0021,
            .cr0_fixed1 = 0xffff'ffff,
            .cr4_fixed0 = 0x2000,
            .cr4_fixed1 = 0x3727ff,
            .ept_vpid = 0x0000'0f01'0633'4141,
        };
        const auto controls = vmx::choose_controls(capabilities);
        ASSERT_TRUE(controls);
        the_system.platform = {capabilities, *controls};
        the_system.features = {.xsave = true, .xcr0 = 7, .area_size = 0x340};
        the_system.widths = {.physical = 40, .linear = 48};
        handover.modules = modules;
        handover.apic_ids = apic_ids;
        handover.tsc_hz = tsc_hz;
        handover.pool = &pool;
        handover.blocks = &blocks;
        handover.platform = &firmware;
        handover.uart = &uart;
        the_system.handover = &handover;
        the_system.io_bitmap = new (page_for_ever(2)) vmx::IoBitmap;
        console = std::make_unique<Console>(ConsoleMode::terminal, storage[2]);
        the_system.console = console.get();
        set_log_sink(&log);
        const std::string_view names[] = {"one", "two"};
        for (unsigned i = 0; i < 2; ++i) {
            partitions[i] = &console->add(i + 1, names[i], storage[i]);
            guest::GuestConfig& config = the_system.config.guests[i];
            config.name = names[i];
            config.memory = memory;
            config.loader = guest::Loader::flat;
            config.kernel = "kernel";
            config.console = i + 1;
            config.apic_virtualization = false;  // see virtual_interrupts_test.cpp
        }
        the_system.config.count = 2;
        for (unsigned i = 0; i < 2; ++i) the_system.doorbells[i].apic_id = apic_ids[i];
    }

    std::byte* page_for_ever(std::size_t count = 1) {
        return pool.at<std::byte>(*pool.allocate(mm::OwnerId::hypervisor, count));
    }

    // ---- guests

    void serve(Vm& vm) {
        if (vm.has_requests()) vm.serve_requests();
        if (vm.is_ending()) end(vm);
        if (vm.has_requests()) vm.serve_requests();
        while (vm.state() == Vm::State::building) vm.build_step();
        if (vm.state() == Vm::State::running && !vm.seat(0).taken) vm.take(vm.seat(0));
    }
    // As the loop does it once the guest is out.
    void end(Vm& vm) {
        ASSERT_TRUE(vm.is_ending());
        if (vm.seat(0).taken) vm.leave(vm.seat(0));
        vm.end();
    }
    void start(Vm& vm) {
        vm.ask(Request::start);
        serve(vm);
        ASSERT_EQ(vm.state(), Vm::State::running) << log.text_;
        loop->load(vm.vcpu(0));
        // 32-bit code with paging off, as a flat image begins, at an address of its own.
        set(vmcs::guest_rip, 0x10'0000);
    }
    Vm& one() { return *vms[0]; }
    Vm& two() { return *vms[1]; }
    // Of `one`, which must run.
    Vcpu& vcpu() { return one().vcpu(0); }
    std::uint64_t& gpr(isa::Gpr r) { return vcpu().registers[r]; }

    // ---- exits

    static void set(std::uint32_t field, std::uint64_t value) { test::processor().set(field, value); }
    static std::uint64_t get(std::uint32_t field) { return test::processor().get(field); }

    // An exit of the vCPU that is loaded. An entry that delivered something has cleared the request, and an exit
    // without an interrupted event says so (SDM volume 3, 26.8 and 27.2.4).
    Next exit(ExitReason reason, std::uint64_t qualification = 0, std::uint32_t length = 2) {
        set(vmcs::entry_interruption, get(vmcs::entry_interruption) & 0x7fff'ffff);
        set(vmcs::exit_reason, static_cast<std::uint32_t>(reason));
        set(vmcs::qualification, qualification);
        set(vmcs::exit_length, length);
        ExitContext context{vcpu(), *loop, vcpu().exit, ~0ull};
        vcpu().exit.take();
        return exit_table[static_cast<std::size_t>(reason)](context);
    }
    // What the next entry delivers: the VM-entry interruption information, 0 when nothing.
    std::uint64_t delivered() {
        set(vmcs::entry_interruption, 0);
        if (vcpu().needs_attention() && !vcpu().prepare_events()) ADD_FAILURE() << "it waits for a start-up IPI";
        return get(vmcs::entry_interruption);
    }
    std::uint64_t windows() { return get(vmcs::proc_controls) & (interrupt_window | nmi_window); }
    static constexpr std::uint64_t interrupt_window = 1u << 2, nmi_window = 1u << 22;
    // #GP(0), #UD as an entry delivers them.
    static constexpr std::uint64_t gp = 0x8000'0b0d, ud = 0x8000'0306;

    // A fixed interrupt at the vCPU's local APIC, which is enabled.
    void interrupt(std::uint8_t vector) {
        vcpu().lapic.write(isa::apic::SVR, 4, 0x1ff);
        ASSERT_TRUE(vcpu().lapic.accept({.vector = vector}));
    }
    void set_rflags(std::uint64_t flags) { set(vmcs::guest_rflags, 2 | flags); }
    static constexpr std::uint64_t TF = 1u << 8, IF = 1u << 9;

    Pages pool_memory{128 * page_size}, block_memory{block_count * large_page_size, large_page_size};
    std::vector<std::uint8_t> storage[3] = {std::vector<std::uint8_t>(65536), std::vector<std::uint8_t>(65536),
                                            std::vector<std::uint8_t>(65536)};
    std::vector<mm::OwnerId> owners;
    mm::FramePool pool;
    mm::BlockAllocator blocks;
    std::byte kernel[2] = {std::byte{0xeb}, std::byte{0xfe}};
    Module modules[1] = {{"kernel", kernel}};
    std::uint32_t apic_ids[2] = {10, 11};
    static constexpr unsigned home[] = {1};
    drivers::acpi::Platform firmware{};
    drivers::Uart uart{0x3f8};
    Handover handover{};
    Log log;
    std::unique_ptr<Console> console;
    Partition* partitions[2]{};
    std::optional<CpuLoop> loop;
    std::unique_ptr<Vm> vms[2];
};

}  // namespace
}  // namespace bulkhead::monitor
