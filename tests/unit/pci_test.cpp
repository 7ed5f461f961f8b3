// SPDX-License-Identifier: Apache-2.0
// Configuration mechanism #1 and the reset control register.
#include "guest/pci.hpp"

#include "guest/host_bridge.hpp"
#include "guest/isa_bridge.hpp"

#include <gtest/gtest.h>

namespace bulkhead::guest {
namespace {

class PciTest : public testing::Test {
  protected:
    void count_reset() { ++resets; }
    void address(unsigned bus, unsigned device, unsigned function, unsigned reg) {
        pci.out(0xcf8, 4, 1u << 31 | bus << 16 | device << 11 | function << 8 | reg);
    }
    std::uint32_t config(unsigned bus, unsigned device, unsigned function, unsigned reg) {
        address(bus, device, function, reg & ~3u);
        return pci.in(0xcfc, 4);
    }

    int resets = 0;
    PciTest() { EXPECT_TRUE(pci.attach(0, 0, bridge)); }

    HostBridge bridge{nullptr};
    PciHost pci{Delegate<void()>::to<&PciTest::count_reset>(this)};
};

// The probes of Linux (pci_check_type1, pci_check_type2) as other systems make them, too.
TEST_F(PciTest, MechanismOneIsFound) {
    pci.out(0xcfb, 1, 0x01);
    pci.out(0xcf8, 4, 0x80000000);
    EXPECT_EQ(pci.in(0xcf8, 4), 0x80000000u);
    pci.out(0xcf8, 4, 0xffffffff);
    EXPECT_EQ(pci.in(0xcf8, 4), 0x80fffffcu) << "reserved bits read as zero";
}

TEST_F(PciTest, MechanismTwoIsNot) {
    pci.out(0xcfb, 1, 0x00);
    pci.out(0xcf8, 1, 0x00);
    pci.out(0xcfa, 1, 0x00);
    EXPECT_FALSE(pci.in(0xcf8, 1) == 0 && pci.in(0xcfa, 1) == 0);
}

TEST_F(PciTest, HostBridge) {
    EXPECT_EQ(config(0, 0, 0, 0x00) & 0xffff, 0x8086u);
    EXPECT_EQ(config(0, 0, 0, 0x08) >> 16, 0x0600u) << "class: host bridge";
    EXPECT_EQ(config(0, 0, 0, 0x0c), 0u) << "header type 0, one function";
    for (unsigned bar = 0x10; bar <= 0x24; bar += 4) {
        address(0, 0, 0, bar);
        pci.out(0xcfc, 4, 0xffffffff);
        EXPECT_EQ(pci.in(0xcfc, 4), 0u) << "no base address register";
    }
    address(0, 0, 0, 0x08);
    EXPECT_EQ(pci.in(0xcfe, 2), 0x0600u);
    EXPECT_EQ(pci.in(0xcff, 1), 0x06u);
}

TEST_F(PciTest, CommandRegister) {
    address(0, 0, 0, 0x04);
    pci.out(0xcfc, 2, 0x0000);
    EXPECT_EQ(pci.in(0xcfc, 2) & 0xffff, 0x0006u);
    pci.out(0xcfc, 4, 0xffffffff);
    EXPECT_EQ(pci.in(0xcfc, 4), 0x0200'0146u) << "the status register is not writable";
}

TEST_F(PciTest, EverythingElseIsAbsent) {
    for (unsigned bus : {0u, 1u, 255u})
        for (unsigned device = 0; device < 32; ++device)
            for (unsigned function = 0; function < 8; ++function) {
                if (bus == 0 && device == 0 && function == 0) continue;
                ASSERT_EQ(config(bus, device, function, 0), 0xffffffffu) << bus << ":" << device << "." << function;
            }
}

TEST_F(PciTest, AFunctionHasItsPlace) {
    IsaBridge isa;
    EXPECT_TRUE(pci.attach(1, 0, isa));
    EXPECT_FALSE(pci.attach(1, 0, isa)) << "taken";
    EXPECT_FALSE(pci.attach(32, 0, isa));
    EXPECT_FALSE(pci.attach(1, 8, isa));
    EXPECT_EQ(config(0, 1, 0, 0x00), 0x7000'8086u);
    EXPECT_EQ(config(0, 1, 0, 0x08) >> 8, 0x0601'00u) << "ISA bridge";
    EXPECT_EQ(config(0, 1, 0, 0x0c) >> 16 & 0xff, 0x80u) << "has further functions";
    EXPECT_EQ(config(0, 1, 1, 0x00), 0xffffffffu);
    EXPECT_EQ(config(1, 1, 0, 0x00), 0xffffffffu) << "another bus";
}

TEST_F(PciTest, InterruptRoutingIsKept) {
    IsaBridge isa;
    ASSERT_TRUE(pci.attach(1, 0, isa));
    EXPECT_EQ(config(0, 1, 0, 0x60), 0x80808080u) << "routed nowhere";
    pci.out(0xcfd, 1, 0xff);
    pci.out(0xcfe, 2, 0x0b0a);
    EXPECT_EQ(pci.in(0xcfc, 4), 0x0b0a8f80u) << "reserved bits stay clear";
}

TEST_F(PciTest, DataPortIsDeadWithoutTheEnableBit) {
    pci.out(0xcf8, 4, 0x00000000);
    EXPECT_EQ(pci.in(0xcfc, 4), 0xffffffffu);
}

TEST_F(PciTest, ResetControl) {
    pci.out(0xcf8, 4, 0x80000000);
    pci.out(0xcf9, 1, 0x02);
    EXPECT_EQ(resets, 0);
    EXPECT_EQ(pci.in(0xcf9, 1), 0x02u);
    pci.out(0xcf9, 1, PciHost::reset_value);
    EXPECT_EQ(resets, 1);
    pci.out(0xcf9, 1, 0x06);
    EXPECT_EQ(resets, 1) << "on the rising bit only";
    pci.out(0xcf9, 1, 0x00);
    pci.out(0xcf9, 1, 0x0e);
    EXPECT_EQ(resets, 2);
    EXPECT_EQ(pci.in(0xcf8, 4), 0x80000000u) << "the address register is another one";
    pci.out(0xcf8, 4, 0x80000604);
    EXPECT_EQ(resets, 2);
}

}  // namespace
}  // namespace bulkhead::guest
