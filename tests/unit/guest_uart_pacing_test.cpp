// SPDX-License-Identifier: Apache-2.0
// The virtual 16550A when its line takes the time of the baud rate.
#include "tests/unit/guest_uart_fixture.hpp"

namespace bulkhead::guest {
namespace {

class PacedUartTest : public UartTest {
  protected:
    PacedUartTest() : UartTest(Uart::Pacing::baud) {}
};

TEST_F(PacedUartTest, TakesTheTimeOfTheBaudRate) {
    write(THR, 'a');
    EXPECT_EQ(read(LSR), 0x20) << "THR handed the byte to the shift register";
    write(THR, 'b');
    EXPECT_EQ(read(LSR), 0x00);
    pass(character - 1);
    EXPECT_EQ(peer.sent, "");
    pass(1);
    EXPECT_EQ(peer.sent, "a");
    EXPECT_EQ(read(LSR), 0x20);
    pass(character);
    EXPECT_EQ(peer.sent, "ab");
    EXPECT_EQ(read(LSR), 0x60);
}

TEST_F(PacedUartTest, CharacterTimeFollowsDivisorAndFrame) {
    write(LCR, 0x83);
    write(DLL, 12);    // 9600 baud
    write(LCR, 0x0f);  // eight bits, parity, two stop bits
    write(THR, 'a');
    pass(16'588);  // 12 bits of 1382.4 ticks
    EXPECT_EQ(peer.sent, "");
    pass(1);
    EXPECT_EQ(peer.sent, "a");
}

TEST_F(PacedUartTest, FifoDrainsOneByOneAndInterruptsWhenEmpty) {
    write(FCR, 0x01);
    write(IER, 0x02);
    read(IIR);
    for (char c = 'a'; c < 'a' + 4; ++c) write(THR, static_cast<std::uint8_t>(c));
    // The first byte went to the shift register at once, and its THRE was answered by the second.
    EXPECT_EQ(read(IIR), 0xc1);
    for (int i = 0; i < 10; ++i) read(LSR);
    EXPECT_EQ(uart.busy_until(), clock.now + 3 * character);
    pass(2 * character);
    EXPECT_FALSE(irq());
    pass(character);
    EXPECT_TRUE(irq()) << "the last byte entered the shift register";
    EXPECT_FALSE(uart.busy_until()) << "THRE changed: whoever waits looks again";
    EXPECT_EQ(read(LSR), 0x20);
    pass(character);
    EXPECT_EQ(peer.sent, "abcd");
}

TEST_F(PacedUartTest, FullPartitionStopsTheShiftRegister) {
    peer.room = 0;
    write(THR, 'a');
    write(THR, 'b');
    pass(10 * character);
    EXPECT_EQ(read(LSR), 0x00);
    peer.room = 10;
    uart.transmit_room();
    EXPECT_EQ(peer.sent, "a");
    pass(character);
    EXPECT_EQ(peer.sent, "ab");
    EXPECT_EQ(read(LSR), 0x60);
}

TEST_F(PacedUartTest, InputComesAtTheBaudRate) {
    write(FCR, 0x01);
    type("abc");
    EXPECT_EQ(peer.typed.size(), 2u);
    pass(character);
    EXPECT_EQ(peer.typed.size(), 1u);
    pass(character);
    EXPECT_EQ(peer.typed.size(), 0u);
}

}  // namespace
}  // namespace bulkhead::guest
