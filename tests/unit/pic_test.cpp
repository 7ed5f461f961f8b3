// SPDX-License-Identifier: Apache-2.0
// The pair of interrupt controllers against the 8259A data sheet (231468), and ELCR against that of the 82371AB.
#include "guest/pic.hpp"

#include <gtest/gtest.h>

#include <optional>
#include <vector>

namespace bulkhead::guest {
namespace {

enum : std::uint16_t { master = 0x20, slave = 0xa0 };
enum Ocw2 : std::uint8_t {
    rotate_in_auto_eoi_clear = 0x00,
    eoi = 0x20,
    specific_eoi = 0x60,
    rotate_in_auto_eoi_set = 0x80,
    rotate_on_eoi = 0xa0,
    set_priority = 0xc0,
    rotate_on_specific_eoi = 0xe0,
};
enum Ocw3 : std::uint8_t {
    read_irr = 0x0a,
    read_isr = 0x0b,
    poll = 0x0c,
    special_mask_off = 0x48,
    special_mask_on = 0x68,
};
enum Icw4 : std::uint8_t { mode_8086 = 0x01, auto_eoi = 0x02, special_fully_nested = 0x10 };

class PicTest : public testing::Test {
  protected:
    PicTest() {
        pic.out(0x4d0, 2, 0);
        initialise(mode_8086, mode_8086);
    }

    void out(std::uint16_t port, std::uint8_t value) { pic.out(port, 1, value); }
    std::uint8_t in(std::uint16_t port) { return static_cast<std::uint8_t>(pic.in(port, 1)); }
    void initialise_one(std::uint16_t port, std::uint8_t vector, std::uint8_t icw3, std::uint8_t icw4) {
        out(port, 0x11);
        out(port + 1, vector);
        out(port + 1, icw3);
        out(port + 1, icw4);
    }
    void initialise(std::uint8_t master_icw4, std::uint8_t slave_icw4) {
        initialise_one(master, 0x20, 0x04, master_icw4);
        initialise_one(slave, 0x28, 0x02, slave_icw4);
        out(master + 1, 0);
        out(slave + 1, 0);
    }
    std::uint8_t irr(std::uint16_t port) {
        out(port, read_irr);
        return in(port);
    }
    std::uint8_t isr(std::uint16_t port) {
        out(port, read_isr);
        return in(port);
    }
    void pulse(unsigned irq) {
        pic.set_irq(irq, false);
        pic.set_irq(irq, true);
    }
    // Whether INTR falls with its request or waits for the acknowledge is not for software to see.
    bool nothing_or(unsigned spurious) {
        const auto vector = interrupt();
        return (!vector || *vector == spurious) && !intr();
    }
    bool intr() { return pic.intr().level(); }
    // What the processor does about INTR.
    std::optional<unsigned> interrupt() { return intr() ? std::optional<unsigned>{pic.acknowledge()} : std::nullopt; }

    PicPair pic;
};

// ---- initialisation

TEST_F(PicTest, TheVectorIsTheBaseAndTheInput) {
    for (unsigned irq = 0; irq < 16; ++irq) {
        if (irq == 2) continue;
        pic.set_irq(irq, true);
        EXPECT_EQ(interrupt(), 0x20 + irq);
        if (irq >= 8) out(slave, eoi);
        out(master, eoi);
        pic.set_irq(irq, false);
        EXPECT_FALSE(intr());
    }
}

TEST_F(PicTest, TheLowBitsOfTheVectorAreTheInputs) {
    initialise_one(master, 0x37, 0x04, mode_8086);
    pic.set_irq(1, true);
    EXPECT_EQ(interrupt(), 0x31u);
}

TEST_F(PicTest, Icw1ClearsTheMaskTheServiceAndTheEdges) {
    out(master + 1, 0xf0);
    pic.set_irq(1, true);
    EXPECT_EQ(interrupt(), 0x21u);
    pulse(1);
    out(master, specific_eoi | 1);
    ASSERT_EQ(irr(master), 0x02);
    pic.set_irq(3, true);
    initialise_one(master, 0x20, 0x04, mode_8086);
    EXPECT_EQ(in(master + 1), 0);
    EXPECT_EQ(in(master), 0) << "IRR is what is read, and an input that stays high is no edge";
    EXPECT_EQ(isr(master), 0);
    EXPECT_FALSE(intr());
    pulse(3);
    EXPECT_EQ(interrupt(), 0x23u);
}

TEST_F(PicTest, Icw1MakesInput7TheLowest) {
    out(master, set_priority | 3);
    initialise_one(master, 0x20, 0x04, mode_8086);
    pic.set_irq(4, true);
    pic.set_irq(0, true);
    EXPECT_EQ(interrupt(), 0x20u);
}

TEST_F(PicTest, NothingIsAskedForDuringInitialisation) {
    out(master, 0x11);
    pic.set_irq(1, true);
    EXPECT_FALSE(intr());
    out(master + 1, 0x40);
    out(master + 1, 0x04);
    EXPECT_FALSE(intr());
    out(master + 1, mode_8086);
    EXPECT_EQ(interrupt(), 0x41u);
}

TEST_F(PicTest, WithoutIcw4ItsFunctionsAreOff) {
    initialise(mode_8086 | auto_eoi, mode_8086);
    out(master, 0x10);
    out(master + 1, 0x50);
    out(master + 1, 0x04);
    out(master + 1, 0xfd);  // OCW1 already
    EXPECT_EQ(in(master + 1), 0xfd);
    pic.set_irq(1, true);
    EXPECT_EQ(interrupt(), 0x51u);
    EXPECT_EQ(isr(master), 0x02) << "no automatic EOI";
}

TEST_F(PicTest, ASingleOneHasNoIcw3) {
    out(master, 0x13);
    out(master + 1, 0x60);
    out(master + 1, mode_8086 | auto_eoi);
    out(master + 1, 0x80);
    EXPECT_EQ(in(master + 1), 0x80);
    pic.set_irq(5, true);
    EXPECT_EQ(interrupt(), 0x65u);
    EXPECT_EQ(isr(master), 0);
}

// ---- requests

TEST_F(PicTest, AnEdgeAsksOnce) {
    pic.set_irq(4, true);
    EXPECT_EQ(irr(master), 0x10);
    EXPECT_EQ(interrupt(), 0x24u);
    EXPECT_EQ(irr(master), 0);
    out(master, eoi);
    EXPECT_FALSE(intr());
    pulse(4);
    EXPECT_EQ(interrupt(), 0x24u);
}

TEST_F(PicTest, ALevelAsksAsLongAsItLasts) {
    out(0x4d0, 1 << 5);
    pic.set_irq(5, true);
    for (int i = 0; i < 3; ++i) {
        EXPECT_EQ(interrupt(), 0x25u);
        EXPECT_FALSE(intr()) << "in service";
        out(master, eoi);
    }
    ASSERT_TRUE(intr());
    pic.set_irq(5, false);
    EXPECT_TRUE(nothing_or(0x27));
    EXPECT_EQ(isr(master), 0);
}

TEST_F(PicTest, ALevelOfTheSlaveAsksAsLongAsItLasts) {
    out(0x4d1, 1 << 3);
    pic.set_irq(11, true);
    for (int i = 0; i < 3; ++i) {
        EXPECT_EQ(interrupt(), 0x2bu);
        out(slave, eoi);
        out(master, eoi);
    }
    pic.set_irq(11, false);
    EXPECT_TRUE(nothing_or(0x2f));
    EXPECT_EQ(isr(slave), 0);
}

TEST_F(PicTest, ElcrLeavesTheInputsThatAreEdges) {
    out(0x4d0, 0xff);
    out(0x4d1, 0xff);
    EXPECT_EQ(in(0x4d0), 0xf8) << "0, 1 and 2";
    EXPECT_EQ(in(0x4d1), 0xde) << "8 and 13";
}

TEST_F(PicTest, TheMaskHoldsBackAndDoesNotForget) {
    out(master + 1, 0x10);
    pic.set_irq(4, true);
    EXPECT_FALSE(intr());
    EXPECT_EQ(irr(master), 0x10);
    out(master + 1, 0);
    EXPECT_EQ(interrupt(), 0x24u);
}

TEST_F(PicTest, TheMaskOfTheCascadeHoldsBackTheSlave) {
    out(master + 1, 0x04);
    pic.set_irq(12, true);
    EXPECT_FALSE(intr());
    out(master + 1, 0);
    EXPECT_EQ(interrupt(), 0x2cu);
}

TEST_F(PicTest, ARequestThatIsGoneIsSpurious) {
    pic.set_irq(4, true);
    ASSERT_TRUE(intr());
    pic.set_irq(4, false);
    EXPECT_EQ(pic.acknowledge(), 0x27);
    EXPECT_EQ(isr(master), 0) << "a spurious interrupt is not in service";
    EXPECT_FALSE(intr());
    pulse(7);
    EXPECT_EQ(interrupt(), 0x27u);
    EXPECT_EQ(isr(master), 0x80) << "a true one is";
}

TEST_F(PicTest, ARequestOfTheSlaveThatIsGoneIsSpurious) {
    pic.set_irq(12, true);
    ASSERT_TRUE(intr());
    pic.set_irq(12, false);
    const unsigned vector = pic.acknowledge();
    EXPECT_TRUE(vector == 0x27 || vector == 0x2f) << vector << ": of who found it gone";
    EXPECT_EQ(isr(slave), 0);
    EXPECT_EQ(isr(master), vector == 0x2f ? 0x04 : 0) << "the master served its input 2";
    out(master, eoi);
    pic.set_irq(12, true);
    EXPECT_EQ(interrupt(), 0x2cu);
}

TEST_F(PicTest, InputsFromAllSidesKeepTheirOrder) {
    for (const unsigned irq : {7u, 15u, 3u, 8u, 0u, 12u}) pic.set_irq(irq, true);
    std::vector<unsigned> order;
    while (const auto vector = interrupt()) {
        order.push_back(*vector - 0x20);
        if (order.back() >= 8) out(slave, eoi);
        out(master, eoi);
    }
    EXPECT_EQ(order, (std::vector<unsigned>{0, 8, 12, 15, 3, 7}));
}

// ---- priority and end of interrupt

TEST_F(PicTest, OnlyAHigherPriorityInterruptsService) {
    pic.set_irq(3, true);
    ASSERT_EQ(interrupt(), 0x23u);
    pic.set_irq(5, true);
    EXPECT_FALSE(intr());
    pic.set_irq(1, true);
    EXPECT_EQ(interrupt(), 0x21u);
    EXPECT_EQ(isr(master), 0x0a);
    out(master, eoi);
    EXPECT_EQ(isr(master), 0x08) << "the highest in service is ended";
    EXPECT_FALSE(intr());
    out(master, eoi);
    EXPECT_EQ(interrupt(), 0x25u);
}

TEST_F(PicTest, ASpecificEoiEndsTheOneItNames) {
    pic.set_irq(6, true);
    ASSERT_EQ(interrupt(), 0x26u);
    pic.set_irq(1, true);
    ASSERT_EQ(interrupt(), 0x21u);
    out(master, specific_eoi | 6);
    EXPECT_EQ(isr(master), 0x02);
}

TEST_F(PicTest, TheSlavesServiceIsTheCascadesInTheMaster) {
    pic.set_irq(9, true);
    ASSERT_EQ(interrupt(), 0x29u);
    EXPECT_EQ(isr(master), 0x04);
    EXPECT_EQ(isr(slave), 0x02);
    pic.set_irq(3, true);
    EXPECT_FALSE(intr());
    out(slave, eoi);
    EXPECT_FALSE(intr());
    out(master, eoi);
    EXPECT_EQ(interrupt(), 0x23u);
}

TEST_F(PicTest, FullyNestedTheSlaveIsLockedOutUntilTheMastersEoi) {
    pic.set_irq(12, true);
    ASSERT_EQ(interrupt(), 0x2cu);
    pic.set_irq(8, true);
    EXPECT_FALSE(intr());
    out(master, eoi);
    EXPECT_EQ(interrupt(), 0x28u);
}

TEST_F(PicTest, SpecialFullyNestedTheSlaveMayAskAgain) {
    initialise(mode_8086 | special_fully_nested, mode_8086);
    pic.set_irq(12, true);
    ASSERT_EQ(interrupt(), 0x2cu);
    pic.set_irq(13, true);
    EXPECT_FALSE(intr()) << "not higher in the slave";
    pic.set_irq(8, true);
    EXPECT_EQ(interrupt(), 0x28u);
}

TEST_F(PicTest, SetPriorityTurnsTheOrder) {
    out(master, set_priority | 4);  // 5 is the highest now
    for (unsigned irq = 0; irq < 8; ++irq)
        if (irq != 2) pic.set_irq(irq, true);
    for (const unsigned irq : {5u, 6u, 7u, 0u, 1u, 3u, 4u}) {
        EXPECT_EQ(interrupt(), 0x20 + irq);
        out(master, eoi);
    }
}

TEST_F(PicTest, RotateOnNonSpecificEoiMakesTheEndedOneTheLowest) {
    pic.set_irq(3, true);
    ASSERT_EQ(interrupt(), 0x23u);
    out(master, rotate_on_eoi);
    EXPECT_EQ(isr(master), 0);
    pulse(3);
    pic.set_irq(4, true);
    EXPECT_EQ(interrupt(), 0x24u);
}

TEST_F(PicTest, RotateOnSpecificEoiMakesTheNamedOneTheLowest) {
    pic.set_irq(0, true);
    ASSERT_EQ(interrupt(), 0x20u);
    out(master, rotate_on_specific_eoi | 0);
    pulse(0);
    pic.set_irq(7, true);
    EXPECT_EQ(interrupt(), 0x27u);
}

TEST_F(PicTest, Ocw2WithoutAnOperationDoesNothing) {
    pic.set_irq(3, true);
    ASSERT_EQ(interrupt(), 0x23u);
    out(master, 0x40 | 3);
    EXPECT_EQ(isr(master), 0x08);
}

TEST_F(PicTest, AutoEoiLeavesNothingInService) {
    initialise(mode_8086 | auto_eoi, mode_8086);
    pic.set_irq(3, true);
    EXPECT_EQ(interrupt(), 0x23u);
    EXPECT_EQ(isr(master), 0);
    pic.set_irq(6, true);
    EXPECT_EQ(interrupt(), 0x26u);
}

TEST_F(PicTest, AutoEoiRotatesWhenTold) {
    initialise(mode_8086 | auto_eoi, mode_8086);
    out(master, rotate_in_auto_eoi_set);
    pic.set_irq(3, true);
    ASSERT_EQ(interrupt(), 0x23u);
    pulse(3);
    pic.set_irq(5, true);
    EXPECT_EQ(interrupt(), 0x25u);
    EXPECT_EQ(interrupt(), 0x23u);
    out(master, rotate_in_auto_eoi_clear);
    pulse(5);
    EXPECT_EQ(interrupt(), 0x25u);
    pulse(5);
    pulse(4);
    EXPECT_EQ(interrupt(), 0x24u) << "3 is the lowest, as it stood";
}

TEST_F(PicTest, AutoEoiOfTheSlaveLeavesItsSecondRequest) {
    initialise(mode_8086 | auto_eoi, mode_8086 | auto_eoi);
    pic.set_irq(8, true);
    pic.set_irq(9, true);
    EXPECT_EQ(interrupt(), 0x28u);
    EXPECT_EQ(interrupt(), 0x29u);
    EXPECT_EQ(interrupt(), std::nullopt);
}

TEST_F(PicTest, SpecialMaskModeLetsLowerPrioritiesIn) {
    pic.set_irq(3, true);
    ASSERT_EQ(interrupt(), 0x23u);
    pic.set_irq(5, true);
    ASSERT_FALSE(intr());
    out(master + 1, 0x08);
    out(master, special_mask_on);
    EXPECT_EQ(interrupt(), 0x25u);
    out(master, eoi);
    EXPECT_EQ(isr(master), 0x08) << "a non-specific EOI passes over what is masked";
    pulse(6);
    EXPECT_EQ(interrupt(), 0x26u);
    out(master, specific_eoi | 6);
    out(master, special_mask_off);
    pulse(7);
    EXPECT_FALSE(intr());
    out(master, eoi);
    EXPECT_EQ(interrupt(), 0x27u);
}

TEST_F(PicTest, Ocw3WithoutEsmmLeavesTheSpecialMaskMode) {
    pic.set_irq(3, true);
    ASSERT_EQ(interrupt(), 0x23u);
    out(master + 1, 0x08);
    out(master, special_mask_on);
    out(master, 0x08);
    pic.set_irq(5, true);
    EXPECT_TRUE(intr());
}

// ---- reading

TEST_F(PicTest, TheRegisterToReadIsKept) {
    pic.set_irq(3, true);
    ASSERT_EQ(interrupt(), 0x23u);
    pulse(1);
    out(master, read_isr);
    EXPECT_EQ(in(master), 0x08);
    EXPECT_EQ(in(master), 0x08);
    out(master, read_irr);
    EXPECT_EQ(in(master), 0x02);
    out(master, 0x08);
    EXPECT_EQ(in(master), 0x02);
}

TEST_F(PicTest, APollIsAnAcknowledge) {
    pic.set_irq(5, true);
    out(master, poll);
    EXPECT_EQ(in(master), 0x85);
    EXPECT_FALSE(intr());
    EXPECT_EQ(isr(master), 0x20);
    out(master, poll);
    EXPECT_EQ(in(master) & 0x80, 0) << "nothing asks";
    EXPECT_EQ(in(master), 0x20) << "one read a poll";
}

TEST_F(PicTest, APollOfBothFindsTheSlavesRequest) {
    pic.set_irq(14, true);
    out(master, poll);
    EXPECT_EQ(in(master), 0x82);
    out(slave, poll);
    EXPECT_EQ(in(slave), 0x86);
    EXPECT_EQ(isr(slave), 0x40);
    EXPECT_FALSE(intr());
}

TEST_F(PicTest, AWordWritesBothRegisters) {
    pic.out(master, 2, 0x5a00 | read_isr);
    EXPECT_EQ(in(master + 1), 0x5a);
    EXPECT_EQ(pic.in(0x4d0, 2), 0u);
}

}  // namespace
}  // namespace bulkhead::guest
