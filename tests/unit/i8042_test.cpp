// SPDX-License-Identifier: Apache-2.0
// The keyboard controller without a keyboard, and port 92h.
#include "guest/i8042.hpp"

#include <gtest/gtest.h>

namespace bulkhead::guest {
namespace {

class I8042Test : public testing::Test {
  protected:
    void count_reset() { ++resets; }
    std::uint8_t status() { return static_cast<std::uint8_t>(controller.in(0x64, 1)); }
    std::uint8_t data() { return static_cast<std::uint8_t>(controller.in(0x60, 1)); }
    void command(std::uint8_t value) { controller.out(0x64, 1, value); }
    void parameter(std::uint8_t value) { controller.out(0x60, 1, value); }

    int resets = 0;
    I8042 controller{Delegate<void()>::to<&I8042Test::count_reset>(this)};
};

TEST_F(I8042Test, SelfTests) {
    EXPECT_EQ(status() & 0x03, 0x00);
    command(0xaa);
    EXPECT_EQ(status() & 0x0d, 0x0d) << "output full, system flag, last write was a command";
    EXPECT_EQ(data(), 0x55);
    EXPECT_EQ(status() & 0x01, 0x00);
    command(0xab);
    EXPECT_EQ(data(), 0x00);
    parameter(0xf4);
    EXPECT_EQ(status() & 0x09, 0x00) << "no keyboard answers";
}

TEST_F(I8042Test, CommandByte) {
    command(0x60);
    parameter(0x45);
    command(0x20);
    EXPECT_EQ(data(), 0x65) << "the auxiliary port cannot be enabled";
    command(0xad);
    command(0x20);
    EXPECT_EQ(data(), 0x75);
    command(0xae);
    command(0x20);
    EXPECT_EQ(data(), 0x65);
}

TEST_F(I8042Test, RepliesInterruptWhenEnabled) {
    command(0xaa);
    EXPECT_FALSE(controller.irq().level());
    data();
    command(0x60);
    parameter(0x01);
    command(0xd2);
    parameter(0x1c);
    EXPECT_TRUE(controller.irq().level());
    EXPECT_EQ(data(), 0x1c);
    EXPECT_FALSE(controller.irq().level());
}

TEST_F(I8042Test, NoAuxiliaryPort) {
    command(0xd3);
    parameter(0x5a);
    EXPECT_EQ(status() & 0x21, 0x01) << "not marked as auxiliary data";
    data();
    command(0xa9);
    EXPECT_EQ(data(), 0x01);
    command(0xd4);
    parameter(0xff);
    EXPECT_EQ(status() & 0x01, 0x00);
}

TEST_F(I8042Test, A20ByEveryGate) {
    EXPECT_TRUE(controller.a20());
    command(0xd1);
    parameter(0xdd);
    EXPECT_FALSE(controller.a20());
    EXPECT_EQ(controller.in(0x92, 1), 0x00u);
    command(0xd0);
    EXPECT_EQ(data() & 0x03, 0x01);
    command(0xdf);
    EXPECT_TRUE(controller.a20());
    command(0xdd);
    EXPECT_FALSE(controller.a20());
    controller.out(0x92, 1, 0x02);
    EXPECT_TRUE(controller.a20());
    command(0xd0);
    EXPECT_EQ(data() & 0x03, 0x03);
    EXPECT_EQ(resets, 0);
}

TEST_F(I8042Test, ResetPulses) {
    for (unsigned pulse = 0xf0; pulse <= 0xff; ++pulse) {
        resets = 0;
        command(static_cast<std::uint8_t>(pulse));
        EXPECT_EQ(resets, (pulse & 1) ? 0 : 1) << pulse;
    }
    resets = 0;
    command(0xd1);
    parameter(0xde);
    EXPECT_EQ(resets, 1);
}

TEST_F(I8042Test, FastResetOnTheRisingBit) {
    controller.out(0x92, 1, 0x03);
    EXPECT_EQ(resets, 1);
    EXPECT_EQ(controller.in(0x92, 1), 0x03u);
    controller.out(0x92, 1, 0x03);
    EXPECT_EQ(resets, 1);
    controller.out(0x92, 1, 0x02);
    controller.out(0x92, 1, 0x03);
    EXPECT_EQ(resets, 2);
}

TEST_F(I8042Test, UnknownCommandsAreSwallowed) {
    for (const unsigned c : {0x00u, 0xa0u, 0xb0u, 0xc1u, 0xe0u}) command(static_cast<std::uint8_t>(c));
    EXPECT_EQ(status() & 0x01, 0x00);
    EXPECT_EQ(resets, 0);
    EXPECT_EQ(controller.in(0x61, 1), 0xffu);
}

}  // namespace
}  // namespace bulkhead::guest
