// SPDX-License-Identifier: Apache-2.0
// The I/O APIC after Intel's 82093AA data sheet (order 290566), with the EOI register of later ones.
#include "guest/ioapic.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace bulkhead::guest {
namespace {

using isa::apic::DeliveryMode;
using isa::apic::DestinationMode;
using isa::apic::TriggerMode;

class FakeBus final : public InterruptBus {
  public:
    bool deliver(const InterruptMessage& message) override {
        if (accepting) messages.push_back(message);
        return accepting;
    }
    std::vector<InterruptMessage> messages;
    bool accepting = true;
};

class IoApicTest : public testing::Test {
  protected:
    static constexpr std::uint32_t active_low = 1u << 13, remote_irr = 1u << 14, level = 1u << 15, masked = 1u << 16;

    std::uint32_t read(std::uint8_t index) {
        ioapic.write(0x00, 4, index);
        return static_cast<std::uint32_t>(ioapic.read(0x10, 4));
    }
    void write(std::uint8_t index, std::uint32_t value) {
        ioapic.write(0x00, 4, index);
        ioapic.write(0x10, 4, value);
    }
    static std::uint8_t low(unsigned pin) { return static_cast<std::uint8_t>(0x10 + 2 * pin); }
    static std::uint8_t high(unsigned pin) { return static_cast<std::uint8_t>(0x11 + 2 * pin); }
    void pulse(unsigned pin) {
        ioapic.set_pin(pin, true);
        ioapic.set_pin(pin, false);
    }
    std::size_t sent() const { return bus.messages.size(); }

    FakeBus bus;
    IoApic ioapic{bus, 0xff'0000};
};

TEST_F(IoApicTest, Registers) {
    EXPECT_EQ(read(0x01), 0x0017'0020u);
    EXPECT_EQ(read(0x00), 0u);
    write(0x00, 0xffff'ffff);
    EXPECT_EQ(read(0x00), 0x0f00'0000u);
    EXPECT_EQ(read(0x02), 0x0f00'0000u) << "the arbitration ID follows the ID";
    write(0x01, 0);
    EXPECT_EQ(read(0x01), 0x0017'0020u);
    EXPECT_EQ(read(0x0f), 0u);
    EXPECT_EQ(read(0x40), 0u) << "past the 24 entries";
    write(0x40, ~0u);
    EXPECT_EQ(ioapic.read(0x00, 4), 0x40u);
    EXPECT_EQ(ioapic.read(0x20, 4), 0u);
}

TEST_F(IoApicTest, EntriesAfterResetAreMasked) {
    for (unsigned pin = 0; pin < 24; ++pin) {
        EXPECT_EQ(read(low(pin)), masked);
        EXPECT_EQ(read(high(pin)), 0u);
        EXPECT_TRUE(ioapic.masked(pin));
    }
}

TEST_F(IoApicTest, ReadOnlyBitsOfAnEntry) {
    for (unsigned pin = 0; pin < 24; ++pin) {
        write(low(pin), 0xffff'ffff);
        write(high(pin), 0xffff'ffff);
        EXPECT_EQ(read(low(pin)), 0x0001'afffu);
        EXPECT_EQ(read(high(pin)), 0xff00'0000u);
    }
}

TEST_F(IoApicTest, TheWindowTakes32Bits) {
    write(high(3), 0x1200'0000);
    ioapic.write(0x10, 1, 0xff);
    ioapic.write(0x10, 2, 0xffff);
    EXPECT_EQ(read(high(3)), 0x1200'0000u);
    EXPECT_EQ(ioapic.read(0x13, 1), 0x12u);
    ioapic.write(0x00, 1, 0x01);
    EXPECT_EQ(ioapic.read(0x10, 4), 0x0017'0020u) << "the index takes 8 bits";
}

TEST_F(IoApicTest, AMessageIsWhatTheEntrySays) {
    const DeliveryMode modes[] = {DeliveryMode::fixed, DeliveryMode::lowest_priority,
                                  DeliveryMode::smi,   DeliveryMode::nmi,
                                  DeliveryMode::init,  DeliveryMode::ext_int};
    for (const DeliveryMode mode : modes) {
        write(high(5), 0xa700'0000);
        write(low(5), 0x51u | static_cast<std::uint32_t>(mode) << 8 | 1u << 11);
        bus.messages.clear();
        pulse(5);
        ASSERT_EQ(sent(), 1u);
        EXPECT_EQ(bus.messages[0].delivery, mode);
        EXPECT_EQ(bus.messages[0].destination, 0xa7u);
        EXPECT_EQ(bus.messages[0].destination_mode, DestinationMode::logical);
        EXPECT_EQ(bus.messages[0].trigger, TriggerMode::edge);
        EXPECT_EQ(bus.messages[0].vector, 0x51);
    }
}

TEST_F(IoApicTest, EachRisingEdgeIsOneMessage) {
    write(low(4), 0x44);
    ioapic.set_pin(4, true);
    ioapic.set_pin(4, true);
    EXPECT_EQ(sent(), 1u);
    ioapic.set_pin(4, false);
    EXPECT_EQ(sent(), 1u);
    ioapic.set_pin(4, true);
    EXPECT_EQ(sent(), 2u);
    EXPECT_EQ(read(low(4)), 0x44u) << "no remote IRR";
}

TEST_F(IoApicTest, AnEdgeOnAMaskedPinIsLost) {
    write(low(4), 0x44 | masked);
    ioapic.set_pin(4, true);
    write(low(4), 0x44);
    EXPECT_EQ(sent(), 0u);
    ioapic.set_pin(4, false);
    ioapic.set_pin(4, true);
    EXPECT_EQ(sent(), 1u);
}

TEST_F(IoApicTest, ALevelLastsUntilItsEnd) {
    write(low(9), 0x49 | level);
    ioapic.set_pin(9, true);
    ASSERT_EQ(sent(), 1u);
    EXPECT_EQ(bus.messages[0].trigger, TriggerMode::level);
    EXPECT_EQ(read(low(9)), 0x49 | level | remote_irr);
    ioapic.set_pin(9, false);
    ioapic.set_pin(9, true);
    EXPECT_EQ(sent(), 1u) << "remote IRR holds back";
    ioapic.end_of_interrupt(0x50);
    EXPECT_EQ(sent(), 1u) << "another vector";
    ioapic.end_of_interrupt(0x49);
    EXPECT_EQ(sent(), 2u) << "still asserted";
    ioapic.set_pin(9, false);
    ioapic.end_of_interrupt(0x49);
    EXPECT_EQ(sent(), 2u);
    EXPECT_EQ(read(low(9)), 0x49 | level);
}

TEST_F(IoApicTest, ALevelIsStillThereWhenItIsUnmasked) {
    write(low(9), 0x49 | level | masked);
    ioapic.set_pin(9, true);
    EXPECT_EQ(sent(), 0u);
    write(low(9), 0x49 | level);
    EXPECT_EQ(sent(), 1u);
    write(low(9), 0x49 | level | masked);
    ioapic.end_of_interrupt(0x49);
    EXPECT_EQ(read(low(9)), 0x49 | level | masked) << "an end clears remote IRR of a masked pin, too";
    EXPECT_EQ(sent(), 1u);
    write(low(9), 0x49 | level);
    EXPECT_EQ(sent(), 2u);
}

TEST_F(IoApicTest, EveryPinWithTheVectorIsEnded) {
    for (const unsigned pin : {9u, 10u}) {
        write(low(pin), 0x49 | level);
        ioapic.set_pin(pin, true);
        ioapic.set_pin(pin, false);
    }
    ioapic.end_of_interrupt(0x49);
    EXPECT_EQ(read(low(9)), 0x49 | level);
    EXPECT_EQ(read(low(10)), 0x49 | level);
}

TEST_F(IoApicTest, TheEoiRegister) {
    write(low(9), 0x49 | level);
    ioapic.set_pin(9, true);
    ioapic.set_pin(9, false);
    ioapic.write(0x40, 4, 0x49);
    EXPECT_EQ(read(low(9)), 0x49 | level);
}

TEST_F(IoApicTest, SwitchingToEdgeClearsTheRemoteIrr) {
    write(low(9), 0x49 | level);
    ioapic.set_pin(9, true);
    write(low(9), 0x49 | masked);
    EXPECT_EQ(read(low(9)), 0x49 | masked);
    write(low(9), 0x49 | level);
    EXPECT_EQ(sent(), 2u);
}

TEST_F(IoApicTest, SoftwareCannotWriteTheRemoteIrr) {
    write(low(9), 0x49 | level | remote_irr);
    EXPECT_EQ(read(low(9)), 0x49 | level);
    ioapic.set_pin(9, true);
    write(low(9), 0x49 | level);
    EXPECT_EQ(read(low(9)), 0x49 | level | remote_irr);
    EXPECT_EQ(sent(), 1u);
}

TEST_F(IoApicTest, ActiveLow) {
    write(low(6), 0x46 | active_low | masked);
    ioapic.set_pin(6, true);
    write(low(6), 0x46 | active_low);
    EXPECT_EQ(sent(), 0u);
    ioapic.set_pin(6, false);
    EXPECT_EQ(sent(), 1u) << "the falling edge";
    ioapic.set_pin(6, true);
    EXPECT_EQ(sent(), 1u);
    write(low(18), 0x52 | active_low | level);
    EXPECT_EQ(sent(), 1u) << "PCI's pins idle high";
    ioapic.set_pin(18, false);
    EXPECT_EQ(sent(), 2u);
}

TEST_F(IoApicTest, ALevelThatNobodyTakesHasNoRemoteIrr) {
    bus.accepting = false;
    write(low(9), 0x49 | level);
    ioapic.set_pin(9, true);
    EXPECT_EQ(read(low(9)), 0x49 | level);
    bus.accepting = true;
    write(high(9), 0x0100'0000);
    EXPECT_EQ(sent(), 1u);
    EXPECT_EQ(read(low(9)), 0x49 | level | remote_irr);
}

TEST_F(IoApicTest, AnEdgeThatNobodyTakesIsPending) {
    bus.accepting = false;
    write(low(4), 0x44);
    pulse(4);
    EXPECT_EQ(read(low(4)), 0x44u | 1u << 12) << "delivery status: send pending";
    bus.accepting = true;
    write(high(4), 0x0100'0000);
    EXPECT_EQ(sent(), 1u);
    EXPECT_EQ(read(low(4)), 0x44u);
    bus.accepting = false;
    pulse(4);
    write(low(4), 0x44 | masked);
    bus.accepting = true;
    write(low(4), 0x44);
    EXPECT_EQ(sent(), 1u) << "masking takes it back";
}

TEST_F(IoApicTest, NmiAndExtIntAreEdgesWhateverTheEntrySays) {
    for (const unsigned mode : {4u, 7u}) {
        write(low(3), level | mode << 8);
        pulse(3);
        pulse(3);
        EXPECT_EQ(read(low(3)), level | mode << 8);
    }
    EXPECT_EQ(sent(), 4u);
}

class MaskWatcher {
  public:
    void changed() { ++changes; }
    int changes = 0;
};

TEST_F(IoApicTest, TellsWhenAMaskChanges) {
    MaskWatcher watcher;
    ioapic.on_mask_change(Delegate<void()>::to<&MaskWatcher::changed>(&watcher));
    write(low(2), 0x42);
    EXPECT_EQ(watcher.changes, 1);
    write(low(2), 0x43);
    EXPECT_EQ(watcher.changes, 1);
    write(low(2), 0x43 | masked);
    EXPECT_EQ(watcher.changes, 2);
}

}  // namespace
}  // namespace bulkhead::guest
