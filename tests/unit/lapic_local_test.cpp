// SPDX-License-Identifier: Apache-2.0
// The local APIC's local vector table after SDM volume 3, 10.5: timer, pins, and the 8259A behind LINT0.
#include "tests/unit/lapic_fixture.hpp"

namespace bulkhead::guest {
namespace {

class LapicLocalTest : public LapicFixture {};

TEST_F(LapicLocalTest, TimerInterrupt) {
    enable();
    write(reg::TIMER_DIVIDE, 0xb);
    write(reg::LVT_TIMER, 0x20030);  // periodic
    write(reg::TIMER_INITIAL, 1'000);
    EXPECT_EQ(read(reg::TIMER_INITIAL), 1'000u);
    go_to(9'999);
    EXPECT_FALSE(lapic.interrupt_deliverable());
    EXPECT_EQ(read(reg::TIMER_CURRENT), 1u);
    go_to(10'000);
    EXPECT_EQ(lapic.acknowledge(), 0x30);
    eoi();
    write(reg::LVT_TIMER, 0x30030);
    go_to(30'000);
    EXPECT_FALSE(lapic.interrupt_deliverable()) << "masked";
}

TEST_F(LapicLocalTest, ADueTimerInterruptHasTheVectorItWasDueWith) {
    enable();
    write(reg::TIMER_DIVIDE, 0xb);
    write(reg::LVT_TIMER, 0x30);
    write(reg::TIMER_INITIAL, 10);
    clock.now = 100;
    write(reg::LVT_TIMER, 0x10031);
    EXPECT_EQ(lapic.acknowledge(), 0x30);
}

TEST_F(LapicLocalTest, TscDeadline) {
    enable();
    EXPECT_TRUE(lapic.write_msr(isa::Msr::IA32_TSC_DEADLINE, 5'000));
    EXPECT_EQ(lapic.read_msr(isa::Msr::IA32_TSC_DEADLINE).value(), 0u) << "not in this mode";
    write(reg::LVT_TIMER, 0x400ec);
    lapic.set_tsc_adjust(1'000);
    EXPECT_TRUE(lapic.write_msr(isa::Msr::IA32_TSC_DEADLINE, 5'000));
    EXPECT_EQ(lapic.read_msr(isa::Msr::IA32_TSC_DEADLINE).value(), 5'000u);
    go_to(3'999);
    EXPECT_FALSE(lapic.interrupt_deliverable());
    go_to(4'000);
    EXPECT_EQ(lapic.read_msr(isa::Msr::IA32_TSC_DEADLINE).value(), 0u);
    EXPECT_EQ(lapic.acknowledge(), 0xec);
}

TEST_F(LapicLocalTest, Lint0PassesTheExtIntOfThe8259) {
    enable();
    write(reg::LVT_LINT0, 0x10700);
    lapic.set_lint(0, true);
    EXPECT_FALSE(lapic.interrupt_deliverable()) << "masked";
    write(reg::LVT_LINT0, 0x00700);
    EXPECT_EQ(processor.interrupts, 1) << "unmasking is as good as the wire rising";
    EXPECT_TRUE(lapic.interrupt_deliverable());
    write(reg::TPR, 0xff);
    EXPECT_TRUE(lapic.interrupt_deliverable()) << "no priority holds back an ExtINT";
    fixed(0xf0);
    EXPECT_EQ(lapic.acknowledge(), bus.external_vector);
    EXPECT_EQ(read(reg::ISR + 16), 0u) << "it is never in service here";
    lapic.set_lint(0, false);
    EXPECT_FALSE(lapic.interrupt_deliverable());
}

TEST_F(LapicLocalTest, AnExtIntMessageLastsAsLongAsTheRequest) {
    enable();
    lapic.set_lint(0, true);
    EXPECT_TRUE(lapic.accept({.delivery = DeliveryMode::ext_int}));
    EXPECT_TRUE(lapic.interrupt_deliverable());
    lapic.set_lint(0, false);
    EXPECT_FALSE(lapic.interrupt_deliverable());
    lapic.set_lint(0, true);
    EXPECT_FALSE(lapic.interrupt_deliverable());
    lapic.accept({.delivery = DeliveryMode::ext_int});
    EXPECT_EQ(lapic.acknowledge(), bus.external_vector);
    EXPECT_FALSE(lapic.interrupt_deliverable()) << "one message, one interrupt";
}

TEST_F(LapicLocalTest, LocalPinsDeliverEveryMode) {
    enable();
    const auto pulse = [&](unsigned pin) {
        lapic.set_lint(pin, true);
        lapic.set_lint(pin, false);
    };
    for (const unsigned pin : {0u, 1u}) {
        const std::uint32_t lvt = pin == 0 ? reg::LVT_LINT0 : reg::LVT_LINT1;
        write(lvt, 0x00055);
        pulse(pin);
        EXPECT_EQ(lapic.acknowledge(), 0x55);
        EXPECT_FALSE(bit(reg::TMR, 0x55));
        eoi();
        write(lvt, 0x00400);
        pulse(pin);
        write(lvt, 0x00500);
        pulse(pin);
        write(lvt, 0x00200);  // SMI: not seen
        pulse(pin);
        write(lvt, 0x10400);
        pulse(pin);
        EXPECT_EQ(processor.nmis, static_cast<int>(pin) + 1);
        EXPECT_EQ(processor.inits, static_cast<int>(pin) + 1);
        EXPECT_FALSE(lapic.interrupt_deliverable());
    }
}

TEST_F(LapicLocalTest, LevelTriggeredLint0HasARemoteIrr) {
    enable();
    write(reg::LVT_LINT0, 0x08055);
    lapic.set_lint(0, true);
    EXPECT_EQ(read(reg::LVT_LINT0), 0x0c055u);
    EXPECT_TRUE(bit(reg::TMR, 0x55));
    EXPECT_EQ(lapic.acknowledge(), 0x55);
    write(reg::LVT_LINT0, 0x08055);
    EXPECT_EQ(read(reg::LVT_LINT0), 0x0c055u) << "read-only";
    EXPECT_FALSE(bit(reg::IRR, 0x55));
    eoi();
    EXPECT_EQ(lapic.acknowledge(), 0x55) << "the wire is still high";
    lapic.set_lint(0, false);
    eoi();
    EXPECT_EQ(read(reg::LVT_LINT0), 0x08055u);
    EXPECT_FALSE(lapic.interrupt_deliverable());
}

TEST_F(LapicLocalTest, Lint1HasNoLevelTriggering) {
    enable();
    write(reg::LVT_LINT1, 0x08055);
    lapic.set_lint(1, true);
    EXPECT_FALSE(bit(reg::TMR, 0x55));
    EXPECT_EQ(lapic.acknowledge(), 0x55);
    eoi();
    EXPECT_FALSE(lapic.interrupt_deliverable());
}

TEST_F(LapicLocalTest, VirtualWireModeIsWhatFirmwareLeaves) {
    lapic.enter_virtual_wire_mode();
    EXPECT_EQ(read(reg::SVR), 0x1ffu);
    EXPECT_EQ(read(reg::LVT_LINT0), 0x700u);
    EXPECT_EQ(read(reg::LVT_LINT1), 0x400u);
    lapic.set_lint(0, true);
    EXPECT_TRUE(lapic.interrupt_deliverable());
}

}  // namespace
}  // namespace bulkhead::guest
