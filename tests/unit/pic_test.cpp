// SPDX-License-Identifier: Apache-2.0
// The pair of 8259As after Intel's data sheet (order 231468), as a PC wires them.
#include "guest/pic.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace bulkhead::guest {
namespace {

class PicTest : public testing::Test {
  protected:
    static constexpr std::uint16_t master = 0x20, slave = 0xa0;
    static constexpr std::uint8_t non_specific_eoi = 0x20, specific_eoi = 0x60, rotate_on_eoi = 0xa0,
                                  rotate_on_specific_eoi = 0xe0, set_priority = 0xc0, rotate_in_auto_eoi = 0x80,
                                  stop_rotating_in_auto_eoi = 0x00, set_special_mask = 0x68, reset_special_mask = 0x48,
                                  poll = 0x0c, read_irr = 0x0a, read_isr = 0x0b;

    PicTest() { initialize(0x01); }

    void initialize(std::uint8_t icw4) {
        initialize(master, 0x30, 0x04, icw4);
        initialize(slave, 0x38, 0x02, icw4);
    }
    void initialize(std::uint16_t port, std::uint8_t icw2, std::uint8_t icw3, std::uint8_t icw4) {
        out(port, 0x11);
        out(port + 1, icw2);
        out(port + 1, icw3);
        out(port + 1, icw4);
    }
    void out(int port, std::uint8_t value) { pic.out(static_cast<std::uint16_t>(port), 1, value); }
    std::uint8_t in(int port) { return static_cast<std::uint8_t>(pic.in(static_cast<std::uint16_t>(port), 1)); }
    std::uint8_t irr(std::uint16_t port) {
        out(port, read_irr);
        return in(port);
    }
    std::uint8_t isr(std::uint16_t port) {
        out(port, read_isr);
        return in(port);
    }
    bool intr() { return pic.intr().level(); }
    void raise(unsigned irq) { pic.set_irq(irq, true); }
    void lower(unsigned irq) { pic.set_irq(irq, false); }
    void pulse(unsigned irq) {
        lower(irq);
        raise(irq);
    }

    PicPair pic;
};

// ---- requests, priorities, ends

TEST_F(PicTest, VectorsOfAllInputs) {
    for (unsigned irq = 0; irq < 16; ++irq) {
        if (irq == 2) continue;
        raise(irq);
        EXPECT_TRUE(intr()) << irq;
        EXPECT_EQ(pic.acknowledge(), 0x30 + irq);
        EXPECT_FALSE(intr());
        if (irq >= 8) {
            EXPECT_EQ(isr(slave), 1 << (irq - 8));
            EXPECT_EQ(isr(master), 1 << 2);
            out(slave, non_specific_eoi);
        } else {
            EXPECT_EQ(isr(master), 1 << irq);
        }
        out(master, non_specific_eoi);
        EXPECT_EQ(isr(master) | isr(slave), 0);
        lower(irq);
    }
}

TEST_F(PicTest, TheCascadeInputHasNoDevice) {
    raise(2);
    EXPECT_FALSE(intr());
    EXPECT_EQ(irr(master), 0);
}

TEST_F(PicTest, FullyNested) {
    raise(5);
    raise(3);
    EXPECT_EQ(pic.acknowledge(), 0x33);
    EXPECT_FALSE(intr()) << "5 waits for the end of 3";
    raise(1);
    EXPECT_TRUE(intr());
    EXPECT_EQ(pic.acknowledge(), 0x31);
    out(master, non_specific_eoi);
    EXPECT_EQ(isr(master), 1 << 3) << "the end is of the highest";
    EXPECT_FALSE(intr());
    out(master, non_specific_eoi);
    EXPECT_EQ(pic.acknowledge(), 0x35);
}

TEST_F(PicTest, TheSlaveRanksBetween1And3) {
    raise(3);
    raise(8);
    EXPECT_EQ(pic.acknowledge(), 0x38);
    EXPECT_FALSE(intr());
    raise(1);
    EXPECT_EQ(pic.acknowledge(), 0x31);
    out(master, non_specific_eoi);
    out(slave, non_specific_eoi);
    EXPECT_FALSE(intr());
    out(master, non_specific_eoi);
    EXPECT_EQ(pic.acknowledge(), 0x33);
}

TEST_F(PicTest, ASecondRequestOfTheSlaveNeedsBothEnds) {
    raise(12);
    EXPECT_EQ(pic.acknowledge(), 0x3c);
    raise(9);
    EXPECT_FALSE(intr()) << "the master has 2 in service";
    out(master, non_specific_eoi);
    EXPECT_TRUE(intr());
    EXPECT_EQ(pic.acknowledge(), 0x39);
}

TEST_F(PicTest, AnEdgeIsOneInterrupt) {
    raise(4);
    EXPECT_EQ(pic.acknowledge(), 0x34);
    out(master, non_specific_eoi);
    EXPECT_FALSE(intr()) << "still high";
    pulse(4);
    EXPECT_TRUE(intr());
}

TEST_F(PicTest, OneEdgeIsRememberedWhileOneIsInService) {
    raise(4);
    pic.acknowledge();
    pulse(4);
    pulse(4);
    out(master, non_specific_eoi);
    EXPECT_EQ(pic.acknowledge(), 0x34);
    out(master, non_specific_eoi);
    EXPECT_FALSE(intr());
}

TEST_F(PicTest, MaskedRequestsWait) {
    out(master + 1, 0x10);
    EXPECT_EQ(in(master + 1), 0x10);
    raise(4);
    EXPECT_FALSE(intr());
    EXPECT_EQ(irr(master), 0x10);
    out(master + 1, 0x00);
    EXPECT_TRUE(intr());
    out(master + 1, 0x10);
    EXPECT_FALSE(intr());
}

TEST_F(PicTest, SpecificEnd) {
    raise(5);
    pic.acknowledge();
    raise(3);
    pic.acknowledge();
    out(master, specific_eoi | 5);
    EXPECT_EQ(isr(master), 1 << 3);
    out(master, specific_eoi | 5);
    EXPECT_EQ(isr(master), 1 << 3);
}

// ---- a request that is gone: default IR7

TEST_F(PicTest, Spurious7) {
    raise(4);
    lower(4);
    EXPECT_TRUE(intr()) << "INT has been given";
    EXPECT_EQ(pic.acknowledge(), 0x37);
    EXPECT_EQ(isr(master), 0) << "nothing is in service";
    EXPECT_FALSE(intr());
}

TEST_F(PicTest, Spurious15) {
    raise(12);
    lower(12);
    EXPECT_EQ(pic.acknowledge(), 0x3f);
    EXPECT_EQ(isr(slave), 0);
    EXPECT_EQ(isr(master), 1 << 2) << "the master does not know";
    out(master, non_specific_eoi);
    EXPECT_FALSE(intr());
}

TEST_F(PicTest, ATrue7IsInService) {
    raise(7);
    EXPECT_EQ(pic.acknowledge(), 0x37);
    EXPECT_EQ(isr(master), 0x80);
}

// ---- level triggering

TEST_F(PicTest, LevelsAskAgain) {
    out(0x4d0, 0x20);
    raise(5);
    EXPECT_EQ(pic.acknowledge(), 0x35);
    EXPECT_EQ(irr(master), 0x20) << "the request is the input";
    out(master, non_specific_eoi);
    EXPECT_EQ(pic.acknowledge(), 0x35);
    lower(5);
    out(master, non_specific_eoi);
    EXPECT_FALSE(intr());
    EXPECT_EQ(irr(master), 0);
}

TEST_F(PicTest, ElcrHasNoBitsForTheOldInterrupts) {
    out(0x4d0, 0xff);
    out(0x4d1, 0xff);
    EXPECT_EQ(in(0x4d0), 0xf8);
    EXPECT_EQ(in(0x4d1), 0xde);
    EXPECT_EQ(pic.in(0x4d0, 2), 0xdef8u);
    out(0x4d1, 0x04);
    raise(10);
    EXPECT_EQ(pic.acknowledge(), 0x3a);
    out(slave, non_specific_eoi);
    out(master, non_specific_eoi);
    EXPECT_TRUE(intr());
}

// ---- rotation

TEST_F(PicTest, RotateOnNonSpecificEoi) {
    raise(4);
    pic.acknowledge();
    out(master, rotate_on_eoi);
    raise(3);
    pulse(4);
    raise(6);
    EXPECT_EQ(pic.acknowledge(), 0x36) << "5, 6, 7, 0, ... 4";
    out(master, non_specific_eoi);
    EXPECT_EQ(pic.acknowledge(), 0x33);
    EXPECT_FALSE(intr()) << "4 is the lowest now";
}

TEST_F(PicTest, SetPriorityAndRotateOnSpecificEoi) {
    out(master, set_priority | 5);
    raise(0);
    raise(6);
    EXPECT_EQ(pic.acknowledge(), 0x36);
    pulse(6);
    out(master, rotate_on_specific_eoi | 6);
    raise(7);
    EXPECT_EQ(pic.acknowledge(), 0x37) << "7 is the highest";
    raise(3);
    EXPECT_FALSE(intr());
    out(master, non_specific_eoi);
    EXPECT_EQ(pic.acknowledge(), 0x30);
    out(master, non_specific_eoi);
    out(master + 1, 0x08);
    EXPECT_EQ(pic.acknowledge(), 0x36) << "6 is the lowest";
}

TEST_F(PicTest, AutomaticEnd) {
    initialize(0x03);
    raise(3);
    EXPECT_EQ(pic.acknowledge(), 0x33);
    EXPECT_EQ(isr(master), 0);
    raise(5);
    EXPECT_EQ(pic.acknowledge(), 0x35) << "nothing is in service";
    raise(12);
    EXPECT_EQ(pic.acknowledge(), 0x3c);
    EXPECT_EQ(isr(master) | isr(slave), 0);
    pulse(12);
    raise(14);
    EXPECT_EQ(pic.acknowledge(), 0x3c);
    EXPECT_EQ(pic.acknowledge(), 0x3e) << "the slave's INT makes an edge for each";
    EXPECT_FALSE(intr());
}

TEST_F(PicTest, RotateInAutomaticEoiMode) {
    initialize(0x03);
    out(master, rotate_in_auto_eoi);
    raise(3);
    pic.acknowledge();
    pulse(3);
    raise(6);
    EXPECT_EQ(pic.acknowledge(), 0x36);
    EXPECT_EQ(pic.acknowledge(), 0x33);
    out(master, stop_rotating_in_auto_eoi);
    pulse(4);
    pic.acknowledge();
    pulse(4);
    pulse(5);
    EXPECT_EQ(pic.acknowledge(), 0x34) << "priorities stay as they are: 4, 5, ...";
}

// ---- special modes

TEST_F(PicTest, SpecialMaskMode) {
    raise(3);
    pic.acknowledge();
    raise(5);
    EXPECT_FALSE(intr());
    out(master + 1, 1 << 3);
    EXPECT_FALSE(intr());
    out(master, set_special_mask);
    EXPECT_TRUE(intr()) << "what is in service and masked holds back nothing";
    EXPECT_EQ(pic.acknowledge(), 0x35);
    raise(6);
    EXPECT_FALSE(intr()) << "5 is not masked";
    out(master, non_specific_eoi);
    EXPECT_EQ(isr(master), 1 << 3);
    out(master, non_specific_eoi);
    EXPECT_EQ(isr(master), 1 << 3) << "a masked level is not ended by a non-specific EOI";
    out(master, specific_eoi | 3);
    EXPECT_EQ(isr(master), 0);
    out(master, reset_special_mask);
}

TEST_F(PicTest, SpecialMaskModeNeedsItsEnable) {
    raise(3);
    pic.acknowledge();
    out(master + 1, 1 << 3);
    raise(5);
    out(master, 0x28);  // SMM without ESMM
    EXPECT_FALSE(intr());
}

TEST_F(PicTest, SpecialFullyNestedMode) {
    initialize(master, 0x30, 0x04, 0x11);
    raise(12);
    pic.acknowledge();
    raise(9);
    EXPECT_TRUE(intr()) << "a higher request of the slave passes";
    EXPECT_EQ(pic.acknowledge(), 0x39);
    raise(14);
    EXPECT_FALSE(intr()) << "a lower one does not";
    raise(3);
    EXPECT_FALSE(intr()) << "nor does what ranks below the slave";
    raise(1);
    EXPECT_TRUE(intr());
}

TEST_F(PicTest, Poll) {
    out(master + 1, 0x00);
    out(master, poll);
    EXPECT_EQ(in(master)&0x80, 0) << "nothing to do";
    raise(5);
    raise(3);
    out(master, poll);
    EXPECT_EQ(in(master), 0x83);
    EXPECT_EQ(isr(master), 1 << 3) << "a poll is an acknowledge";
    EXPECT_FALSE(intr());
    raise(12);
    out(slave, poll);
    EXPECT_EQ(in(slave + 1), 0x84) << "at either address";
    EXPECT_EQ(in(slave + 1), 0x00) << "once";
}

TEST_F(PicTest, APollInAutomaticEoiModeEndsWhatItTakes) {
    initialize(0x03);
    out(master + 1, 0x00);
    out(slave + 1, 0x00);
    raise(5);
    raise(3);
    out(master, poll);
    EXPECT_EQ(in(master), 0x83);
    EXPECT_EQ(isr(master), 0) << "nothing stays in service";
    EXPECT_TRUE(intr()) << "so the lower one asks";
    out(master, poll);
    EXPECT_EQ(in(master), 0x85);
    EXPECT_FALSE(intr());
    out(master, poll);
    EXPECT_EQ(in(master) & 0x80, 0);
    // The slave is polled after the master has told of it; its INT falls and rises for the next one.
    raise(10);
    raise(12);
    out(master, poll);
    EXPECT_EQ(in(master), 0x82);
    out(slave, poll);
    EXPECT_EQ(in(slave), 0x82);
    EXPECT_EQ(isr(master) | isr(slave), 0);
    EXPECT_TRUE(intr()) << "the slave asks anew";
    EXPECT_EQ(pic.acknowledge(), 0x3c);
    EXPECT_FALSE(intr());
}

TEST_F(PicTest, APollRotatesInAutomaticEoiMode) {
    initialize(0x03);
    out(master, rotate_in_auto_eoi);
    raise(0);
    out(master, poll);
    EXPECT_EQ(in(master), 0x80);
    pulse(0);
    raise(1);
    EXPECT_EQ(pic.acknowledge(), 0x31) << "what was polled ranks last";
}

TEST_F(PicTest, SpecialFullyNestedModeSurvivesTheEndsOfBoth) {
    initialize(master, 0x30, 0x04, 0x11);
    raise(12);
    EXPECT_EQ(pic.acknowledge(), 0x3c);
    raise(11);
    EXPECT_EQ(pic.acknowledge(), 0x3b);
    // The handler ends the slave's, and the master's only when the slave has nothing in service (data sheet).
    out(slave, non_specific_eoi);
    EXPECT_EQ(isr(slave), 1 << 4);
    raise(10);
    EXPECT_EQ(pic.acknowledge(), 0x3a);
    out(slave, non_specific_eoi);
    out(slave, non_specific_eoi);
    EXPECT_EQ(isr(slave), 0);
    out(master, non_specific_eoi);
    EXPECT_EQ(isr(master), 0);
    raise(3);
    EXPECT_EQ(pic.acknowledge(), 0x33);
}

// ---- wide accesses: one cycle a byte, each at its own port

TEST_F(PicTest, AWideWriteTouchesTheTwoPortsOfItsChipOnly) {
    for (const auto& [port, other] : {std::pair{master, slave}, std::pair{slave, master}}) {
        out(port + 1, 0);
        out(other + 1, 0xc2);
        // Four bytes from the chip's first port: OCW3 (read ISR), the mask, and two ports of nobody: what would be an
        // ICW1 and a mask there.
        pic.out(port, 4, 0x5511'3c0b);
        EXPECT_EQ(in(port + 1), 0x3c);
        EXPECT_EQ(in(other + 1), 0xc2);
        pic.out(static_cast<std::uint16_t>(port + 1), 2, 0x11'5a);
        EXPECT_EQ(in(port + 1), 0x5a);
        EXPECT_EQ(in(other + 1), 0xc2);
        raise(other == master ? 0 : 8);
        EXPECT_EQ(pic.acknowledge(), other == master ? 0x30 : 0x38) << "the other one is still initialised";
        out(other, non_specific_eoi);
        out(master, non_specific_eoi);
        lower(other == master ? 0 : 8);
    }
}

TEST_F(PicTest, AWideReadHasAllOnesBehindTheChip) {
    out(master + 1, 0x3c);
    raise(0);
    EXPECT_EQ(pic.in(master, 4), 0xffff'3c01u);
    EXPECT_EQ(pic.in(master + 1, 2), 0xff3cu);
    EXPECT_EQ(pic.in(0x4d0, 4), 0xffff'0000u | pic.in(0x4d1, 1) << 8 | pic.in(0x4d0, 1));
    out(slave, poll);
    EXPECT_EQ(pic.in(master, 4) & 0xff, 1u);
    raise(13);
    EXPECT_EQ(in(slave), 0x85) << "the slave's poll was not used up";
}

// ---- initialisation

TEST_F(PicTest, Icw1ClearsMasksRequestsAndService) {
    raise(3);
    pic.acknowledge();
    raise(4);
    out(master, set_special_mask);
    out(master, set_priority | 3);
    out(master + 1, 0xff);
    initialize(master, 0x40, 0x04, 0x01);
    EXPECT_EQ(in(master + 1), 0x00);
    EXPECT_EQ(in(master), 0x00) << "reads give IRR, which is empty: 4 has to fall first";
    EXPECT_EQ(isr(master), 0);
    EXPECT_FALSE(intr());
    pulse(4);
    raise(0);
    EXPECT_EQ(pic.acknowledge(), 0x40) << "0 is the highest again";
}

TEST_F(PicTest, TheInitialisationWordsHaveTheirOrder) {
    out(master, 0x11);
    out(master + 1, 0x47);  // bits 2:0 are the input's
    raise(0);
    EXPECT_FALSE(intr()) << "not before it is complete";
    out(master + 1, 0x04);
    out(master + 1, 0x01);
    EXPECT_EQ(in(master + 1), 0x00) << "none of them was a mask";
    EXPECT_EQ(pic.acknowledge(), 0x40);
    out(master, 0x12);  // single, no ICW4
    out(master + 1, 0x50);
    out(master + 1, 0xaa);
    EXPECT_EQ(in(master + 1), 0xaa) << "after ICW2 comes OCW1";
}

TEST_F(PicTest, WithoutIcw4ThereIsNoAutomaticEoi) {
    initialize(0x03);
    out(master, 0x10);
    out(master + 1, 0x30);
    out(master + 1, 0x04);
    raise(3);
    pic.acknowledge();
    EXPECT_EQ(isr(master), 1 << 3);
}

TEST_F(PicTest, AsFirmwareLeavesIt) {
    PicPair fresh;
    EXPECT_EQ(fresh.in(0x21, 1), 0xffu);
    EXPECT_EQ(fresh.in(0xa1, 1), 0xffu);
    fresh.set_irq(0, true);
    EXPECT_FALSE(fresh.intr().level());
    fresh.out(0x21, 1, 0xfe);
    EXPECT_EQ(fresh.acknowledge(), 0x08);
    EXPECT_EQ(fresh.in(0x4d0, 2), 0x0200u) << "the SCI's is level triggered";
}

// ---- for whom it interrupts

class Edges {
  public:
    void set(bool level) { levels.push_back(level); }
    void masks() { ++changes; }
    std::vector<bool> levels;
    int changes = 0;
};

TEST_F(PicTest, IntrFallsInEveryAcknowledgeCycle) {
    Edges edges;
    pic.intr().connect(Delegate<void(bool)>::to<&Edges::set>(&edges));
    initialize(0x03);
    raise(3);
    raise(4);
    pic.acknowledge();
    pic.acknowledge();
    EXPECT_EQ(edges.levels, (std::vector<bool>{true, false, true, false}));
}

TEST_F(PicTest, TellsWhenAMaskChanges) {
    Edges edges;
    pic.on_mask_change(Delegate<void()>::to<&Edges::masks>(&edges));
    out(master + 1, 0x01);
    out(master + 1, 0x01);
    EXPECT_EQ(edges.changes, 1);
    EXPECT_TRUE(pic.masked(0));
    EXPECT_FALSE(pic.masked(12));
    out(master + 1, 0x04);
    EXPECT_TRUE(pic.masked(12)) << "through the master";
    out(master, 0x11);
    EXPECT_EQ(edges.changes, 3) << "ICW1 unmasks";
}

}  // namespace
}  // namespace bulkhead::guest
