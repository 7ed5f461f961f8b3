// SPDX-License-Identifier: Apache-2.0
// The I/O APIC against the 82093AA data sheet (290566), and the EOI register of version 20h.
#include "guest/ioapic.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace bulkhead::guest {
namespace {

using isa::apic::DeliveryMode;
using isa::apic::DestinationMode;
using isa::apic::TriggerMode;

constexpr std::uint32_t logical = 1u << 11, active_low = 1u << 13, remote_irr = 1u << 14,
                        level = 1u << 15, masked = 1u << 16;
constexpr std::uint32_t delivery(DeliveryMode mode) { return static_cast<std::uint32_t>(mode) << 8; }

class Bus final : public InterruptBus {
  public:
    bool deliver(const InterruptMessage& message) override {
        if (refuse) return false;
        messages.push_back(message);
        return true;
    }
    std::vector<InterruptMessage> messages;
    bool refuse{};
};

class IoApicTest : public testing::Test {
  protected:
    std::uint32_t read(unsigned index) {
        apic.write(0x00, 4, index);
        return static_cast<std::uint32_t>(apic.read(0x10, 4));
    }
    void write(unsigned index, std::uint32_t value) {
        apic.write(0x00, 4, index);
        apic.write(0x10, 4, value);
    }
    std::uint32_t entry(unsigned pin) { return read(0x10 + 2 * pin); }
    void route(unsigned pin, std::uint32_t low, std::uint8_t destination = 0) {
        write(0x10 + 2 * pin + 1, static_cast<std::uint32_t>(destination) << 24);
        write(0x10 + 2 * pin, low);
    }
    std::size_t sent() { return bus.messages.size(); }

    Bus bus;
    IoApic apic{bus, 0};
};

// ---- registers

TEST_F(IoApicTest, SaysWhatItIs) {
    EXPECT_EQ(read(1), 0x00170020u);
    EXPECT_EQ(read(0), 0u);
}

TEST_F(IoApicTest, TheIdHasFourBitsAndIsTheArbitrationId) {
    write(0, 0xffff'ffff);
    EXPECT_EQ(read(0), 0x0f00'0000u);
    EXPECT_EQ(read(2), 0x0f00'0000u);
}

TEST_F(IoApicTest, VersionAndArbitrationAreReadOnly) {
    write(1, 0);
    write(2, 0xffff'ffff);
    EXPECT_EQ(read(1), 0x00170020u);
    EXPECT_EQ(read(2), 0u);
}

TEST_F(IoApicTest, EveryInputIsMaskedAtFirst) {
    for (unsigned pin = 0; pin < IoApic::pins; ++pin) {
        EXPECT_EQ(entry(pin) & masked, masked) << pin;
        apic.set_pin(pin, true);
    }
    EXPECT_EQ(sent(), 0u);
}

TEST_F(IoApicTest, StatusBitsAndReservedBitsCannotBeWritten) {
    write(0x10, 0xffff'ffff);
    write(0x11, 0xffff'ffff);
    EXPECT_EQ(read(0x10), 0x0001'afffu);
    EXPECT_EQ(read(0x11), 0xff00'0000u);
}

TEST_F(IoApicTest, TheSelectRegisterCanBeReadAndHasEightBits) {
    apic.write(0, 4, 0x1234'5601);
    EXPECT_EQ(apic.read(0, 4), 0x01u);
    EXPECT_EQ(apic.read(0x10, 4), 0x00170020u);
}

TEST_F(IoApicTest, WhatIsNoRegisterReadsZero) {
    for (const unsigned index : {3u, 0x0fu, 0x40u, 0xffu}) {
        write(index, 0xffff'ffff);
        EXPECT_EQ(read(index), 0u) << index;
    }
    EXPECT_EQ(apic.read(0x20, 4), 0u);
    EXPECT_EQ(apic.read(0x40, 4), 0u);
    EXPECT_EQ(apic.read(0xffc, 4), 0u);
    EXPECT_EQ(entry(23), masked) << "the writes behind it went nowhere";
}

// ---- edges

TEST_F(IoApicTest, AnEdgeIsOneMessage) {
    route(4, 0x34, 0x05);
    apic.set_pin(4, true);
    ASSERT_EQ(sent(), 1u);
    EXPECT_EQ(bus.messages[0].vector, 0x34);
    EXPECT_EQ(bus.messages[0].destination, 0x05u);
    EXPECT_EQ(bus.messages[0].destination_mode, DestinationMode::physical);
    EXPECT_EQ(bus.messages[0].delivery, DeliveryMode::fixed);
    EXPECT_EQ(bus.messages[0].trigger, TriggerMode::edge);
    EXPECT_EQ(entry(4), 0x34u) << "delivered, and no remote IRR";
    apic.set_pin(4, false);
    EXPECT_EQ(sent(), 1u);
    apic.set_pin(4, true);
    EXPECT_EQ(sent(), 2u) << "no EOI is needed";
}

TEST_F(IoApicTest, AnEdgeThatFindsItsInputMaskedIsLost) {
    route(4, 0x34 | masked);
    apic.set_pin(4, true);
    route(4, 0x34);
    EXPECT_EQ(sent(), 0u);
    apic.set_pin(4, false);
    apic.set_pin(4, true);
    EXPECT_EQ(sent(), 1u);
}

TEST_F(IoApicTest, AnEdgeOfAnInputThatIsActiveLowFalls) {
    apic.set_pin(4, true);
    route(4, 0x34 | active_low);
    apic.set_pin(4, false);
    EXPECT_EQ(sent(), 1u);
    apic.set_pin(4, true);
    EXPECT_EQ(sent(), 1u);
}

TEST_F(IoApicTest, EveryDestinationAndDeliveryModeIsInTheMessage) {
    for (const auto mode : {DeliveryMode::fixed, DeliveryMode::lowest_priority, DeliveryMode::smi, DeliveryMode::nmi,
                            DeliveryMode::init, DeliveryMode::ext_int}) {
        bus.messages.clear();
        route(7, 0x51 | delivery(mode) | logical, 0xa5);
        apic.set_pin(7, true);
        apic.set_pin(7, false);
        ASSERT_EQ(sent(), 1u);
        EXPECT_EQ(bus.messages[0].delivery, mode);
        EXPECT_EQ(bus.messages[0].destination_mode, DestinationMode::logical);
        EXPECT_EQ(bus.messages[0].destination, 0xa5u);
        EXPECT_EQ(bus.messages[0].vector, 0x51);
    }
}

TEST_F(IoApicTest, InputsAreApart) {
    for (unsigned pin = 0; pin < IoApic::pins; ++pin) route(pin, 0x40 + pin, static_cast<std::uint8_t>(pin));
    for (unsigned pin = 0; pin < IoApic::pins; ++pin) {
        apic.set_pin(pin, true);
        ASSERT_EQ(sent(), pin + 1u);
        EXPECT_EQ(bus.messages[pin].vector, 0x40 + pin);
        EXPECT_EQ(bus.messages[pin].destination, pin);
    }
}

// ---- levels

TEST_F(IoApicTest, ALevelIsInServiceUntilItsEoi) {
    route(9, 0x61 | level);
    apic.set_pin(9, true);
    ASSERT_EQ(sent(), 1u);
    EXPECT_EQ(bus.messages[0].trigger, TriggerMode::level);
    EXPECT_EQ(entry(9) & remote_irr, remote_irr);
    apic.set_pin(9, false);
    apic.set_pin(9, true);
    EXPECT_EQ(sent(), 1u) << "in service";
    apic.set_pin(9, false);
    EXPECT_EQ(entry(9) & remote_irr, remote_irr) << "only the EOI clears it";
    apic.end_of_interrupt(0x61);
    EXPECT_EQ(entry(9) & remote_irr, 0u);
    EXPECT_EQ(sent(), 1u);
}

TEST_F(IoApicTest, ALevelThatLastsIsSentAgainAtItsEoi) {
    route(9, 0x61 | level);
    apic.set_pin(9, true);
    apic.end_of_interrupt(0x61);
    EXPECT_EQ(sent(), 2u);
    EXPECT_EQ(entry(9) & remote_irr, remote_irr);
}

TEST_F(IoApicTest, AnEoiOfAnotherVectorIsNoneOfItsBusiness) {
    route(9, 0x61 | level);
    apic.set_pin(9, true);
    apic.end_of_interrupt(0x62);
    EXPECT_EQ(sent(), 1u);
    EXPECT_EQ(entry(9) & remote_irr, remote_irr);
}

TEST_F(IoApicTest, TheEoiRegisterEndsEveryInputOfTheVector) {
    route(9, 0x61 | level);
    route(10, 0x61 | level);
    apic.set_pin(9, true);
    apic.set_pin(10, true);
    apic.set_pin(10, false);
    apic.write(0x40, 4, 0x61);
    EXPECT_EQ(sent(), 3u);
    EXPECT_EQ(entry(9) & remote_irr, remote_irr);
    EXPECT_EQ(entry(10) & remote_irr, 0u);
}

TEST_F(IoApicTest, ALevelThatFindsItsInputMaskedWaits) {
    route(9, 0x61 | level | masked);
    apic.set_pin(9, true);
    EXPECT_EQ(sent(), 0u);
    route(9, 0x61 | level);
    EXPECT_EQ(sent(), 1u);
    route(9, 0x61 | level | masked);
    apic.end_of_interrupt(0x61);
    EXPECT_EQ(sent(), 1u);
    EXPECT_EQ(entry(9) & remote_irr, 0u) << "the EOI reaches a masked entry";
    route(9, 0x61 | level);
    EXPECT_EQ(sent(), 2u);
}

TEST_F(IoApicTest, WritingAnEntryInServiceSendsNothing) {
    route(9, 0x61 | level, 1);
    apic.set_pin(9, true);
    route(9, 0x61 | level, 2);
    EXPECT_EQ(sent(), 1u);
    EXPECT_EQ(entry(9) & remote_irr, remote_irr) << "and its remote IRR is read-only";
}

TEST_F(IoApicTest, ALevelThatIsActiveLow) {
    apic.set_pin(9, true);
    route(9, 0x61 | level | active_low);
    EXPECT_EQ(sent(), 0u);
    apic.set_pin(9, false);
    EXPECT_EQ(sent(), 1u);
    apic.set_pin(9, true);
    apic.end_of_interrupt(0x61);
    EXPECT_EQ(sent(), 1u);
}

TEST_F(IoApicTest, EdgeTriggeringClearsRemoteIrr) {
    route(9, 0x61 | level);
    apic.set_pin(9, true);
    route(9, 0x61 | masked);
    EXPECT_EQ(entry(9) & remote_irr, 0u);
    route(9, 0x61 | level);
    EXPECT_EQ(sent(), 2u) << "how a system without an EOI register ends an interrupt";
}

TEST_F(IoApicTest, RemoteIrrIsSetWhenALocalApicAccepts) {
    bus.refuse = true;
    route(9, 0x61 | level, 9);
    apic.set_pin(9, true);
    EXPECT_EQ(entry(9) & remote_irr, 0u);
    bus.refuse = false;
    route(9, 0x61 | level, 0);
    EXPECT_EQ(sent(), 1u);
    EXPECT_EQ(entry(9) & remote_irr, remote_irr);
}

// 3.2.4: NMI and INIT are edges even when programmed as levels; SMI and ExtINT require edges.
TEST_F(IoApicTest, WhatNobodyEndsIsNeverALevel) {
    for (const auto mode : {DeliveryMode::smi, DeliveryMode::nmi, DeliveryMode::init, DeliveryMode::ext_int}) {
        bus.messages.clear();
        route(3, delivery(mode) | level);
        apic.set_pin(3, true);
        EXPECT_EQ(sent(), 1u);
        EXPECT_EQ(entry(3) & remote_irr, 0u);
        route(3, delivery(mode) | level);
        EXPECT_EQ(sent(), 1u) << "writing the entry is no edge";
        apic.set_pin(3, false);
    }
}

}  // namespace
}  // namespace bulkhead::guest
