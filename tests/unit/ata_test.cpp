// SPDX-License-Identifier: Apache-2.0
// Disks on an ATA channel, after ATA/ATAPI-6 (T13/1410D).
#include "guest/ata_disk.hpp"

#include "ata_fixture.hpp"

namespace bulkhead::guest {
namespace {

constexpr std::uint64_t sectors = 5 * 16 * 63 + 7;

class AtaTest : public ChannelTest {
  protected:
    AtaTest() { channel.attach(0, disk); }

    void address(unsigned lba, unsigned n, unsigned dev = 0) {
        out(device, 0xe0 | dev << 4 | lba >> 24);
        out(count, n);
        out(low, lba & 0xff);
        out(mid, lba >> 8 & 0xff);
        out(high, lba >> 16 & 0xff);
    }
    void address48(std::uint64_t lba, unsigned n) {
        out(device, 0x40);
        out(count, n >> 8);
        out(low, lba >> 24 & 0xff);
        out(mid, lba >> 32 & 0xff);
        out(high, lba >> 40 & 0xff);
        out(count, n & 0xff);
        out(low, lba & 0xff);
        out(mid, lba >> 8 & 0xff);
        out(high, lba >> 16 & 0xff);
    }
    void chs(unsigned cylinder, unsigned head, unsigned sector, unsigned n) {
        out(device, 0xa0 | head);
        out(count, n);
        out(low, sector);
        out(mid, cylinder & 0xff);
        out(high, cylinder >> 8);
    }
    void run(unsigned value) { out(command, value); }
    // The number at the start of a sector, which is read to its end.
    std::uint32_t read_sector() {
        const auto words = read_words(256);
        EXPECT_EQ(words[255], 0xee00);
        return words[0] | std::uint32_t{words[1]} << 16;
    }
    void write_sector(unsigned word) {
        for (unsigned i = 0; i < 256; ++i) channel.out(data, 2, word);
    }
    std::uint16_t word_of_sector(std::uint64_t lba) {
        return static_cast<std::uint16_t>(std::to_integer<unsigned>(store.bytes[lba * 512 + 2]) |
                                          std::to_integer<unsigned>(store.bytes[lba * 512 + 3]) << 8);
    }
    std::vector<std::uint16_t> identify() {
        run(0xec);
        EXPECT_EQ(interrupted(), ready | DRQ);
        auto words = read_words(256);
        EXPECT_EQ(quiet(), ready);
        return words;
    }
    void expect_error(unsigned bits) {
        EXPECT_EQ(interrupted(), ready | ERR);
        EXPECT_EQ(in(features), bits);
        EXPECT_EQ(channel.in(data, 2), 0u) << "there is no data";
    }

    MemoryStore store{sectors * 512};
    AtaDisk disk{0, store};
};

// ---- registers

TEST_F(AtaTest, SignatureAfterPowerOn) {
    EXPECT_EQ(in(features), 0x01) << "diagnostic code: passed";
    EXPECT_EQ(in(count), 1);
    EXPECT_EQ(in(low), 1);
    EXPECT_EQ(in(mid), 0);
    EXPECT_EQ(in(high), 0);
    EXPECT_EQ(in(device), 0);
    EXPECT_EQ(quiet(), ready);
    EXPECT_EQ(alternate(), ready);
}

TEST_F(AtaTest, RegistersKeepWhatIsWritten) {
    out(count, 0x55);
    out(low, 0xaa);
    out(count, 0x12);
    EXPECT_EQ(in(count), 0x12);
    EXPECT_EQ(in(low), 0xaa);
    out(control, 0x80);
    EXPECT_EQ(in(count), 0x55) << "HOB: what was there before";
    out(mid, 1);
    EXPECT_EQ(in(count), 0x12) << "any write to the command block clears HOB";
}

TEST_F(AtaTest, SoftwareReset) {
    address(0x123456, 9);
    out(control, 0x04);
    EXPECT_EQ(alternate(), BSY);
    out(count, 0x77);
    run(0xec);
    EXPECT_EQ(alternate(), BSY) << "nothing else is heard";
    out(control, 0x00);
    EXPECT_EQ(quiet(), ready);
    EXPECT_EQ(in(count), 1);
    EXPECT_EQ(in(low), 1);
    EXPECT_EQ(in(mid) | in(high) | in(device), 0);
    EXPECT_EQ(in(features), 0x01);
    EXPECT_EQ(interrupts, 0);
}

TEST_F(AtaTest, SoftwareResetEndsATransfer) {
    address(1, 1);
    run(0x20);
    EXPECT_TRUE(channel.irq().level());
    out(control, 0x04);
    EXPECT_FALSE(channel.irq().level());
    out(control, 0x00);
    EXPECT_EQ(quiet(), ready);
    EXPECT_EQ(channel.in(data, 2), 0u);
}

TEST_F(AtaTest, InterruptsAreAcknowledgedByTheStatusAndNotByTheAlternate) {
    address(0, 1);
    run(0x20);
    EXPECT_TRUE(channel.irq().level());
    EXPECT_EQ(alternate(), ready | DRQ);
    EXPECT_TRUE(channel.irq().level());
    in(command);
    EXPECT_FALSE(channel.irq().level());
}

TEST_F(AtaTest, ACommandAcknowledgesTheInterruptBeforeIt) {
    run(0xe7);
    EXPECT_TRUE(channel.irq().level());
    address(0, 1);
    run(0x30);
    EXPECT_EQ(quiet(), ready | DRQ) << "the first block is asked for without an interrupt";
}

TEST_F(AtaTest, EachCommandHasAnEdgeOfItsOwn) {
    for (int n = 1; n <= 3; ++n) {
        address(0, 1);
        run(0x20);
        EXPECT_EQ(interrupts, n) << "nobody reads the status";
        read_sector();
    }
}

TEST_F(AtaTest, NIenHoldsTheLineDownAndForgetsNothing) {
    out(control, 0x02);
    run(0xe7);
    EXPECT_FALSE(channel.irq().level());
    out(control, 0x00);
    EXPECT_TRUE(channel.irq().level());
    out(control, 0x02);
    EXPECT_FALSE(channel.irq().level());
    EXPECT_EQ(in(command), ready);
    out(control, 0x00);
    EXPECT_FALSE(channel.irq().level());
}

TEST_F(AtaTest, DeviceZeroAnswersForADeviceOneThatIsNotThere) {
    out(count, 0x5a);
    out(device, 0xb0);
    EXPECT_EQ(in(command), 0);
    EXPECT_EQ(alternate(), 0);
    EXPECT_EQ(in(count), 0x5a);
    run(0xec);
    EXPECT_EQ(in(command), 0) << "commands are for nobody";
    EXPECT_EQ(channel.in(data, 2), 0u);
    out(device, 0xa0);
    EXPECT_EQ(quiet(), ready);
}

TEST(AtaChannel, WithoutDevicesBusyReadsAsClear) {
    AtaChannel empty{0x170, 0x376};
    for (const unsigned port : {0x172, 0x177, 0x376}) EXPECT_EQ(empty.in(static_cast<std::uint16_t>(port), 1), 0x7fu);
    empty.out(0x176, 1, 0xa0);
    empty.out(0x177, 1, 0x90);
    empty.out(0x376, 1, 0x04);
    empty.out(0x376, 1, 0x00);
    EXPECT_EQ(empty.in(0x177, 1), 0x7fu);
    EXPECT_FALSE(empty.irq().level());
}

class TwoDisksTest : public AtaTest {
  protected:
    TwoDisksTest() { channel.attach(1, other); }
    MemoryStore other_store{100 * 512, 0x5000};
    AtaDisk other{1, other_store};
};

TEST_F(TwoDisksTest, TheDeviceBitSaysForWhomACommandIs) {
    address(3, 1, 1);
    run(0x20);
    EXPECT_EQ(interrupted(), ready | DRQ);
    out(device, 0xe0);
    EXPECT_EQ(in(command), ready) << "device 0 does nothing";
    out(device, 0xf0);
    EXPECT_EQ(read_sector(), 0x5003u);
}

TEST_F(TwoDisksTest, OnlyTheSelectedDeviceInterrupts) {
    address(3, 1, 1);
    run(0x20);
    EXPECT_TRUE(channel.irq().level());
    out(device, 0xe0);
    EXPECT_FALSE(channel.irq().level());
    EXPECT_EQ(in(command), ready);
    out(device, 0xf0);
    EXPECT_TRUE(channel.irq().level()) << "it is pending still";
}

TEST_F(TwoDisksTest, ExecuteDeviceDiagnosticIsForBothAndDeviceZeroReports) {
    out(device, 0xf0);
    run(0x90);
    EXPECT_EQ(in(device), 0) << "device 0 is selected";
    EXPECT_EQ(interrupted(), ready);
    EXPECT_EQ(in(features), 0x01);
    EXPECT_EQ(in(count), 1);
    out(device, 0xb0);
    EXPECT_EQ(in(features), 0x01);
    EXPECT_EQ(quiet(), ready);
}

TEST_F(TwoDisksTest, SoftwareResetSelectsDeviceZero) {
    out(device, 0xf0);
    out(control, 0x04);
    out(control, 0x00);
    address(1, 1);
    EXPECT_EQ(in(device), 0xe0);
    run(0x20);
    interrupted();
    EXPECT_EQ(read_sector(), 1u);
}

// ---- reading

TEST_F(AtaTest, ReadsSectorsWithAnInterruptForEach) {
    for (const unsigned opcode : {0x20, 0x21}) {
        interrupts = 0;
        address(100, 3);
        run(opcode);
        for (unsigned i = 0; i < 3; ++i) {
            EXPECT_EQ(interrupted(), ready | DRQ) << i;
            EXPECT_EQ(read_sector(), 100 + i);
        }
        EXPECT_EQ(quiet(), ready) << "none after the last";
        EXPECT_EQ(interrupts, 3);
    }
}

TEST_F(AtaTest, ACountOfZeroIs256) {
    address(1000, 0);
    run(0x20);
    for (unsigned i = 0; i < 256; ++i) {
        ASSERT_EQ(interrupted(), ready | DRQ) << i;
        ASSERT_EQ(read_sector(), 1000 + i);
    }
    EXPECT_EQ(quiet(), ready);
}

TEST_F(AtaTest, ReadsByCylinderHeadAndSector) {
    chs(2, 5, 63, 2);
    run(0x20);
    interrupted();
    EXPECT_EQ(read_sector(), (2u * 16 + 5) * 63 + 62);
    interrupted();
    EXPECT_EQ(read_sector(), (2u * 16 + 6) * 63) << "the next head";
    EXPECT_EQ(in(mid) | in(high) << 8, 2);
    EXPECT_EQ(in(device)&0x0f, 6);
    EXPECT_EQ(in(low), 1);
}

TEST_F(AtaTest, NoSuchCylinderHeadOrSector) {
    chs(0, 0, 0, 1);
    run(0x20);
    expect_error(IDNF);
    chs(0, 0, 64, 1);
    run(0x20);
    expect_error(IDNF);
    chs(6, 0, 1, 1);
    run(0x20);
    expect_error(IDNF);
    chs(5, 0, 7, 1);
    run(0x20);
    EXPECT_EQ(interrupted(), ready | DRQ) << "what is left of the last cylinder is there";
}

TEST_F(AtaTest, InitializeDeviceParametersChangesTheTranslation) {
    out(device, 0xa0 | 3);  // 4 heads
    out(count, 17);
    run(0x91);
    EXPECT_EQ(interrupted(), ready);
    chs(10, 3, 17, 1);
    run(0x20);
    interrupted();
    EXPECT_EQ(read_sector(), (10u * 4 + 3) * 17 + 16);
    const auto words = identify();
    EXPECT_EQ(words[54], sectors / (4 * 17));
    EXPECT_EQ(words[55], 4);
    EXPECT_EQ(words[56], 17);
    EXPECT_EQ(words[57] | words[58] << 16, static_cast<int>(sectors / (4 * 17) * 4 * 17));
    EXPECT_EQ(words[3], 16) << "the default stays";
    chs(0, 4, 1, 1);
    run(0x20);
    expect_error(IDNF);
    out(count, 0);
    run(0x91);
    expect_error(ABRT);
}

TEST_F(AtaTest, ReadExt) {
    address48(sectors - 2, 2);
    run(0x24);
    interrupted();
    EXPECT_EQ(read_sector(), sectors - 2);
    interrupted();
    EXPECT_EQ(read_sector(), sectors - 1);
    EXPECT_EQ(quiet(), ready);
}

TEST(AtaLarge, AddressesOf48Bits) {
    constexpr std::uint64_t large = (1ull << 33) + 5;
    LargeStore store{large * 512};
    AtaDisk disk{0, store};
    AtaChannel channel{0x1f0, 0x3f6};
    channel.attach(0, disk);
    const auto out = [&](std::uint16_t port, unsigned value) { channel.out(port, 1, value); };
    const auto set = [&](std::uint64_t lba, unsigned n) {
        const unsigned bytes[] = {
            n >> 8,   unsigned(lba >> 24 & 0xff), unsigned(lba >> 32 & 0xff), unsigned(lba >> 40),
            n & 0xff, unsigned(lba & 0xff),       unsigned(lba >> 8 & 0xff),  unsigned(lba >> 16 & 0xff)};
        for (unsigned i = 0; i < 8; ++i) out(static_cast<std::uint16_t>(0x1f2u + i % 4), bytes[i]);
        out(0x1f6, 0x40);
    };
    set(0x1'2345'6789, 1);
    out(0x1f7, 0x24);
    std::uint64_t number = 0;
    for (unsigned i = 0; i < 4; ++i) number |= std::uint64_t{channel.in(0x1f0, 2)} << (16 * i);
    EXPECT_EQ(number, 0x1'2345'6789u);
    set(large - 1, 1);
    out(0x1f7, 0x34);
    for (unsigned i = 0; i < 256; ++i) channel.out(0x1f0, 2, 0);
    EXPECT_EQ(store.written, large - 1);
    // The failing address, both halves.
    set(large + 0x0300'0000, 1);
    out(0x1f7, 0x24);
    EXPECT_EQ(channel.in(0x1f7, 1), 0x51u);
    EXPECT_EQ(channel.in(0x1f1, 1), 0x10u);
    EXPECT_EQ(channel.in(0x1f3, 1), 0x05u);
    out(0x3f6, 0x80);
    EXPECT_EQ(channel.in(0x1f3, 1), 0x03u);
    EXPECT_EQ(channel.in(0x1f4, 1), 0x02u);
    // READ NATIVE MAX ADDRESS, with 28 bits and with 48.
    out(0x1f6, 0x40);
    out(0x1f7, 0xf8);
    EXPECT_EQ(channel.in(0x1f3, 1), 0xffu);
    EXPECT_EQ(channel.in(0x1f6, 1), 0x4fu);
    out(0x1f7, 0x27);
    EXPECT_EQ(channel.in(0x1f3, 1), 0x04u);
    EXPECT_EQ(channel.in(0x1f4, 1), 0u);
    out(0x3f6, 0x80);
    EXPECT_EQ(channel.in(0x1f4, 1), 0x02u);
}

TEST_F(AtaTest, PastTheEndIsAnErrorWithTheAddress) {
    address(sectors, 1);
    run(0x20);
    expect_error(IDNF);
    EXPECT_EQ(address28(), sectors);
    address(sectors - 1, 2);
    run(0x20);
    interrupted();
    EXPECT_EQ(read_sector(), sectors - 1) << "what is there comes first";
    expect_error(IDNF);
    EXPECT_EQ(address28(), sectors);
    address48(1ull << 47, 1);
    run(0x24);
    expect_error(IDNF);
}

TEST_F(AtaTest, WhatCannotBeReadIsUncorrectable) {
    store.bad = 7 * 512 + 100;
    address(6, 3);
    run(0x20);
    interrupted();
    EXPECT_EQ(read_sector(), 6u);
    expect_error(UNC);
    EXPECT_EQ(address28(), 7u);
}

TEST(AtaTruncated, ALastSectorThatIsNotWholeIsThereAndCannotBeRead) {
    MemoryStore store{10 * 512 + 1};
    AtaDisk disk{0, store};
    AtaChannel channel{0x1f0, 0x3f6};
    channel.attach(0, disk);
    const auto read = [&](unsigned lba, unsigned opcode) {
        channel.out(0x1f6, 1, 0xe0);
        channel.out(0x1f2, 1, 1);
        for (unsigned i = 0; i < 3; ++i) channel.out(static_cast<std::uint16_t>(0x1f3 + i), 1, lba >> (8 * i) & 0xff);
        channel.out(0x1f7, 1, opcode);
        return channel.in(0x1f7, 1) << 8 | channel.in(0x1f1, 1);
    };
    EXPECT_EQ(read(9, 0x20) >> 8, 0x58u);
    EXPECT_EQ(read(10, 0x20), 0x5140u) << "UNC";
    EXPECT_EQ(read(11, 0x20), 0x5110u) << "IDNF";
    EXPECT_EQ(read(9, 0x40) >> 8, 0x50u);
    EXPECT_EQ(read(10, 0x40), 0x5140u) << "READ VERIFY says it, too";
    EXPECT_EQ(read(11, 0x40), 0x5110u);
}

TEST_F(AtaTest, ReadVerifyAndSeekCheckAddresses) {
    for (const unsigned opcode : {0x40, 0x41}) {
        address(sectors - 3, 3);
        run(opcode);
        EXPECT_EQ(interrupted(), ready);
        address(sectors - 3, 4);
        run(opcode);
        expect_error(IDNF);
        EXPECT_EQ(address28(), sectors);
    }
    address48(0, 0);
    run(0x42);
    expect_error(IDNF);
    address(sectors - 1, 0);
    run(0x70);
    EXPECT_EQ(interrupted(), ready);
    address(sectors, 0);
    run(0x70);
    expect_error(IDNF);
    run(0x10);
    EXPECT_EQ(interrupted(), ready);
    EXPECT_EQ(address28(), 0u);
}

TEST_F(AtaTest, DataOfAllSizes) {
    address(2, 1);
    run(0x20);
    EXPECT_EQ(channel.in(data, 4), 2u) << "two words";
    for (unsigned i = 2; i < 255; ++i) channel.in(data, 2);
    EXPECT_EQ(in(data), 0) << "a byte is the lower half of a word";
    EXPECT_EQ(in(command)&DRQ, 0);
    address(2, 1);
    run(0x30);
    channel.out(data, 4, 0x44332211);
    for (unsigned i = 2; i < 256; ++i) channel.out(data, 2, i);
    EXPECT_EQ(interrupted(), ready);
    EXPECT_EQ(store.bytes[1024], std::byte{0x11});
    EXPECT_EQ(store.bytes[1027], std::byte{0x44});
    EXPECT_EQ(store.bytes[1028], std::byte{2});
}

// REP INS and REP OUTS pass many words at once; what comes of it is the same.
TEST_F(AtaTest, RunsOfDataAreAsManyAccesses) {
    std::vector<std::byte> bytes(512);
    for (const unsigned size : {2u, 4u}) {
        address(1, 2);
        run(0x20);
        EXPECT_EQ(interrupted(), ready | DRQ);
        channel.in_run(data, size, bytes);
        EXPECT_TRUE(std::ranges::equal(bytes, std::span{store.bytes}.subspan(512, 512)));
        EXPECT_EQ(interrupted(), ready | DRQ);
        channel.in_run(data, size, bytes);
        EXPECT_TRUE(std::ranges::equal(bytes, std::span{store.bytes}.subspan(1024, 512)));
        EXPECT_EQ(quiet(), ready);
        channel.in_run(data, size, bytes);
        EXPECT_EQ(bytes[0], std::byte{0}) << "outside of a transfer";

        for (unsigned i = 0; i < 512; ++i) bytes[i] = static_cast<std::byte>(size * i);
        address(7, 2);
        run(0x30);
        channel.out_run(data, size, bytes);
        EXPECT_EQ(interrupted(), ready | DRQ);
        EXPECT_TRUE(std::ranges::equal(bytes, std::span{store.bytes}.subspan(7 * 512, 512)));
        channel.out_run(data, size, bytes);
        EXPECT_EQ(interrupted(), ready);
    }
    std::array<std::byte, 2> statuses{};
    channel.in_run(control, 1, statuses);
    EXPECT_EQ(statuses[1], static_cast<std::byte>(ready));
}

// ---- writing

TEST_F(AtaTest, WritesSectorsWithAnInterruptAfterEach) {
    for (const unsigned opcode : {0x30, 0x31}) {
        interrupts = 0;
        address(20, 2);
        run(opcode);
        EXPECT_EQ(quiet(), ready | DRQ);
        write_sector(0x1100 + opcode);
        EXPECT_EQ(interrupted(), ready | DRQ);
        write_sector(0x2200 + opcode);
        EXPECT_EQ(interrupted(), ready);
        EXPECT_EQ(interrupts, 2);
        EXPECT_EQ(word_of_sector(20), 0x1100 + opcode);
        EXPECT_EQ(word_of_sector(21), 0x2200 + opcode);
        EXPECT_EQ(word_of_sector(22), 0) << "its number's upper half";
    }
}

TEST_F(AtaTest, WritesAreNotPastTheEnd) {
    address(sectors, 1);
    run(0x30);
    expect_error(IDNF);
    address48(sectors - 1, 2);
    run(0x34);
    EXPECT_EQ(quiet(), ready | DRQ);
    write_sector(0x7777);
    EXPECT_EQ(interrupted(), ready | DRQ);
    write_sector(0x8888);
    expect_error(IDNF);
    EXPECT_EQ(word_of_sector(sectors - 1), 0x7777);
}

TEST_F(AtaTest, AWriteThatTheStoreRefusesIsAborted) {
    store.refuses = true;
    address(5, 2);
    run(0x30);
    EXPECT_EQ(quiet(), ready | DRQ);
    write_sector(1);
    expect_error(ABRT);
    EXPECT_EQ(address28(), 5u);
    write_sector(2);
    EXPECT_EQ(quiet(), ready | ERR) << "the rest is lost";
}

// ---- multiple

TEST_F(AtaTest, MultipleIsOffUntilItIsSet) {
    for (const unsigned opcode : {0xc4, 0xc5, 0x29, 0x39}) {
        address(0, 1);
        run(opcode);
        expect_error(ABRT);
    }
    EXPECT_EQ(identify()[59], 0);
}

TEST_F(AtaTest, ReadMultipleInterruptsOnceABlock) {
    out(count, 4);
    run(0xc6);
    EXPECT_EQ(interrupted(), ready);
    EXPECT_EQ(identify()[59], 0x104);
    for (const unsigned opcode : {0xc4, 0x29}) {
        if (opcode == 0xc4)
            address(50, 6);
        else
            address48(50, 6);
        interrupts = 0;
        run(opcode);
        EXPECT_EQ(interrupted(), ready | DRQ);
        for (unsigned i = 0; i < 4; ++i) EXPECT_EQ(read_sector(), 50 + i);
        EXPECT_EQ(interrupted(), ready | DRQ);
        for (unsigned i = 4; i < 6; ++i) EXPECT_EQ(read_sector(), 50 + i);
        EXPECT_EQ(quiet(), ready);
        EXPECT_EQ(interrupts, 2);
    }
}

TEST_F(AtaTest, WriteMultiple) {
    out(count, 2);
    run(0xc6);
    interrupted();
    address(60, 3);
    run(0xc5);
    EXPECT_EQ(quiet(), ready | DRQ);
    write_sector(1);
    EXPECT_EQ(quiet(), ready | DRQ);
    write_sector(2);
    EXPECT_EQ(interrupted(), ready | DRQ);
    write_sector(3);
    EXPECT_EQ(interrupted(), ready);
    for (std::uint16_t i = 0; i < 3; ++i) EXPECT_EQ(word_of_sector(60u + i), i + 1);
}

TEST_F(AtaTest, SetMultipleTakesPowersOfTwoUpTo16) {
    for (const unsigned n : {1, 2, 4, 8, 16}) {
        out(count, n);
        run(0xc6);
        EXPECT_EQ(interrupted(), ready) << n;
    }
    out(count, 3);
    run(0xc6);
    expect_error(ABRT);
    EXPECT_EQ(identify()[59], 0) << "a bad number switches it off";
    out(count, 32);
    run(0xc6);
    expect_error(ABRT);
    EXPECT_EQ(identify()[47] & 0xff, 16);
}

TEST_F(AtaTest, ASoftwareResetRevertsSettingsUnlessToldNotTo) {
    const auto set_and_reset = [&] {
        out(count, 8);
        run(0xc6);
        interrupted();
        out(control, 0x04);
        out(control, 0x00);
        return identify()[59];
    };
    EXPECT_EQ(set_and_reset(), 0);
    out(features, 0x66);
    run(0xef);
    interrupted();
    EXPECT_EQ(set_and_reset(), 0x108);
    out(features, 0xcc);
    run(0xef);
    interrupted();
    EXPECT_EQ(set_and_reset(), 0);
}

// ---- other commands

TEST_F(AtaTest, Identify) {
    const auto words = identify();
    EXPECT_EQ(words[0] & 0x8000, 0) << "an ATA device";
    EXPECT_EQ(words[1], 5);
    EXPECT_EQ(words[3], 16);
    EXPECT_EQ(words[6], 63);
    EXPECT_EQ(text(words, 27, 20).substr(0, 14), "Bulkhead disk ");
    EXPECT_EQ(text(words, 10, 10).substr(0, 5), "BH01 ");
    EXPECT_EQ(words[49] & 0x0300, 0x0200) << "LBA, and no DMA";
    EXPECT_EQ(words[53] & 3, 3);
    EXPECT_EQ(words[54], 5);
    EXPECT_EQ(words[57] | words[58] << 16, 5 * 16 * 63);
    EXPECT_EQ(words[60] | words[61] << 16, static_cast<int>(sectors));
    EXPECT_EQ(words[63], 0) << "no multiword DMA";
    EXPECT_EQ(words[64], 3) << "PIO modes 3 and 4";
    EXPECT_EQ(words[80] & 0x40, 0x40) << "ATA/ATAPI-6";
    EXPECT_EQ(words[83] & 0xc400, 0x4400) << "valid, 48-bit addresses";
    EXPECT_EQ(words[86] & 0x0400, 0x0400);
    EXPECT_EQ(words[88], 0) << "no Ultra DMA";
    EXPECT_EQ(words[100], sectors);
    EXPECT_EQ(words[101] | words[102] | words[103], 0);
}

TEST(AtaIdentify, SizesThatDoNotFit) {
    LargeStore store{(1ull << 33) * 512};
    AtaDisk disk{3, store};
    AtaChannel channel{0x1f0, 0x3f6};
    channel.attach(0, disk);
    channel.out(0x1f7, 1, 0xec);
    std::vector<std::uint32_t> words(256);
    for (auto& word : words) word = channel.in(0x1f0, 2);
    EXPECT_EQ(words[1], 16383u);
    EXPECT_EQ(words[60] | words[61] << 16, 0x0fff'ffffu);
    EXPECT_EQ(words[102], 2u);
    EXPECT_EQ(words[10], unsigned{'B'} << 8 | 'H');
    EXPECT_EQ(words[11], unsigned{'0'} << 8 | '4') << "each drive has a serial number of its own";
}

TEST_F(AtaTest, SetFeatures) {
    const auto set = [&](unsigned feature, unsigned value) {
        out(features, feature);
        out(count, value);
        run(0xef);
        return interrupted();
    };
    for (const unsigned mode : {0x00, 0x01, 0x08, 0x0c}) EXPECT_EQ(set(0x03, mode), ready) << mode;
    for (const unsigned mode : {0x0d, 0x10, 0x20, 0x22, 0x40, 0x45}) EXPECT_EQ(set(0x03, mode), ready | ERR) << mode;
    EXPECT_EQ(in(features), ABRT);
    EXPECT_EQ(identify()[85] & 0x60, 0x60);
    EXPECT_EQ(set(0x82, 0), ready);
    EXPECT_EQ(set(0x55, 0), ready);
    EXPECT_EQ(identify()[85] & 0x60, 0);
    EXPECT_EQ(identify()[82] & 0x60, 0x60);
    EXPECT_EQ(set(0x02, 0), ready);
    EXPECT_EQ(set(0xaa, 0), ready);
    EXPECT_EQ(identify()[85] & 0x60, 0x60);
    EXPECT_EQ(set(0x99, 0), ready | ERR);
}

TEST_F(AtaTest, PowerManagement) {
    const auto mode = [&] {
        run(0xe5);
        EXPECT_EQ(interrupted(), ready);
        return in(count);
    };
    EXPECT_EQ(mode(), 0xff) << "active";
    for (const unsigned opcode : {0xe0, 0xe2}) {
        run(opcode);
        EXPECT_EQ(interrupted(), ready);
        EXPECT_EQ(mode(), 0x00) << "standby";
    }
    for (const unsigned opcode : {0xe1, 0xe3}) {
        run(opcode);
        EXPECT_EQ(interrupted(), ready);
        EXPECT_EQ(mode(), 0x80) << "idle";
    }
    address(0, 1);
    run(0x20);
    interrupted();
    read_sector();
    EXPECT_EQ(mode(), 0xff) << "an access wakes it";
}

TEST_F(AtaTest, FlushCacheAndTheUnknown) {
    for (const unsigned opcode : {0xe7, 0xea}) {
        run(opcode);
        EXPECT_EQ(interrupted(), ready);
    }
    // NOP, DEVICE RESET, PACKET, IDENTIFY PACKET DEVICE, DMA, SMART, and what is none.
    for (const unsigned opcode : {0x00, 0x08, 0xa0, 0xa1, 0xc8, 0xca, 0x25, 0x35, 0xb0, 0x80, 0xff}) {
        run(opcode);
        expect_error(ABRT);
    }
}

TEST_F(AtaTest, ReadNativeMaxAddress) {
    out(device, 0x40);
    run(0xf8);
    EXPECT_EQ(interrupted(), ready);
    EXPECT_EQ(address28(), sectors - 1);
    EXPECT_EQ(in(device)&0x40, 0x40);
}

TEST_F(AtaTest, ANewCommandEndsATransfer) {
    address(5, 4);
    run(0x20);
    interrupted();
    channel.in(data, 2);
    address(9, 1);
    run(0x20);
    EXPECT_EQ(interrupted(), ready | DRQ);
    EXPECT_EQ(read_sector(), 9u);
    EXPECT_EQ(quiet(), ready);
}

}  // namespace
}  // namespace bulkhead::guest
