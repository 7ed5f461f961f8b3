// SPDX-License-Identifier: Apache-2.0
// The virtual 16550A against National's PC16550D data sheet.
#include "tests/unit/guest_uart_fixture.hpp"

namespace bulkhead::guest {
namespace {

TEST_F(UartTest, ResetValues) {
    Uart fresh{timers, peer, base, Uart::Pacing::instant};
    const auto in = [&](std::uint16_t reg) { return fresh.in(base + reg, 1); };
    EXPECT_EQ(in(IER), 0x00u);
    EXPECT_EQ(in(IIR), 0x01u);
    EXPECT_EQ(in(LCR), 0x00u);
    EXPECT_EQ(in(MCR), 0x00u);
    EXPECT_EQ(in(LSR), 0x60u);
    EXPECT_EQ(in(MSR), 0xb0u) << "the far end is there";
}

TEST_F(UartTest, SendsAtOnce) {
    for (const char c : std::string("hello")) {
        EXPECT_EQ(read(LSR), 0x60);
        write(THR, static_cast<std::uint8_t>(c));
    }
    EXPECT_EQ(peer.sent, "hello");
}

TEST_F(UartTest, WordLengthMasksData) {
    write(LCR, 0x00);  // five bits
    write(THR, 0xff);
    EXPECT_EQ(peer.sent, "\x1f");
}

TEST_F(UartTest, DivisorLatchAndScratch) {
    write(LCR, 0x83);
    write(DLL, 0x34);
    write(DLM, 0x12);
    EXPECT_EQ(read(DLL), 0x34);
    EXPECT_EQ(read(DLM), 0x12);
    write(LCR, 0x03);
    EXPECT_EQ(read(IER), 0x00);
    EXPECT_EQ(peer.sent, "");
    write(SCR, 0xa5);
    EXPECT_EQ(read(SCR), 0xa5);
}

TEST_F(UartTest, UnimplementedBitsReadZero) {
    write(IER, 0xff);
    EXPECT_EQ(read(IER), 0x0f);
    write(MCR, 0xff);
    EXPECT_EQ(read(MCR), 0x1f);
}

TEST_F(UartTest, IirShowsFifos) {
    EXPECT_EQ(read(IIR) & 0xc0, 0x00);
    write(FCR, 0x01);
    EXPECT_EQ(read(IIR), 0xc1);
    write(FCR, 0x00);
    EXPECT_EQ(read(IIR), 0x01);
}

TEST_F(UartTest, ThreInterruptIsRaisedByEnablingItAndClearedByReadingIir) {
    write(IER, 0x02);
    EXPECT_TRUE(irq());
    EXPECT_EQ(read(IIR), 0x02);
    EXPECT_FALSE(irq());
    EXPECT_EQ(read(IIR), 0x01);
    write(IER, 0x02);  // was enabled already: nothing new
    EXPECT_FALSE(irq());
    write(IER, 0x00);
    write(IER, 0x02);
    EXPECT_TRUE(irq()) << "enabling it again with THR empty raises it again";
    EXPECT_EQ(read(IIR), 0x02);
    write(THR, 'x');
    EXPECT_TRUE(irq()) << "THR became empty again";
}

TEST_F(UartTest, ReadingIirForAnotherCauseKeepsThre) {
    write(IER, 0x03);
    type("a");
    EXPECT_EQ(read(IIR), 0x04);
    EXPECT_EQ(read(RBR), 'a');
    EXPECT_EQ(read(IIR), 0x02);
}

TEST_F(UartTest, Out2GatesTheInterrupt) {
    write(MCR, 0x03);
    write(IER, 0x02);
    EXPECT_FALSE(irq());
    write(MCR, 0x0b);
    EXPECT_TRUE(irq());
}

TEST_F(UartTest, FullPartitionHoldsTheTransmitter) {
    peer.room = 1;
    write(IER, 0x02);
    read(IIR);
    write(THR, 'a');
    read(IIR);
    write(THR, 'b');
    EXPECT_EQ(read(LSR) & 0x60, 0x00);
    EXPECT_FALSE(irq());
    uart.transmit_room();  // still none
    EXPECT_EQ(read(LSR) & 0x60, 0x00);
    peer.room = 100;
    uart.transmit_room();
    EXPECT_EQ(read(LSR) & 0x60, 0x60);
    EXPECT_TRUE(irq());
    EXPECT_EQ(peer.sent, "ab");
}

TEST_F(UartTest, FullPartitionLeavesTheFifo) {
    write(FCR, 0x01);
    peer.room = 0;
    for (char c = 'a'; c < 'a' + 16; ++c) write(THR, static_cast<std::uint8_t>(c));
    write(THR, '!');  // the seventeenth is lost
    peer.room = 5;
    uart.transmit_room();
    EXPECT_EQ(read(LSR) & 0x60, 0x00);
    peer.room = 100;
    uart.transmit_room();
    EXPECT_EQ(peer.sent, "abcdefghijklmnop");
    EXPECT_EQ(read(LSR) & 0x60, 0x60);
}

TEST_F(UartTest, ClearingTheTransmitFifoDropsWhatWaits) {
    write(FCR, 0x01);
    peer.room = 0;
    write(THR, 'a');
    write(FCR, 0x05);
    EXPECT_EQ(read(LSR) & 0x60, 0x60);
    peer.room = 100;
    uart.transmit_room();
    EXPECT_EQ(peer.sent, "");
}

TEST_F(UartTest, TellsThatPollingIsInVain) {
    peer.room = 0;
    write(THR, 'a');
    EXPECT_FALSE(uart.busy_until());
    for (int i = 0; i < 10; ++i) read(LSR);
    EXPECT_TRUE(uart.poll_would_wait());
    EXPECT_EQ(uart.busy_until(), never);
    uart.transmit_room();
    EXPECT_TRUE(uart.poll_would_wait()) << "still no room";
    peer.room = 10;
    uart.transmit_room();
    EXPECT_FALSE(uart.poll_would_wait());
    EXPECT_FALSE(uart.busy_until());
    for (int i = 0; i < 10; ++i) read(LSR);
    EXPECT_FALSE(uart.poll_would_wait()) << "an idle transmitter keeps nobody waiting";
}

TEST_F(UartTest, ReceivesWithoutFifo) {
    write(IER, 0x01);
    type("xyz");
    EXPECT_TRUE(irq());
    EXPECT_EQ(peer.typed.size(), 2u) << "there is room for one";
    EXPECT_EQ(read(IIR), 0x04);
    EXPECT_EQ(read(LSR) & 0x01, 0x01);
    EXPECT_EQ(read(RBR), 'x');
    EXPECT_EQ(read(RBR), 'y');
    EXPECT_EQ(read(RBR), 'z');
    EXPECT_EQ(read(LSR) & 0x01, 0x00);
    EXPECT_FALSE(irq());
}

TEST_F(UartTest, TriggerLevels) {
    for (const auto& [bits, level] : {std::pair{0x01, 1}, {0x41, 4}, {0x81, 8}, {0xc1, 14}}) {
        write(FCR, static_cast<std::uint8_t>(bits | 0x02));
        write(IER, 0x01);
        type(std::string(static_cast<std::size_t>(level - 1), 'x'));
        EXPECT_FALSE(irq()) << level;
        type("x");
        EXPECT_EQ(read(IIR), 0xc4) << level;
        read(RBR);
        EXPECT_FALSE(irq()) << level;
        write(IER, 0x00);
    }
}

TEST_F(UartTest, ReceiveTimeoutAfterFourCharacters) {
    write(LCR, 0x83);
    write(DLL, 1);
    write(DLM, 0);
    write(LCR, 0x03);
    write(FCR, 0xc1);
    write(IER, 0x01);
    type("ab");
    pass(4 * character - 1);
    EXPECT_FALSE(irq());
    pass(1);
    EXPECT_TRUE(irq());
    EXPECT_EQ(read(IIR), 0xcc);
    EXPECT_EQ(read(RBR), 'a');
    EXPECT_EQ(read(IIR), 0xc1) << "a read of RBR clears it and starts the time again";
    pass(4 * character);
    EXPECT_EQ(read(IIR), 0xcc);
    EXPECT_EQ(read(RBR), 'b');
    pass(100 * character);
    EXPECT_FALSE(irq()) << "nothing is left";
}

TEST_F(UartTest, FifoTakesSixteenAndClears) {
    write(FCR, 0x01);
    type(std::string(20, 'x'));
    EXPECT_EQ(peer.typed.size(), 4u);
    peer.typed.clear();
    write(FCR, 0x03);
    EXPECT_EQ(read(LSR) & 0x01, 0x00);
}

TEST_F(UartTest, LoopbackOfData) {
    write(MCR, 0x1b);
    write(THR, 'q');
    EXPECT_EQ(peer.sent, "");
    EXPECT_EQ(read(LSR), 0x61);
    EXPECT_EQ(read(RBR), 'q');
    type("z");
    EXPECT_EQ(read(LSR) & 0x01, 0x00) << "the line is cut off";
    write(MCR, 0x0b);
    EXPECT_EQ(read(RBR), 'z');
}

TEST_F(UartTest, LoopbackOfModemLines) {
    const std::uint8_t expected[] = {0x20, 0x10, 0x40, 0x80};  // DTR to DSR, RTS to CTS, OUT1 to RI, OUT2 to DCD
    for (unsigned i = 0; i < 4; ++i) {
        write(MCR, static_cast<std::uint8_t>(0x10 | 1u << i));
        EXPECT_EQ(read(MSR) & 0xf0, expected[i]);
    }
    write(MCR, 0x1f);
    read(MSR);
    EXPECT_EQ(read(MSR), 0xf0) << "reading clears the deltas";
    write(MCR, 0x10);
    EXPECT_EQ(read(MSR), 0x0f) << "all fell";
    write(MCR, 0x14);
    EXPECT_EQ(read(MSR), 0x40) << "RI has no delta for its rise";
}

TEST_F(UartTest, ModemStatusInterrupt) {
    write(MCR, 0x1f);
    read(MSR);
    write(IER, 0x08);
    EXPECT_FALSE(irq());
    write(MCR, 0x1d);
    EXPECT_EQ(read(IIR), 0x00);
    EXPECT_TRUE(irq());
    EXPECT_EQ(read(MSR), 0xe1);
    EXPECT_FALSE(irq());
}

TEST_F(UartTest, OverrunWithoutFifoLosesTheOldByte) {
    write(MCR, 0x1b);
    write(IER, 0x04);
    write(THR, 'a');
    write(THR, 'b');
    EXPECT_EQ(read(IIR), 0x06);
    EXPECT_EQ(read(LSR), 0x63);
    EXPECT_EQ(read(LSR), 0x61) << "reading clears the error";
    EXPECT_EQ(read(IIR), 0x01);
    EXPECT_EQ(read(RBR), 'b');
}

TEST_F(UartTest, OverrunWithFifoLosesTheNewByte) {
    write(FCR, 0x01);
    write(MCR, 0x1b);
    for (char c = 'a'; c < 'a' + 17; ++c) write(THR, static_cast<std::uint8_t>(c));
    EXPECT_EQ(read(LSR), 0x63);
    for (char c = 'a'; c < 'a' + 16; ++c) EXPECT_EQ(read(RBR), c);
    EXPECT_EQ(read(LSR), 0x60);
}

TEST_F(UartTest, BreakInLoopback) {
    write(FCR, 0x01);
    write(MCR, 0x1b);
    write(THR, 'a');
    write(LCR, 0x43);
    EXPECT_EQ(read(LSR), 0xe1) << "the error belongs to the second byte, but the FIFO has one";
    read(RBR);
    EXPECT_EQ(read(LSR) & 0x11, 0x11);
    EXPECT_EQ(read(RBR), 0);
}

TEST_F(UartTest, InterruptPriorities) {
    write(FCR, 0x01);
    write(MCR, 0x1b);
    read(MSR);
    for (int i = 0; i < 17; ++i) write(THR, 'x');
    write(MCR, 0x1a);
    write(IER, 0x0f);
    EXPECT_EQ(read(IIR), 0xc6);
    read(LSR);
    EXPECT_EQ(read(IIR), 0xc4);
    write(FCR, 0x03);
    EXPECT_EQ(read(IIR), 0xc2);
    EXPECT_EQ(read(IIR), 0xc0);
    read(MSR);
    EXPECT_EQ(read(IIR), 0xc1);
}

TEST_F(UartTest, WideAccessIsByteByByte) {
    uart.out(base + SCR - 1, 2, 0x5a00);
    EXPECT_EQ(read(SCR), 0x5a);
    EXPECT_EQ(uart.in(base + SCR, 4) >> 8, 0xffffffu) << "beyond the chip the bus is empty";
}

}  // namespace
}  // namespace bulkhead::guest
