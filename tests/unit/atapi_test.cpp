// SPDX-License-Identifier: Apache-2.0
// A CD-ROM drive on an ATA channel: the PACKET feature set after ATA/ATAPI-6, its commands after SPC-2 and MMC-4.
#include "guest/atapi_drive.hpp"

#include "ata_fixture.hpp"
#include "guest/ata_disk.hpp"

namespace bulkhead::guest {
namespace {

constexpr unsigned sectors = 40;
using Bytes = std::vector<std::uint8_t>;

class AtapiTest : public ChannelTest {
  protected:
    static constexpr std::uint8_t CD = 1, IO = 2;

    AtapiTest() { channel.attach(0, drive); }

    void start(unsigned limit = 0xfffe) {
        out(device, 0xa0);
        out(features, 0);
        out(mid, limit & 0xff);
        out(high, limit >> 8);
        out(command, 0xa0);
    }
    void send(Bytes packet) {
        packet.resize(12);
        for (unsigned i = 0; i < 12; i += 2) channel.out(data, 2, packet[i] | packet[i + 1] << 8);
    }
    void run(const Bytes& packet, unsigned limit = 0xfffe) {
        start(limit);
        EXPECT_EQ(quiet(), ready | DRQ) << "the packet is asked for without an interrupt";
        EXPECT_EQ(in(count), CD);
        send(packet);
    }
    void expect_success() {
        EXPECT_EQ(interrupted(), ready);
        EXPECT_EQ(in(count), CD | IO);
    }
    // All that comes, in blocks of what size the drive says.
    Bytes take() {
        Bytes bytes;
        blocks.clear();
        for (;;) {
            const std::uint8_t status = interrupted();
            if ((status & DRQ) == 0) {
                EXPECT_EQ(in(count), CD | IO);
                EXPECT_EQ(status, ready);
                return bytes;
            }
            EXPECT_EQ(in(count), IO);
            const unsigned size = in(mid) | in(high) << 8;
            blocks.push_back(size);
            for (unsigned i = 0; i < size; i += 2) {
                const std::uint32_t word = channel.in(data, 2);
                bytes.push_back(static_cast<std::uint8_t>(word));
                if (i + 1 < size) bytes.push_back(static_cast<std::uint8_t>(word >> 8));
            }
        }
    }
    Bytes ask(const Bytes& packet, unsigned limit = 0xfffe) {
        run(packet, limit);
        return take();
    }
    // Sense key, code and qualifier of the command that has ended.
    void expect_sense(unsigned key, unsigned code, unsigned qualifier) {
        EXPECT_EQ(interrupted(), ready | ERR);
        EXPECT_EQ(in(features), key << 4 | ABRT);
        EXPECT_EQ(in(count), CD | IO);
        const Bytes sense = ask({0x03, 0, 0, 0, 18});
        ASSERT_EQ(sense.size(), 18u);
        EXPECT_EQ(sense[0], 0x70);
        EXPECT_EQ(sense[2], key);
        EXPECT_EQ(sense[7], 10);
        EXPECT_EQ(sense[12], code);
        EXPECT_EQ(sense[13], qualifier);
    }
    // The number of the piece of 512 bytes at this place.
    static std::uint32_t number(const Bytes& bytes, std::size_t at) {
        return bytes[at] | bytes[at + 1] << 8 | bytes[at + 2] << 16 | static_cast<std::uint32_t>(bytes[at + 3]) << 24;
    }

    MemoryStore store{sectors * 2048};
    AtapiDrive drive{2, store};
    std::vector<unsigned> blocks;
};

// ---- the protocol

TEST_F(AtapiTest, Signature) {
    const auto expect = [&] {
        EXPECT_EQ(in(features), 0x01);
        EXPECT_EQ(in(count), 0x01);
        EXPECT_EQ(in(low), 0x01);
        EXPECT_EQ(in(mid), 0x14);
        EXPECT_EQ(in(high), 0xeb);
        EXPECT_EQ(quiet(), 0x00);
    };
    expect();
    run({0x00});
    expect_success();
    out(control, 0x04);
    EXPECT_EQ(alternate(), BSY);
    out(control, 0x00);
    expect();
    run({0x00});
    expect_success();
    out(command, 0x08);
    expect();
    out(command, 0x90);
    EXPECT_EQ(interrupted(), 0x00);
    expect();
}

TEST_F(AtapiTest, DiskCommandsAreAbortedWithTheSignature) {
    for (const unsigned opcode : {0xec, 0x20}) {
        out(mid, 0x12);
        out(command, opcode);
        EXPECT_EQ(interrupted() & (ERR | DRQ), ERR);
        EXPECT_EQ(in(features), ABRT);
        EXPECT_EQ(in(mid), 0x14);
        EXPECT_EQ(in(high), 0xeb);
    }
    for (const unsigned opcode : {0x00, 0x24, 0x30, 0xc6, 0xc8, 0xea, 0xff}) {
        out(command, opcode);
        EXPECT_EQ(interrupted() & (ERR | DRQ), ERR) << opcode;
        EXPECT_EQ(in(features), ABRT);
    }
}

TEST_F(AtapiTest, IdentifyPacketDevice) {
    out(command, 0xa1);
    EXPECT_EQ(interrupted(), ready | DRQ);
    const auto words = read_words(256);
    EXPECT_EQ(quiet(), ready);
    EXPECT_EQ(words[0] >> 14, 2) << "ATAPI";
    EXPECT_EQ(words[0] >> 8 & 0x1f, 5) << "CD-ROM";
    EXPECT_EQ(words[0] & 0x83, 0x80) << "removable, packets of 12 bytes";
    EXPECT_EQ(text(words, 27, 20).substr(0, 16), "Bulkhead CD-ROM ");
    EXPECT_EQ(text(words, 10, 10).substr(0, 5), "BH03 ");
    EXPECT_EQ(words[49] & 0x0300, 0x0200) << "LBA, and no DMA";
    EXPECT_EQ(words[63] | words[88], 0) << "no DMA";
    EXPECT_EQ(words[82] & 0x0210, 0x0210) << "PACKET and DEVICE RESET";
}

TEST_F(AtapiTest, DmaIsAborted) {
    out(features, 1);
    out(command, 0xa0);
    EXPECT_EQ(interrupted(), ready | ERR);
    EXPECT_EQ(in(features), ABRT);
}

TEST_F(AtapiTest, BlocksAreNotLongerThanTheByteCountLimit) {
    const Bytes whole = ask({0x28, 0, 0, 0, 0, 3, 0, 0, 2});
    EXPECT_EQ(blocks, std::vector<unsigned>{4096});
    ASSERT_EQ(whole.size(), 4096u);
    for (unsigned i = 0; i < 8; ++i) EXPECT_EQ(number(whole, 512 * i), 12 + i);
    EXPECT_EQ(ask({0x28, 0, 0, 0, 0, 3, 0, 0, 2}, 2048), whole);
    EXPECT_EQ(blocks, (std::vector<unsigned>{2048, 2048}));
    EXPECT_EQ(ask({0x28, 0, 0, 0, 0, 3, 0, 0, 2}, 1500), whole);
    EXPECT_EQ(blocks, (std::vector<unsigned>{1500, 1500, 1096}));
    EXPECT_EQ(ask({0x28, 0, 0, 0, 0, 3, 0, 0, 2}, 3001), whole) << "an odd limit is made even";
    EXPECT_EQ(blocks, (std::vector<unsigned>{3000, 1096}));
    EXPECT_EQ(ask({0x28, 0, 0, 0, 0, 3, 0, 0, 2}, 0xffff), whole);
}

TEST_F(AtapiTest, ReadsMoreThanOneBlockCanHave) {
    const Bytes bytes = ask({0xa8, 0, 0, 0, 0, 0, 0, 0, 0, 40}, 0xffff);
    EXPECT_EQ(blocks, (std::vector<unsigned>{0xfffe, 80 * 1024 - 0xfffe}));
    ASSERT_EQ(bytes.size(), sectors * 2048u);
    for (unsigned i = 0; i < 160; ++i) EXPECT_EQ(number(bytes, 512 * i), i);
}

TEST_F(AtapiTest, ALimitOfZeroIsAbortedIfThereIsData) {
    run({0x00}, 0);
    expect_success();
    run({0x25}, 0);
    EXPECT_EQ(interrupted(), ready | ERR);
    EXPECT_EQ(in(features)&ABRT, ABRT);
}

TEST_F(AtapiTest, AnOddAmount) {
    EXPECT_EQ(ask({0x12, 0, 0, 0, 5}), (Bytes{0x05, 0x80, 0, 0x21, 31}));
    EXPECT_EQ(blocks, std::vector<unsigned>{5});
    EXPECT_EQ(ask({0x12, 0, 0, 0, 0}), Bytes{}) << "nothing was asked for";
    EXPECT_EQ(ask({0x12, 0, 0, 0, 200}).size(), 36u) << "no more than there is";
}

TEST_F(AtapiTest, DataOf32Bits) {
    run({0x28, 0, 0, 0, 0, 1, 0, 0, 1});
    interrupted();
    EXPECT_EQ(channel.in(data, 4), 4u);
    for (unsigned i = 1; i < 512; ++i) channel.in(data, 4);
    expect_success();
}

TEST_F(AtapiTest, AResetEndsACommand) {
    run({0x28, 0, 0, 0, 0, 1, 0, 0, 4});
    interrupted();
    out(command, 0x08);
    EXPECT_EQ(quiet(), 0);
    EXPECT_EQ(channel.in(data, 2), 0u);
    EXPECT_EQ(ask({0x25}).size(), 8u);
}

TEST_F(AtapiTest, SharesACableWithADisk) {
    MemoryStore other{100 * 512};
    AtaDisk disk{1, other};
    channel.attach(1, disk);
    run({0x28, 0, 0, 0, 0, 1, 0, 0, 1});
    out(device, 0xf0);
    EXPECT_EQ(quiet(), ready) << "the disk has nothing to do with it";
    out(device, 0xa0);
    EXPECT_EQ(take().size(), 2048u);
}

// ---- reading

TEST_F(AtapiTest, ReadCapacity) {
    EXPECT_EQ(ask({0x25}), (Bytes{0, 0, 0, sectors - 1, 0, 0, 0x08, 0}));
}

TEST_F(AtapiTest, ReadsAndSeeksEndWithTheDisc) {
    EXPECT_EQ(ask({0x28, 0, 0, 0, 0, 39, 0, 0, 1}).size(), 2048u);
    run({0x28, 0, 0, 0, 0, 39, 0, 0, 2});
    expect_sense(5, 0x21, 0);
    run({0x28, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 1});
    expect_sense(5, 0x21, 0);
    run({0xa8, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff});
    expect_sense(5, 0x21, 0);
    run({0x28, 0, 0, 0, 0, 3, 0, 0, 0});
    expect_success();
    run({0x2b, 0, 0, 0, 0, 39});
    expect_success();
    run({0x2b, 0, 0, 0, 0, 40});
    expect_sense(5, 0x21, 0);
}

TEST_F(AtapiTest, WhatCannotBeReadIsAMediumError) {
    store.bad = 5 * 2048 + 7;
    run({0x28, 0, 0, 0, 0, 5, 0, 0, 1});
    expect_sense(3, 0x11, 0);
    run({0x28, 0, 0, 0, 0, 4, 0, 0, 2});
    EXPECT_EQ(interrupted(), ready | DRQ);
    for (unsigned i = 0; i < 1024; ++i) channel.in(data, 2);
    expect_sense(3, 0x11, 0);
}

TEST(AtapiTruncated, ALastSectorThatIsNotWholeIsThereAndCannotBeRead) {
    MemoryStore store{3 * 2048 + 512};
    AtapiDrive drive{0, store};
    AtaChannel channel{0x1f0, 0x3f6};
    channel.attach(0, drive);
    const auto read = [&](unsigned lba) {
        channel.out(0x1f4, 2, 0xfffe);
        channel.out(0x1f7, 1, 0xa0);
        const std::uint32_t words[] = {0x0028, 0, lba << 8, 0, 1, 0};
        for (const std::uint32_t word : words) channel.out(0x1f0, 2, word);
        return channel.in(0x1f7, 1) << 8 | channel.in(0x1f1, 1);
    };
    EXPECT_EQ(read(2) >> 8, 0x58u);
    EXPECT_EQ(read(3), 0x5134u) << "medium error";
    EXPECT_EQ(read(4), 0x5154u) << "illegal request";
}

TEST_F(AtapiTest, ReadCdGivesUserData) {
    EXPECT_EQ(ask({0xbe, 0, 0, 0, 0, 2, 0, 0, 1, 0x10}), ask({0x28, 0, 0, 0, 0, 2, 0, 0, 1}));
    EXPECT_EQ(ask({0xbe, 0x08, 0, 0, 0, 2, 0, 0, 1, 0x10}).size(), 2048u) << "mode 1";
    run({0xbe, 0, 0, 0, 0, 2, 0, 0, 1, 0});
    expect_success();
    run({0xbe, 0, 0, 0, 0, 2, 0, 0, 1, 0xf8});
    expect_sense(5, 0x24, 0);
    run({0xbe, 0x04, 0, 0, 0, 2, 0, 0, 1, 0x10});
    expect_sense(5, 0x64, 0);
}

TEST_F(AtapiTest, TableOfContents) {
    const Bytes all{0, 18, 1, 1, 0, 0x14, 1, 0, 0, 0, 0, 0, 0, 0x14, 0xaa, 0, 0, 0, 0, sectors};
    EXPECT_EQ(ask({0x43, 0, 0, 0, 0, 0, 0, 0, 200}), all);
    EXPECT_EQ(ask({0x43, 0, 0, 0, 0, 0, 1, 0, 12}), Bytes(all.begin(), all.begin() + 12));
    EXPECT_EQ(ask({0x43, 0, 0, 0, 0, 0, 0xaa, 0, 200}), (Bytes{0, 10, 1, 1, 0, 0x14, 0xaa, 0, 0, 0, 0, sectors}));
    const Bytes minutes = ask({0x43, 0x02, 0, 0, 0, 0, 0, 0, 200});
    EXPECT_EQ(Bytes(minutes.begin() + 8, minutes.begin() + 12), (Bytes{0, 0, 2, 0})) << "two seconds before the first";
    EXPECT_EQ(Bytes(minutes.begin() + 16, minutes.end()), (Bytes{0, 0, 2, sectors}));
    EXPECT_EQ(ask({0x43, 0, 1, 0, 0, 0, 0, 0, 200}), (Bytes{0, 10, 1, 1, 0, 0x14, 1, 0, 0, 0, 0, 0}));
    EXPECT_EQ(ask({0x43, 0, 0, 0, 0, 0, 0, 0, 200, 0x40}).size(), 12u) << "the session, as SFF-8020i asks";
    run({0x43, 0, 0, 0, 0, 0, 2, 0, 200});
    expect_sense(5, 0x24, 0);
    run({0x43, 0, 5, 0, 0, 0, 0, 0, 200});
    expect_sense(5, 0x24, 0);
}

// ---- the drive

TEST_F(AtapiTest, TestUnitReadyAndSense) {
    run({0x00});
    expect_success();
    run({0x04});
    expect_sense(5, 0x20, 0);
    const Bytes sense = ask({0x03, 0, 0, 0, 18});
    EXPECT_EQ(sense[2] | sense[12] | sense[13], 0) << "it is told once";
}

TEST_F(AtapiTest, ASuccessForgetsTheSense) {
    run({0x04});
    EXPECT_EQ(interrupted(), ready | ERR);
    run({0x00});
    expect_success();
    EXPECT_EQ(ask({0x03, 0, 0, 0, 18})[2], 0);
}

TEST_F(AtapiTest, Inquiry) {
    const Bytes bytes = ask({0x12, 0, 0, 0, 96});
    ASSERT_EQ(bytes.size(), 36u);
    EXPECT_EQ(bytes[0], 0x05) << "CD-ROM";
    EXPECT_EQ(bytes[1], 0x80) << "removable";
    EXPECT_EQ(bytes[4], 31);
    EXPECT_EQ(std::string(bytes.begin() + 8, bytes.begin() + 31), "BulkheadCD-ROM         ");
    run({0x12, 1, 0x80, 0, 96});
    expect_sense(5, 0x24, 0);
}

TEST_F(AtapiTest, ModeSense) {
    const Bytes capabilities = ask({0x5a, 0, 0x2a, 0, 0, 0, 0, 0, 128});
    ASSERT_EQ(capabilities.size(), 8u + 20);
    EXPECT_EQ(capabilities[1], 26);
    EXPECT_EQ(capabilities[8], 0x2a);
    EXPECT_EQ(capabilities[9], 18);
    EXPECT_EQ(capabilities[8 + 3], 0) << "writes nothing";
    EXPECT_EQ(capabilities[8 + 6] & 0x0b, 0x01) << "locks, is not locked, does not eject";
    EXPECT_EQ(ask({0x5a, 0, 0x01, 0, 0, 0, 0, 0, 128}).size(), 8u + 8);
    EXPECT_EQ(ask({0x5a, 0, 0x3f, 0, 0, 0, 0, 0, 128}).size(), 8u + 8 + 20);
    EXPECT_EQ(ask({0x5a, 0, 0x3f, 0, 0, 0, 0, 0, 8}).size(), 8u);
    const Bytes changeable = ask({0x5a, 0, 0x6a, 0, 0, 0, 0, 0, 128});
    EXPECT_TRUE(std::all_of(changeable.begin() + 10, changeable.end(), [](unsigned b) { return b == 0; }));
    run({0x5a, 0, 0xea, 0, 0, 0, 0, 0, 128});
    expect_sense(5, 0x39, 0);
    run({0x5a, 0, 0x0d, 0, 0, 0, 0, 0, 128});
    expect_sense(5, 0x24, 0);
}

TEST_F(AtapiTest, TheTrayStaysClosed) {
    for (const std::uint8_t power : Bytes{0, 1, 3}) {
        run({0x1b, 0, 0, 0, power});
        expect_success();
    }
    run({0x1b, 0, 0, 0, 2});
    expect_sense(5, 0x24, 0);
    run({0x1e, 0, 0, 0, 1});
    expect_success();
    EXPECT_EQ(ask({0x5a, 0, 0x2a, 0, 0, 0, 0, 0, 128})[8 + 6] & 0x02, 0x02);
    run({0x1b, 0, 0, 0, 2});
    expect_sense(5, 0x53, 2);
    run({0x1e, 0, 0, 0, 0});
    expect_success();
    run({0x1b, 0, 0, 0, 2});
    expect_sense(5, 0x24, 0);
}

TEST_F(AtapiTest, GetConfiguration) {
    const Bytes all = ask({0x46, 0, 0, 0, 0, 0, 0, 1, 0});
    ASSERT_GE(all.size(), 8u);
    EXPECT_EQ(all[3], all.size() - 4);
    EXPECT_EQ(all[6] << 8 | all[7], 0x0008) << "CD-ROM";
    Bytes codes;
    for (std::size_t at = 8; at < all.size(); at += 4u + all[at + 3]) codes.push_back(all[at + 1]);
    EXPECT_EQ(codes, (Bytes{0x00, 0x01, 0x03, 0x10}));
    const Bytes one = ask({0x46, 2, 0, 3, 0, 0, 0, 1, 0});
    ASSERT_EQ(one.size(), 16u);
    EXPECT_EQ(one[9], 3);
    EXPECT_EQ(ask({0x46, 2, 0, 5, 0, 0, 0, 1, 0}).size(), 8u) << "a feature that it has not";
    EXPECT_EQ(ask({0x46, 1, 0, 3, 0, 0, 0, 1, 0}).size(), 8u + 8 + 12) << "those from there on";
    EXPECT_EQ(ask({0x46, 0, 0, 0, 0, 0, 0, 0, 8}).size(), 8u);
    run({0x46, 3, 0, 0, 0, 0, 0, 1, 0});
    expect_sense(5, 0x24, 0);
}

TEST(AtapiDvd, ALargeDiscIsADvd) {
    LargeStore store{4'000'000'000};
    AtapiDrive drive{0, store};
    AtaChannel channel{0x1f0, 0x3f6};
    channel.attach(0, drive);
    channel.out(0x1f4, 2, 0xfffe);
    channel.out(0x1f7, 1, 0xa0);
    const std::uint32_t words[] = {0x0046, 0, 0, 0, 8, 0};
    for (const std::uint32_t word : words) channel.out(0x1f0, 2, word);
    for (unsigned i = 0; i < 3; ++i) channel.in(0x1f0, 2);
    EXPECT_EQ(channel.in(0x1f0, 2), 0x1000u);
}

TEST_F(AtapiTest, GetEventStatusNotification) {
    EXPECT_EQ(ask({0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8}), (Bytes{0, 6, 4, 0x10, 0, 2, 0, 0})) << "no change, a disc is in";
    EXPECT_EQ(ask({0x4a, 1, 0, 0, 0x02, 0, 0, 0, 8}), (Bytes{0, 2, 0x80, 0x10})) << "no such event";
    run({0x4a, 0, 0, 0, 0x10, 0, 0, 0, 8});
    expect_sense(5, 0x24, 0);
}

TEST_F(AtapiTest, MechanismStatus) {
    EXPECT_EQ(ask({0xbd, 0, 0, 0, 0, 0, 0, 0, 0, 8}), Bytes(8));
}

}  // namespace
}  // namespace bulkhead::guest
