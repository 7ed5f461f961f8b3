// SPDX-License-Identifier: Apache-2.0
// The local APIC after SDM volume 3, chapter 10: what comes in, priorities, and what is delivered.
#include "tests/unit/lapic_fixture.hpp"

namespace bulkhead::guest {
namespace {

class LapicTest : public LapicFixture {};

TEST_F(LapicTest, StateAfterPowerUp) {
    EXPECT_EQ(lapic.base(), xapic);
    EXPECT_EQ(read(reg::ID), 5u << 24);
    EXPECT_EQ(read(reg::VERSION), 0x0005'0014u) << "six LVT entries, EOI broadcasts cannot be suppressed";
    EXPECT_EQ(read(reg::SVR), 0xffu);
    EXPECT_EQ(read(reg::DFR), 0xffff'ffffu);
    for (const std::uint32_t lvt : lvts) EXPECT_EQ(read(lvt), 0x10000u) << lvt;
    for (const std::uint32_t zero : {reg::TPR, reg::PPR, reg::LDR, reg::ESR, reg::ICR_LOW, reg::ICR_HIGH,
                                     reg::TIMER_INITIAL, reg::TIMER_CURRENT, reg::TIMER_DIVIDE, reg::APR, reg::RRD})
        EXPECT_EQ(read(zero), 0u) << zero;
    EXPECT_FALSE(lapic.interrupt_deliverable());
    EXPECT_EQ(lapic.acknowledge(), std::nullopt);
}

// ---- IRR, ISR, priorities

TEST_F(LapicTest, AnInterruptGoesFromIrrToIsrToItsEnd) {
    enable();
    EXPECT_TRUE(fixed(0x41));
    EXPECT_EQ(processor.interrupts, 1);
    EXPECT_TRUE(bit(reg::IRR, 0x41));
    EXPECT_EQ(lapic.highest_requested(), 0x41);
    EXPECT_TRUE(lapic.interrupt_deliverable());
    EXPECT_EQ(lapic.acknowledge(), 0x41);
    EXPECT_FALSE(bit(reg::IRR, 0x41));
    EXPECT_TRUE(bit(reg::ISR, 0x41));
    EXPECT_EQ(read(reg::PPR), 0x40u);
    EXPECT_FALSE(lapic.interrupt_deliverable());
    eoi();
    EXPECT_FALSE(bit(reg::ISR, 0x41));
    EXPECT_EQ(read(reg::PPR), 0u);
    EXPECT_TRUE(bus.ended.empty()) << "edge triggered";
}

TEST_F(LapicTest, EveryVectorHasItsBit) {
    enable();
    for (unsigned v = 16; v < 256; ++v) {
        const auto vector = static_cast<std::uint8_t>(v);
        EXPECT_TRUE(fixed(vector));
        for (unsigned i = 0; i < 8; ++i) EXPECT_EQ(read(reg::IRR + 16 * i), i == v / 32 ? 1u << v % 32 : 0u);
        EXPECT_EQ(lapic.acknowledge(), vector);
        for (unsigned i = 0; i < 8; ++i) EXPECT_EQ(read(reg::ISR + 16 * i), i == v / 32 ? 1u << v % 32 : 0u);
        eoi();
    }
}

TEST_F(LapicTest, OneMoreIsKeptWhileOneIsInService) {
    enable();
    fixed(0x50);
    EXPECT_EQ(lapic.acknowledge(), 0x50);
    fixed(0x50);
    fixed(0x50);
    EXPECT_FALSE(lapic.interrupt_deliverable());
    eoi();
    EXPECT_EQ(lapic.acknowledge(), 0x50);
    eoi();
    EXPECT_FALSE(lapic.interrupt_deliverable());
}

TEST_F(LapicTest, OnlyAHigherClassInterrupts) {
    enable();
    fixed(0x52);
    EXPECT_EQ(lapic.acknowledge(), 0x52);
    fixed(0x5f);
    EXPECT_FALSE(lapic.interrupt_deliverable()) << "the same class";
    fixed(0x60);
    EXPECT_EQ(lapic.acknowledge(), 0x60);
    EXPECT_EQ(read(reg::PPR), 0x60u);
    eoi();
    EXPECT_EQ(read(reg::PPR), 0x50u) << "the end is of the highest in service";
    EXPECT_FALSE(lapic.interrupt_deliverable());
    eoi();
    EXPECT_EQ(lapic.acknowledge(), 0x5f);
}

TEST_F(LapicTest, TheTaskPriorityHoldsBack) {
    enable();
    write(reg::TPR, 0x4a);
    fixed(0x4f);
    EXPECT_FALSE(lapic.interrupt_deliverable());
    fixed(0x50);
    EXPECT_EQ(lapic.acknowledge(), 0x50);
    eoi();
    processor.interrupts = 0;
    write(reg::TPR, 0x3f);
    EXPECT_EQ(processor.interrupts, 1) << "the processor is told when the way is free";
    EXPECT_EQ(lapic.acknowledge(), 0x4f);
}

// 10.8.3.1: the whole TPR if its class is at least that of the highest in service, else that class.
TEST_F(LapicTest, ProcessorPriority) {
    enable();
    fixed(0x53);
    EXPECT_EQ(lapic.acknowledge(), 0x53);
    const std::pair<std::uint32_t, std::uint32_t> cases[] = {{0x00, 0x50}, {0x4f, 0x50}, {0x50, 0x50},
                                                             {0x51, 0x51}, {0x5f, 0x5f}, {0x60, 0x60}};
    for (const auto& [tpr, ppr] : cases) {
        write(reg::TPR, tpr);
        EXPECT_EQ(read(reg::PPR), ppr);
        EXPECT_EQ(lapic.ppr(), ppr);
    }
}

TEST_F(LapicTest, Cr8IsTheClassOfTpr) {
    lapic.set_cr8(0xb);
    EXPECT_EQ(read(reg::TPR), 0xb0u);
    write(reg::TPR, 0x57);
    EXPECT_EQ(lapic.cr8(), 5);
    EXPECT_EQ(lapic.tpr(), 0x57);
}

TEST_F(LapicTest, AnEndWithNothingInServiceDoesNothing) {
    enable();
    fixed(0x40, TriggerMode::level);
    eoi();
    EXPECT_TRUE(bus.ended.empty());
    EXPECT_EQ(lapic.acknowledge(), 0x40);
}

TEST_F(LapicTest, TheProcessorIsToldAboutWhatWaitedForAnEnd) {
    enable();
    fixed(0x50);
    lapic.acknowledge();
    fixed(0x51);
    processor.interrupts = 0;
    eoi();
    EXPECT_EQ(processor.interrupts, 1);
}

TEST_F(LapicTest, TmrFollowsTheLastRequestAndItsEndIsBroadcast) {
    enable();
    fixed(0x61, TriggerMode::level);
    EXPECT_TRUE(bit(reg::TMR, 0x61));
    lapic.acknowledge();
    eoi();
    EXPECT_EQ(bus.ended, std::vector<std::uint8_t>{0x61});
    fixed(0x61, TriggerMode::edge);
    EXPECT_FALSE(bit(reg::TMR, 0x61));
    lapic.acknowledge();
    eoi();
    EXPECT_EQ(bus.ended.size(), 1u);
}

// ---- what is accepted when

TEST_F(LapicTest, SoftwareDisabledItTakesNoFixedInterrupts) {
    EXPECT_FALSE(fixed(0x40));
    EXPECT_FALSE(lapic.interrupt_deliverable());
    EXPECT_TRUE(lapic.accept({.delivery = DeliveryMode::nmi}));
    EXPECT_TRUE(lapic.accept({.delivery = DeliveryMode::init}));
    EXPECT_TRUE(lapic.accept({.delivery = DeliveryMode::startup, .vector = 0x9a}));
    EXPECT_EQ(processor.nmis, 1);
    EXPECT_EQ(processor.inits, 1);
    EXPECT_EQ(processor.startups, std::vector<std::uint8_t>{0x9a});
}

TEST_F(LapicTest, SoftwareDisablingKeepsWhatIsThere) {
    enable();
    fixed(0x40);
    write(reg::SVR, 0xff);
    EXPECT_EQ(lapic.acknowledge(), 0x40);
    EXPECT_TRUE(bit(reg::ISR, 0x40));
    eoi();
}

TEST_F(LapicTest, SoftwareDisablingMasksTheTableAndKeepsItMasked) {
    enable();
    for (const std::uint32_t lvt : lvts) write(lvt, 0x40);
    for (const std::uint32_t lvt : lvts) EXPECT_EQ(read(lvt), 0x40u);
    write(reg::SVR, 0xff);
    for (const std::uint32_t lvt : lvts) {
        EXPECT_EQ(read(lvt), 0x10040u);
        write(lvt, 0x41);
        EXPECT_EQ(read(lvt), 0x10041u);
    }
    enable();
    for (const std::uint32_t lvt : lvts) EXPECT_EQ(read(lvt), 0x10041u) << "enabling does not unmask";
}

TEST_F(LapicTest, AnIllegalVectorIsAnErrorAndNoRequest) {
    enable();
    write(reg::LVT_ERROR, 0xfe);
    for (unsigned vector = 0; vector < 16; ++vector) fixed(static_cast<std::uint8_t>(vector));
    EXPECT_EQ(read(reg::IRR), 0u);
    EXPECT_EQ(lapic.acknowledge(), 0xfe);
    EXPECT_EQ(errors(), 1u << 6);
}

// ---- ESR

TEST_F(LapicTest, EsrShowsTheErrorsBetweenTwoWrites) {
    enable();
    fixed(3);
    EXPECT_EQ(read(reg::ESR), 0u) << "not before a write";
    write(reg::ESR, 0);
    EXPECT_EQ(read(reg::ESR), 1u << 6);
    read(0x3f0);
    EXPECT_EQ(read(reg::ESR), 1u << 6);
    write(reg::ESR, 0xffff'ffff);
    EXPECT_EQ(read(reg::ESR), 1u << 7);
    write(reg::ESR, 0);
    EXPECT_EQ(read(reg::ESR), 0u);
}

TEST_F(LapicTest, ReservedRegistersAreErrors) {
    for (const std::uint32_t reserved :
         {0x00u, 0x10u, 0x40u, 0x70u, 0x290u, 0x2f0u, 0x3a0u, 0x3d0u, 0x3f0u, 0x400u, 0xff0u}) {
        EXPECT_EQ(read(reserved), 0u) << reserved;
        EXPECT_EQ(errors(), 1u << 7) << reserved;
        write(reserved, ~0u);
        EXPECT_EQ(errors(), 1u << 7) << reserved;
    }
    for (unsigned offset = 0x20; offset < 0x30; offset += 4) read(offset);
    write(reg::VERSION, 0);
    read(reg::EOI);
    EXPECT_EQ(errors(), 0u) << "read-only and write-only registers are not reserved";
    EXPECT_EQ(read(reg::VERSION), 0x0005'0014u);
}

TEST_F(LapicTest, AnErrorVectorThatIsIllegalItselfIsOneErrorMore) {
    enable();
    write(reg::LVT_ERROR, 0x05);
    read(0x3f0);
    EXPECT_EQ(errors(), 1u << 7 | 1u << 6);
    EXPECT_FALSE(lapic.interrupt_deliverable());
}

// ---- destinations (10.6.2)

TEST_F(LapicTest, PhysicalDestinationsAreTheIdThatSoftwareCanWrite) {
    EXPECT_TRUE(lapic.matches(5, DestinationMode::physical));
    EXPECT_FALSE(lapic.matches(4, DestinationMode::physical));
    EXPECT_TRUE(lapic.matches(broadcast_destination, DestinationMode::physical));
    write(reg::ID, 0x2b00'0000);
    EXPECT_TRUE(lapic.matches(0x2b, DestinationMode::physical));
    EXPECT_FALSE(lapic.matches(5, DestinationMode::physical));
    EXPECT_EQ(lapic.id(), 5u) << "the initial ID stays what CPUID shows";
}

TEST_F(LapicTest, FlatModel) {
    write(reg::LDR, 0x24ff'ffff);
    EXPECT_EQ(read(reg::LDR), 0x2400'0000u);
    for (unsigned mda = 0; mda < 256; ++mda)
        EXPECT_EQ(lapic.matches(mda, DestinationMode::logical), (mda & 0x24) != 0) << mda;
}

TEST_F(LapicTest, ClusterModel) {
    write(reg::DFR, 0x0000'0000);
    EXPECT_EQ(read(reg::DFR), 0x0fff'ffffu);
    write(reg::LDR, 0x3600'0000);  // cluster 3, members 1 and 2
    for (unsigned mda = 0; mda < 256; ++mda) {
        const bool cluster = mda >> 4 == 3 || mda >> 4 == 0xf;
        EXPECT_EQ(lapic.matches(mda, DestinationMode::logical), cluster && (mda & 6) != 0) << mda;
    }
}

TEST_F(LapicTest, OtherModelsMatchNothing) {
    write(reg::DFR, 0x7000'0000);
    write(reg::LDR, 0xff00'0000);
    for (unsigned mda = 0; mda < 256; ++mda) EXPECT_FALSE(lapic.matches(mda, DestinationMode::logical));
}

// ---- the processor may keep the page while the guest runs

struct FakeAssist final : InterruptAssist {
    void requested() override { ++requests; }
    void in_service_changed() override { ++changes; }
    void set_eoi_exit(std::uint8_t vector, bool wanted) override { eoi_exits.push_back({vector, wanted}); }
    int requests = 0, changes = 0;
    std::vector<std::pair<std::uint8_t, bool>> eoi_exits;
};

TEST_F(LapicTest, AnAssistLearnsWhatChanges) {
    enable();
    FakeAssist assist;
    lapic.bind(assist);
    fixed(0x77, TriggerMode::level);
    fixed(0x78);
    fixed(0x77, TriggerMode::level);
    EXPECT_EQ(assist.requests, 3);
    EXPECT_EQ(assist.eoi_exits, (std::vector<std::pair<std::uint8_t, bool>>{{0x77, true}})) << "changes alone";
    EXPECT_EQ(assist.changes, 0);
    EXPECT_EQ(lapic.acknowledge(), 0x78);
    EXPECT_EQ(assist.changes, 1);
    EXPECT_EQ(lapic.highest_in_service(), 0x78);
    EXPECT_EQ(lapic.highest_requested(), 0x77);
    write(reg::EOI, 0);
    EXPECT_EQ(assist.changes, 2);
    EXPECT_EQ(lapic.acknowledge(), 0x77);
    lapic.ended_in_hardware(0x77);
    EXPECT_EQ(bus.ended, std::vector<std::uint8_t>{0x77});
}

}  // namespace
}  // namespace bulkhead::guest
