// SPDX-License-Identifier: Apache-2.0
// The six modes of the 8254, on channel 2, by the figures of Intel's data sheet (order 231164). The first clock of a
// wave is the one in which the count was written; it is loaded with the next.
#include "tests/unit/pit_fixture.hpp"

namespace bulkhead::guest {
namespace {

class PitModesTest : public PitFixture {};

TEST_F(PitModesTest, Mode0InterruptOnTerminalCount) {
    gate2(true);
    out(0x43, 0xb0);
    EXPECT_FALSE(out2()) << "low from the control word on";
    write_count(2, 4);
    EXPECT_EQ(wave(8), "_____---") << "high N + 1 clocks after the write";
    EXPECT_EQ(count(2), 0x10000u - 3) << "counting goes on, around";
}

TEST_F(PitModesTest, Mode0Counts) {
    gate2(true);
    program(2, 0, 3);
    pass(1);
    EXPECT_EQ(counts(2, 6), "3 2 1 0 65535 65534 ");
}

TEST_F(PitModesTest, Mode0GateHolds) {
    gate2(true);
    program(2, 0, 5);
    pass(3);
    EXPECT_EQ(count(2), 3u);
    gate2(false);
    pass(100);
    EXPECT_EQ(count(2), 3u);
    EXPECT_FALSE(out2());
    gate2(true);
    EXPECT_EQ(wave(5), "___--");
}

TEST_F(PitModesTest, Mode0CountWrittenWithTheGateLowIsLoaded) {
    program(2, 0, 5);
    pass(10);
    EXPECT_EQ(count(2), 5u);
    gate2(true);
    EXPECT_EQ(wave(7), "_____--");
}

TEST_F(PitModesTest, Mode0ANewCountStartsAnew) {
    gate2(true);
    program(2, 0, 4);
    pass(10);
    EXPECT_TRUE(out2());
    write_count(2, 2);
    EXPECT_EQ(wave(5), "___--");
}

TEST_F(PitModesTest, Mode0TheFirstByteOfTwoStopsIt) {
    gate2(true);
    program(2, 0, 10);
    pass(4);
    out(0x42, 3);
    const unsigned standing = count(2);
    pass(100);
    EXPECT_EQ(count(2), standing);
    EXPECT_FALSE(out2());
    out(0x42, 0);
    EXPECT_EQ(wave(6), "____--");
}

TEST_F(PitModesTest, Mode1OneShot) {
    program(2, 1, 3);
    EXPECT_EQ(wave(4), "----") << "it waits for the trigger";
    gate2(true);
    EXPECT_EQ(wave(6), "-___--");
    gate2(false);
    EXPECT_EQ(wave(3), "---");
    gate2(true);
    EXPECT_EQ(wave(6), "-___--") << "the same count again";
}

TEST_F(PitModesTest, Mode1RetriggersAndTakesANewCountThen) {
    program(2, 1, 4);
    gate2(true);
    EXPECT_EQ(wave(3), "-__");
    gate2(false);
    gate2(true);
    EXPECT_EQ(wave(7), "_____--") << "four from the new trigger";
    gate2(false);
    gate2(true);
    pass(2);
    write_count(2, 2);
    EXPECT_EQ(wave(5), "___--") << "the running pulse is not changed";
    gate2(false);
    gate2(true);
    EXPECT_EQ(wave(5), "-__--");
}

TEST_F(PitModesTest, Mode2RateGenerator) {
    gate2(true);
    program(2, 2, 3);
    EXPECT_EQ(wave(11), "---_--_--_-");
}

TEST_F(PitModesTest, Mode2Counts) {
    gate2(true);
    program(2, 2, 3);
    pass(1);
    EXPECT_EQ(counts(2, 7), "3 2 1 3 2 1 3 ");
}

TEST_F(PitModesTest, Mode2GateStopsAndRestarts) {
    gate2(true);
    program(2, 2, 3);
    pass(3);
    EXPECT_FALSE(out2());
    gate2(false);
    EXPECT_EQ(wave(4), "----") << "a low gate sets OUT high at once";
    gate2(true);
    EXPECT_EQ(wave(7), "---_--_") << "loaded with the clock after the trigger";
}

TEST_F(PitModesTest, Mode2TakesANewCountAtTheEndOfThePeriod) {
    gate2(true);
    program(2, 2, 4);
    pass(2);
    EXPECT_EQ(status(2) & 0x40, 0u);
    write_count(2, 3);
    EXPECT_EQ(status(2) & 0x40, 0x40u) << "null count";
    EXPECT_EQ(counts(2, 6), "3 2 1 3 2 1 ");
    EXPECT_EQ(status(2) & 0x40, 0u);
}

TEST_F(PitModesTest, ANewCountThatTheGateOvertakesWaitsForTheTrigger) {
    for (const unsigned mode : {2u, 3u}) {
        gate2(true);
        program(2, mode, 10);
        pass(3);
        write_count(2, 4);
        gate2(false);  // the cycle at whose end the count would have been taken does not end
        const unsigned standing = count(2);
        pass(50);
        EXPECT_EQ(count(2), standing) << mode;
        EXPECT_EQ(status(2) & 0xc0, 0xc0u) << "null count, OUT high; mode " << mode;
        gate2(true);
        pass(1);
        EXPECT_EQ(count(2), 4u) << mode;
        EXPECT_EQ(status(2) & 0x40, 0u);
        EXPECT_EQ(wave(8), mode == 2 ? "---_---_" : "--__--__");
    }
}

TEST_F(PitModesTest, ACountThatIsWrittenWithTheGateLowIsLoadedAndHeld) {
    for (const unsigned mode : {2u, 3u}) {
        gate2(false);
        program(2, mode, 6);
        pass(20);
        EXPECT_EQ(count(2), 6u) << mode;
        EXPECT_EQ(status(2) & 0xc0, 0x80u) << mode;
        gate2(true);
        pass(1);
        EXPECT_EQ(wave(6), mode == 2 ? "-----_" : "---___");
    }
}

TEST_F(PitModesTest, Mode3SquareWaveOfAnEvenCount) {
    gate2(true);
    program(2, 3, 4);
    EXPECT_EQ(wave(10), "---__--__-");
}

TEST_F(PitModesTest, Mode3SquareWaveOfAnOddCount) {
    gate2(true);
    program(2, 3, 5);
    EXPECT_EQ(wave(12), "----__---__-") << "(N + 1) / 2 high, (N - 1) / 2 low";
}

TEST_F(PitModesTest, Mode3CountsByTwo) {
    gate2(true);
    program(2, 3, 4);
    pass(1);
    EXPECT_EQ(counts(2, 6), "4 2 4 2 4 2 ");
    program(2, 3, 5);
    pass(1);
    EXPECT_EQ(counts(2, 11), "4 2 0 4 2 4 2 0 4 2 4 ");
}

TEST_F(PitModesTest, Mode3TakesANewCountAtTheEndOfTheHalf) {
    gate2(true);
    program(2, 3, 8);
    pass(2);  // one clock into the high half
    write_count(2, 4);
    EXPECT_EQ(wave(11), "---__--__--") << "the low half has the new count";
    program(2, 3, 8);
    pass(6);  // one clock into the low half
    write_count(2, 4);
    EXPECT_EQ(wave(9), "___--__--");
}

TEST_F(PitModesTest, Mode3GateStopsAndRestarts) {
    gate2(true);
    program(2, 3, 6);
    pass(5);
    EXPECT_FALSE(out2());
    gate2(false);
    EXPECT_EQ(wave(3), "---");
    gate2(true);
    EXPECT_EQ(wave(8), "----___-");
}

TEST_F(PitModesTest, Mode4SoftwareTriggeredStrobe) {
    gate2(true);
    out(0x43, 0xb8);
    EXPECT_TRUE(out2());
    write_count(2, 3);
    EXPECT_EQ(wave(8), "----_---") << "one clock low, N + 1 after the write, once";
    pass(0x10000);
    EXPECT_EQ(wave(8), "--------");
    write_count(2, 1);
    EXPECT_EQ(wave(4), "--_-");
}

TEST_F(PitModesTest, Mode4GateHolds) {
    gate2(true);
    program(2, 4, 3);
    pass(2);
    gate2(false);
    EXPECT_EQ(wave(5), "-----");
    gate2(true);
    EXPECT_EQ(wave(4), "--_-");
}

TEST_F(PitModesTest, Mode5HardwareTriggeredStrobe) {
    program(2, 5, 3);
    EXPECT_EQ(wave(5), "-----");
    gate2(true);
    EXPECT_EQ(wave(7), "----_--");
    gate2(false);
    gate2(true);
    pass(2);
    gate2(false);
    gate2(true);
    EXPECT_EQ(wave(7), "----_--") << "retriggered";
}

TEST_F(PitModesTest, Modes6And7Are2And3) {
    gate2(true);
    program(2, 6, 3);
    EXPECT_EQ(wave(7), "---_--_");
    EXPECT_EQ(status(2) & 0x3f, 0x3cu) << "read back as written";
    program(2, 7, 4);
    EXPECT_EQ(wave(7), "---__--");
}

TEST_F(PitModesTest, ATriggerWithoutACountDoesNothing) {
    out(0x43, 0xb2);
    gate2(true);
    EXPECT_EQ(wave(5), "-----");
}

}  // namespace
}  // namespace bulkhead::guest
