// SPDX-License-Identifier: Apache-2.0
// A guest whose interrupts the processor delivers (SDM volume 3, chapter 29). The test plays the processor's part.
#include "guest/lapic.hpp"
#include "monitor_fixture.hpp"

namespace bulkhead::monitor {
namespace {

namespace reg = isa::apic;

constexpr std::uint32_t interrupt_status = 0x0810, msr_bitmap = 0x2004, virtual_apic = 0x2012, eoi_exit_0 = 0x201c,
                        proc2_controls = 0x401e;
constexpr std::uint32_t virtualize_x2apic = 1u << 4, register_virtualization = 1u << 8, interrupt_delivery = 1u << 9;
constexpr std::uint32_t tpr_shadow = 1u << 21, cr8_exiting = 3u << 19;

class VirtualInterruptsTest : public MonitorTest {
  protected:
    void SetUp() override {
        MonitorTest::SetUp();
        the_system.config.guests[0].apic_virtualization = true;
        start(one());
        static_cast<void>(delivered());
    }

    guest::RegisterPage& page() { return one().machine().lapic_page(0); }
    static std::uint8_t rvi() { return static_cast<std::uint8_t>(get(interrupt_status)); }
    static std::uint8_t svi() { return static_cast<std::uint8_t>(get(interrupt_status) >> 8); }
    // SDM 29.2.2, in the guest.
    void processor_delivers() {
        const std::uint8_t vector = rvi();
        page().set(reg::IRR, vector, false);
        page().set(reg::ISR, vector);
        page().write(reg::PPR, vector & 0xf0);
        set(interrupt_status, static_cast<std::uint64_t>(vector) << 8 | page().highest(reg::IRR));
    }
    void write_apic_base(std::uint32_t value) {
        gpr(isa::Gpr::RCX) = 0x1b;
        gpr(isa::Gpr::RAX) = value;
        gpr(isa::Gpr::RDX) = 0;
        static_cast<void>(exit(ExitReason::WRMSR));
        ASSERT_EQ(delivered(), 0u) << "it is legal";
    }
    // Bits of the bitmap: 1, the access exits (SDM 24.6.9). Reads of low MSRs at 0, writes at 800h.
    bool exits(std::uint32_t msr, bool write) {
        const auto* const bytes = pool.at<std::uint8_t>(HostPhys{get(msr_bitmap)});
        return (bytes[(write ? 0x800 : 0) + msr / 8] >> msr % 8 & 1) != 0;
    }
};

TEST_F(VirtualInterruptsTest, TheRegisterPageIsTheVirtualApicPage) {
    EXPECT_EQ(get(virtual_apic), pool.phys(&page()).value);
    EXPECT_EQ(get(vmcs::proc_controls) & (tpr_shadow | cr8_exiting), tpr_shadow);
    EXPECT_NE(get(proc2_controls) & interrupt_delivery, 0u);
}

TEST_F(VirtualInterruptsTest, AVectorIsHandedOverAndNotInjected) {
    set_rflags(0);
    interrupt(0x51);
    EXPECT_FALSE(page().test(reg::IRR, 0x51)) << "the page is the processor's until the guest is out";
    EXPECT_EQ(delivered(), 0u);
    EXPECT_EQ(windows(), 0u);
    EXPECT_TRUE(page().test(reg::IRR, 0x51));
    EXPECT_EQ(rvi(), 0x51);
}

TEST_F(VirtualInterruptsTest, TheHighestIsRequested) {
    interrupt(0x51);
    interrupt(0x91);
    interrupt(0x71);
    EXPECT_EQ(delivered(), 0u);
    EXPECT_EQ(rvi(), 0x91);
    for (const int vector : {0x51, 0x71, 0x91})
        EXPECT_TRUE(page().test(reg::IRR, static_cast<std::uint8_t>(vector)));
    processor_delivers();
    interrupt(0x61);
    EXPECT_EQ(delivered(), 0u);
    EXPECT_EQ(rvi(), 0x71) << "a lower one does not take its place";
    EXPECT_EQ(svi(), 0x91);
}

// SDM 29.1.4: the processor ends it; of a level-triggered one the I/O APICs have to know.
TEST_F(VirtualInterruptsTest, LevelTriggeredVectorsExitAtTheirEnd) {
    vcpu().lapic.write(reg::SVR, 4, 0x1ff);
    vcpu().lapic.accept({.trigger = reg::TriggerMode::level, .vector = 0x41});
    static_cast<void>(delivered());
    EXPECT_EQ(get(eoi_exit_0 + 2), 2u);  // vectors 64 to 127
    EXPECT_EQ(exit(ExitReason::VIRTUALIZED_EOI, 0x41), Next::resume);
    interrupt(0x41);
    static_cast<void>(delivered());
    EXPECT_EQ(get(eoi_exit_0 + 2), 0u) << "edge triggered now";
}

TEST_F(VirtualInterruptsTest, AnEoiThatExitsIsDoneOnThePage) {
    interrupt(0x51);
    interrupt(0x41);
    static_cast<void>(delivered());
    processor_delivers();
    vcpu().lapic.write(reg::EOI, 4, 0);
    EXPECT_EQ(svi(), 0);
    EXPECT_EQ(rvi(), 0x41);
    EXPECT_FALSE(page().test(reg::ISR, 0x51));
    EXPECT_EQ(page().read(reg::PPR), 0u);
}

TEST_F(VirtualInterruptsTest, AHltEndsWithWhatIsAboveThePriority) {
    set_rflags(IF);
    interrupt(0x51);
    static_cast<void>(delivered());
    processor_delivers();
    interrupt(0x52);
    EXPECT_EQ(exit(ExitReason::HLT), Next::pick) << "of the same class as the one in service";
    EXPECT_FALSE(vcpu().has_wake_event());
    interrupt(0x61);
    EXPECT_TRUE(vcpu().has_wake_event());
}

// The status is kept while another vCPU's VMCS is the current one.
TEST_F(VirtualInterruptsTest, WhatComesWhileAnotherGuestRuns) {
    set_rflags(IF);
    interrupt(0x51);
    static_cast<void>(delivered());
    processor_delivers();
    ASSERT_EQ(exit(ExitReason::HLT), Next::pick);
    the_system.config.guests[1].apic_virtualization = true;
    two().ask(Request::start);
    serve(two());
    loop->load(two().vcpu(0));
    EXPECT_EQ(rvi(), 0) << "the other one's";
    vcpu().lapic.accept({.vector = 0x61});
    EXPECT_EQ(rvi(), 0);
    EXPECT_TRUE(vcpu().has_wake_event());
    loop->load(vcpu());
    EXPECT_EQ(delivered(), 0u);
    EXPECT_EQ(rvi(), 0x61);
    EXPECT_EQ(svi(), 0x51);
}

TEST_F(VirtualInterruptsTest, ExtIntIsInjected) {
    set_rflags(0);
    auto& ports = one().machine().ports();
    for (const auto& [port, value] : {std::pair{0x20, 0x11}, {0x21, 0x20}, {0x21, 4}, {0x21, 1}, {0x21, 0xfe}})
        ports.out(static_cast<std::uint16_t>(port), 1, static_cast<std::uint32_t>(value));
    ports.out(0x43, 1, 0x30);
    vcpu().lapic.write(reg::LVT_LINT0, 4, 0x700);
    ports.out(0x40, 1, 1);
    ports.out(0x40, 1, 0);
    one().clock().now += cpu::tsc_hz();
    one().expire_timers(one().seat(0));
    EXPECT_EQ(delivered(), 0u);
    EXPECT_EQ(windows(), interrupt_window);
    set_rflags(IF);
    EXPECT_EQ(exit(ExitReason::INTERRUPT_WINDOW), Next::resume);
    EXPECT_EQ(delivered(), 0x8000'0020u);
    EXPECT_EQ(windows(), 0u);
}

TEST_F(VirtualInterruptsTest, TheModeDecidesWhatIsVirtual) {
    EXPECT_EQ(get(proc2_controls) & (virtualize_x2apic | register_virtualization), 0u);
    EXPECT_TRUE(exits(0x808, false));
    write_apic_base(0xfee0'0d00);
    EXPECT_EQ(get(proc2_controls) & (virtualize_x2apic | register_virtualization),
              virtualize_x2apic | register_virtualization);
    // SDM volume 3, table 10-6.
    for (std::uint32_t msr = 0x800; msr < 0x900; ++msr) {
        const bool readable = msr == 0x802 || msr == 0x803 || msr == 0x808 || msr == 0x80a || msr == 0x80d ||
                              (msr >= 0x80f && msr <= 0x828) || msr == 0x830 || (msr >= 0x832 && msr <= 0x838) ||
                              msr == 0x83e;
        EXPECT_EQ(exits(msr, false), !readable) << std::hex << msr;
        EXPECT_EQ(exits(msr, true), msr != 0x808 && msr != 0x80b) << std::hex << msr;
    }
    EXPECT_TRUE(exits(0x6e0, true)) << "the deadline needs a timer of ours";
    // Disabled.
    write_apic_base(0xfee0'0100);
    EXPECT_EQ(get(proc2_controls) & (virtualize_x2apic | register_virtualization), 0u);
    EXPECT_TRUE(exits(0x808, false));
}

TEST_F(VirtualInterruptsTest, AnInitForgetsWhatWasRequested) {
    interrupt(0x51);
    static_cast<void>(delivered());
    processor_delivers();
    interrupt(0x61);
    vcpu().lapic.init();
    static_cast<void>(delivered());
    EXPECT_EQ(get(interrupt_status), 0u);
    EXPECT_EQ(page().highest(reg::IRR), 0);
    EXPECT_EQ(page().highest(reg::ISR), 0);
}

TEST_F(VirtualInterruptsTest, AGuestMayDoWithout) {
    two().ask(Request::start);
    serve(two());
    loop->load(two().vcpu(0));
    EXPECT_EQ(get(vmcs::proc_controls) & (tpr_shadow | cr8_exiting), cr8_exiting);
    EXPECT_EQ(get(proc2_controls) & interrupt_delivery, 0u);
}

}  // namespace
}  // namespace bulkhead::monitor
