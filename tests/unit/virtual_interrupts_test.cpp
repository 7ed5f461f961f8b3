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
constexpr std::uint32_t tpr_shadow = 1u << 21, cr8_load_exiting = 1u << 19, cr8_exiting = 3u << 19;

class VirtualInterruptsTest : public MonitorTest {
  protected:
    void SetUp() override {
        MonitorTest::SetUp();
        the_system.config.guests[0].apic_virtualization = true;
        start(one());
        static_cast<void>(delivered());
    }

    guest::RegisterPage& page() { return one().machine().lapic_page(0); }
    static std::uint8_t svi() { return static_cast<std::uint8_t>(get(interrupt_status) >> 8); }
    // SDM 29.1.4, in the guest.
    void processor_ends_interrupt() {
        ASSERT_NE(svi(), 0);
        page().set(reg::ISR, svi(), false);
        page().write(reg::PPR, page().highest(reg::ISR) & 0xf0u);
        set(interrupt_status, static_cast<std::uint64_t>(page().highest(reg::ISR)) << 8);
    }
    static bool assisted() { return (get(proc2_controls) & interrupt_delivery) != 0; }
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

TEST_F(VirtualInterruptsTest, TheProcessorEndsWhatWasInjected) {
    set_rflags(IF);
    interrupt(0x51);
    EXPECT_EQ(delivered(), 0x8000'0051u);
    EXPECT_TRUE(assisted());
    EXPECT_EQ(get(interrupt_status), 0x5100u);
    processor_ends_interrupt();
    interrupt(0x41);
    EXPECT_EQ(delivered(), 0x8000'0041u) << "of a lower class than what has ended";
    EXPECT_EQ(get(interrupt_status), 0x4100u);
}

// With a vector in RVI, or one in IRR that an EOI makes deliverable, it would be for the processor to mind IF.
TEST_F(VirtualInterruptsTest, WhatWaitsForIfWaitsInSoftware) {
    set_rflags(0);
    interrupt(0x51);
    EXPECT_EQ(delivered(), 0u);
    EXPECT_FALSE(assisted());
    EXPECT_EQ(get(vmcs::proc_controls) & (tpr_shadow | cr8_exiting), tpr_shadow | cr8_load_exiting);
    EXPECT_EQ(windows(), interrupt_window);
    set_rflags(IF);
    EXPECT_EQ(exit(ExitReason::INTERRUPT_WINDOW), Next::resume);
    EXPECT_EQ(delivered(), 0x8000'0051u);
    EXPECT_TRUE(assisted());
    EXPECT_EQ(get(vmcs::proc_controls) & (tpr_shadow | cr8_exiting), tpr_shadow);
    EXPECT_EQ(windows(), 0u);
    EXPECT_EQ(get(interrupt_status), 0x5100u);
}

TEST_F(VirtualInterruptsTest, WhatWaitsForAnEoiWaitsInSoftware) {
    set_rflags(IF);
    interrupt(0x51);
    interrupt(0x91);
    interrupt(0x71);
    EXPECT_EQ(delivered(), 0x8000'0091u);
    EXPECT_FALSE(assisted());
    EXPECT_EQ(windows(), 0u) << "no window before the end of 91h";
    vcpu().lapic.write(reg::EOI, 4, 0);
    EXPECT_EQ(delivered(), 0x8000'0071u);
    EXPECT_FALSE(assisted());
    vcpu().lapic.write(reg::EOI, 4, 0);
    EXPECT_EQ(delivered(), 0x8000'0051u);
    EXPECT_TRUE(assisted()) << "nothing waits any more";
    EXPECT_EQ(get(interrupt_status), 0x5100u);
}

// It runs with the help, and what it could do then without an exit is what the vector waits for.
TEST_F(VirtualInterruptsTest, AVectorThatIsNotDeliverableYetEndsTheHelp) {
    set_rflags(IF);
    interrupt(0x51);
    static_cast<void>(delivered());
    ASSERT_TRUE(assisted());
    interrupt(0x52);
    EXPECT_TRUE(vcpu().needs_attention());
    EXPECT_EQ(delivered(), 0u);
    EXPECT_FALSE(assisted());
}

// SDM 29.1.4: the processor ends it; of a level-triggered one the I/O APICs have to know.
TEST_F(VirtualInterruptsTest, LevelTriggeredVectorsExitAtTheirEnd) {
    set_rflags(IF);
    vcpu().lapic.write(reg::SVR, 4, 0x1ff);
    vcpu().lapic.accept({.trigger = reg::TriggerMode::level, .vector = 0x41});
    EXPECT_EQ(delivered(), 0x8000'0041u);
    EXPECT_EQ(get(eoi_exit_0 + 2), 2u);  // vectors 64 to 127
    processor_ends_interrupt();
    EXPECT_EQ(exit(ExitReason::VIRTUALIZED_EOI, 0x41), Next::resume);
    interrupt(0x41);
    EXPECT_EQ(delivered(), 0x8000'0041u);
    EXPECT_EQ(get(eoi_exit_0 + 2), 0u) << "edge triggered now";
}

// In xAPIC mode it is an access to the page, which exits.
TEST_F(VirtualInterruptsTest, AnEoiThatExitsIsDoneOnThePage) {
    set_rflags(IF);
    interrupt(0x51);
    static_cast<void>(delivered());
    vcpu().lapic.write(reg::EOI, 4, 0);
    EXPECT_EQ(delivered(), 0u);
    EXPECT_EQ(get(interrupt_status), 0u);
    EXPECT_FALSE(page().test(reg::ISR, 0x51));
    EXPECT_EQ(page().read(reg::PPR), 0u);
}

TEST_F(VirtualInterruptsTest, AHltEndsWithWhatIsAboveThePriority) {
    set_rflags(IF);
    interrupt(0x51);
    static_cast<void>(delivered());
    interrupt(0x52);
    EXPECT_EQ(exit(ExitReason::HLT), Next::pick) << "of the same class as the one in service";
    EXPECT_FALSE(vcpu().has_wake_event());
    interrupt(0x61);
    EXPECT_TRUE(vcpu().has_wake_event());
}

TEST_F(VirtualInterruptsTest, WhatComesWhileAnotherGuestRuns) {
    set_rflags(IF);
    interrupt(0x51);
    static_cast<void>(delivered());
    ASSERT_EQ(exit(ExitReason::HLT), Next::pick);
    the_system.config.guests[1].apic_virtualization = true;
    two().ask(Request::start);
    serve(two());
    loop->load(two().vcpu(0));
    EXPECT_EQ(get(interrupt_status), 0u) << "the other one's";
    vcpu().lapic.accept({.vector = 0x61});
    EXPECT_EQ(get(interrupt_status), 0u);
    EXPECT_TRUE(vcpu().has_wake_event());
    loop->load(vcpu());
    EXPECT_EQ(delivered(), 0x8000'0061u);
    EXPECT_EQ(get(interrupt_status), 0x6100u);
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

// The registers without the virtualisation would be the host's own.
TEST_F(VirtualInterruptsTest, WithoutTheHelpAllX2apicRegistersExit) {
    write_apic_base(0xfee0'0d00);
    set_rflags(0);
    interrupt(0x51);
    EXPECT_EQ(delivered(), 0u);
    EXPECT_EQ(get(proc2_controls) & (virtualize_x2apic | register_virtualization | interrupt_delivery), 0u);
    for (std::uint32_t msr = 0x800; msr < 0x900; ++msr) {
        EXPECT_TRUE(exits(msr, false)) << std::hex << msr;
        EXPECT_TRUE(exits(msr, true)) << std::hex << msr;
    }
    set_rflags(IF);
    static_cast<void>(exit(ExitReason::INTERRUPT_WINDOW));
    EXPECT_EQ(delivered(), 0x8000'0051u);
    EXPECT_FALSE(exits(0x80b, true));
}

TEST_F(VirtualInterruptsTest, AnInitForgetsWhatWasRequested) {
    set_rflags(IF);
    interrupt(0x51);
    static_cast<void>(delivered());
    interrupt(0x61);
    vcpu().lapic.init();
    EXPECT_EQ(delivered(), 0u);
    EXPECT_TRUE(assisted());
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
