// SPDX-License-Identifier: Apache-2.0
// A guest with several vCPUs over the played processor: INIT and start-up IPIs, the seats, and the end.
#include "monitor_fixture.hpp"

namespace bulkhead::monitor {
namespace {

constexpr std::uint32_t init = 5 << 8 | 1 << 14, startup = 6 << 8, nmi = 4 << 8, all_but_self = 3 << 18;
constexpr std::uint32_t cs_selector = 0x0802, cs_base = 0x6808;

// Three vCPUs, of which the CPU that plays has the first and the third.
class SmpVmTest : public MonitorTest {
  protected:
    void SetUp() override {
        MonitorTest::SetUp();
        the_system.config.guests[0].vcpus = 3;
        vm = std::make_unique<Vm>(the_system.config.guests[0], mm::OwnerId{4}, *partitions[0], places);
        here().loop = &*loop;
        elsewhere().loop = &*loop;  // until its CPU is played
        start(*vm);
        loop->load(vm->vcpu(0));
    }
    void TearDown() override {
        vm.reset();
        MonitorTest::TearDown();
    }
    Seat& here() { return vm->seat(0); }
    Seat& elsewhere() { return vm->seat(1); }
    void send(std::uint32_t command) {
        const MachineLock lock{*vm};
        vm->vcpu(0).lapic.write(isa::apic::ICR_LOW, 4, command);
    }
    // What the CPU of the vCPU does with it before an entry, until it can be entered or waits.
    bool comes(Vcpu& vcpu) {
        loop->load(vcpu);
        return vcpu.prepare_events() || (vcpu.wait == Vcpu::Wait::none && vcpu.prepare_events());
    }

    static constexpr unsigned places[] = {1, 0, 1};
    std::unique_ptr<Vm> vm;
};

TEST_F(SmpVmTest, ASeatForEachCpu) {
    EXPECT_EQ(vm->home(), 1u);
    ASSERT_EQ(vm->seat_count(), 2u);
    EXPECT_EQ(here().vcpus, 0b101u);
    EXPECT_EQ(elsewhere().vcpus, 0b010u);
    EXPECT_TRUE(vm->is_shared());
    EXPECT_FALSE(one().is_shared());
}

TEST_F(SmpVmTest, OnlyTheBootstrapProcessorRuns) {
    EXPECT_TRUE(vm->vcpu(0).runnable());
    EXPECT_FALSE(vm->vcpu(2).runnable());
    EXPECT_EQ(vm->vcpu(2).wait, Vcpu::Wait::startup);
    send(nmi | all_but_self);
    EXPECT_FALSE(vm->vcpu(2).runnable()) << "nothing but a start-up IPI starts it";
}

TEST_F(SmpVmTest, ItStartsInRealModeAtTheVector) {
    send(init | all_but_self);
    send(startup | all_but_self | 0x9a);
    Vcpu& vcpu = vm->vcpu(2);
    ASSERT_TRUE(vcpu.runnable());
    ASSERT_TRUE(comes(vcpu));
    EXPECT_EQ(get(cs_selector), 0x9a00u);
    EXPECT_EQ(get(cs_base), 0x9'a000u);
    EXPECT_EQ(get(vmcs::guest_rip), 0u);
    EXPECT_EQ(get(vmcs::cr0_shadow), 0x6000'0010u);
    EXPECT_EQ(vcpu.registers[isa::Gpr::RDX], 0x00050654u) << "the signature";
    EXPECT_EQ(get(vmcs::tsc_offset), 0 - vm->tsc_base()) << "the TSC is the same";
}

TEST_F(SmpVmTest, AnotherCpuIsRungAndFindsIt) {
    the_system.doorbells[0].rung = false;
    send(init | all_but_self);
    send(startup | all_but_self | 0);
    EXPECT_TRUE(the_system.doorbells[0].rung);
    EXPECT_TRUE(vm->vcpu(1).needs_attention());
    // It has not taken its seat yet; nothing is lost by that.
    vm->take(elsewhere());
    EXPECT_TRUE(vm->vcpu(1).runnable());
}

// It comes out of the guest once for all that comes meanwhile, and its CPU has nothing else to look at.
TEST_F(SmpVmTest, OneThatRunsOnAnotherCpuIsKicked) {
    send(init | all_but_self);
    send(startup | all_but_self | 0);
    vm->take(elsewhere());
    Vcpu& vcpu = vm->vcpu(1);
    ASSERT_TRUE(comes(vcpu));
    ASSERT_FALSE(vcpu.needs_attention());
    the_system.doorbells[0].rung = false;
    cpu_state().ipis.clear();
    send(nmi | all_but_self);
    send(nmi | all_but_self);
    EXPECT_TRUE(vcpu.needs_attention());
    EXPECT_FALSE(the_system.doorbells[0].rung);
    EXPECT_EQ(cpu_state().ipis.size(), 1u);
    ASSERT_TRUE(comes(vcpu));
    send(nmi | all_but_self);
    EXPECT_EQ(cpu_state().ipis.size(), 2u);
}

TEST_F(SmpVmTest, InitStopsARunningOneAndDropsItsState) {
    send(startup | all_but_self | 1);
    Vcpu& vcpu = vm->vcpu(2);
    ASSERT_TRUE(comes(vcpu));
    vcpu.lapic.write(isa::apic::SVR, 4, 0x1ff);
    vcpu.registers[isa::Gpr::RBX] = 0x5ec7e7;
    ASSERT_TRUE(vcpu.raise(isa::general_protection));
    vcpu.set_tsc_adjust(0x1000);
    set(vmcs::guest_efer, isa::efer::NXE);
    vcpu.vpid.invalidated(loop->index());
    send(init | all_but_self);
    EXPECT_FALSE(comes(vcpu));
    EXPECT_EQ(vcpu.wait, Vcpu::Wait::startup);
    EXPECT_FALSE(vcpu.has_event());
    EXPECT_EQ(vcpu.registers[isa::Gpr::RBX], 0u);
    EXPECT_EQ(get(vmcs::guest_efer), 0u);
    EXPECT_FALSE(vcpu.lapic.is_software_enabled());
    EXPECT_TRUE(vcpu.vpid.is_stale(loop->index())) << "translations of before";
    EXPECT_EQ(vcpu.tsc_adjust(), 0x1000u) << "INIT leaves it";
    EXPECT_EQ(get(vmcs::tsc_offset), 0x1000 - vm->tsc_base());
    send(startup | all_but_self | 2);
    EXPECT_TRUE(comes(vcpu));
    EXPECT_EQ(get(cs_selector), 0x200u);
}

TEST_F(SmpVmTest, InitOfTheBootstrapProcessorResetsOrResumes) {
    vm->vcpu(0).init();
    EXPECT_FALSE(vm->vcpu(0).prepare_events());
    EXPECT_TRUE(vm->is_ending()) << "without a word in NVRAM the machine is reset";
}

TEST_F(SmpVmTest, InitOfTheBootstrapProcessorGoesOnAtTheWarmResetVector) {
    vm->machine().ports().out(0x70, 1, 0x0f);
    vm->machine().ports().out(0x71, 1, 0x0a);
    ASSERT_TRUE(vm->memory().store(GuestPhys{0x467}, std::uint32_t{0x1234'0056}));
    vm->vcpu(0).init();
    ASSERT_TRUE(comes(vm->vcpu(0)));
    EXPECT_FALSE(vm->is_ending());
    EXPECT_EQ(get(cs_selector), 0x1234u);
    EXPECT_EQ(get(vmcs::guest_rip), 0x56u);
}

TEST_F(SmpVmTest, ItEndsWhenEveryCpuHasLeft) {
    vm->take(elsewhere());
    EXPECT_FALSE(vm->is_left());
    the_system.doorbells[0].rung = the_system.doorbells[1].rung = false;
    EXPECT_TRUE(vm->end_soon(Vm::Ending::triple_fault));
    EXPECT_TRUE(the_system.doorbells[0].rung && the_system.doorbells[1].rung);
    EXPECT_FALSE(vm->end_soon(Vm::Ending::reset)) << "the first word counts";
    vm->leave(here());
    EXPECT_FALSE(vm->is_left());
    the_system.doorbells[1].rung = false;
    vm->leave(elsewhere());
    EXPECT_TRUE(vm->is_left());
    EXPECT_TRUE(the_system.doorbells[1].rung) << "the home hears of it";
    vm->end();
    EXPECT_EQ(vm->state(), Vm::State::off);
    EXPECT_FALSE(vm->has_requests());
}

TEST_F(SmpVmTest, TheReportNamesTheOneThatFailedFirst) {
    loop->load(vm->vcpu(2));
    vm->crash(vm->vcpu(2), "the first");
    vm->crash(vm->vcpu(0), "the second");
    EXPECT_NE(vm->report().find("vCPU 2: the first"), std::string_view::npos) << vm->report();
    EXPECT_EQ(vm->report().find("the second"), std::string_view::npos);
}

// A device's timer that another CPU arms is served at home: it has to look again.
TEST_F(SmpVmTest, TheHomeHearsOfADevicesTimer) {
    cpu::index = 0;
    the_system.doorbells[1].rung = false;
    {
        const MachineLock lock{*vm};
        vm->set_clock(cpu_state().tsc);
    }
    EXPECT_FALSE(the_system.doorbells[1].rung);
    {
        const MachineLock lock{*vm};
        vm->set_clock(cpu_state().tsc);
        vm->machine().ports().out(0x70, 1, 0x0b);  // the clock's periodic interrupt
        vm->machine().ports().out(0x71, 1, 0x42);
    }
    EXPECT_TRUE(the_system.doorbells[1].rung);
    cpu::index = 1;
}

TEST_F(SmpVmTest, TheClockNeverFallsFromOneVcpuToTheNext) {
    const MachineLock lock{*vm};
    cpu_state().tsc = vm->tsc_base() + 5000;
    vm->set_clock(0);
    EXPECT_GE(vm->clock().now, 5000u);
    const guest::Tick before = vm->clock().now;
    cpu_state().tsc = vm->tsc_base() + 100;  // RDTSC is not ordered with the lock
    vm->set_clock(0);
    EXPECT_GE(vm->clock().now, before);
}

}  // namespace
}  // namespace bulkhead::monitor
