// SPDX-License-Identifier: Apache-2.0
// The drives of a guest: boot modules that are never written, and how long what the guest writes to them lasts.
#include "monitor/drives.hpp"

#include "monitor_fixture.hpp"

namespace bulkhead::monitor {
namespace {

constexpr std::uint16_t data = 0x1f0, count = 0x1f2, low = 0x1f3, device = 0x1f6, command = 0x1f7;
constexpr unsigned read_sectors = 0x20, write_sectors = 0x30, error_bit = 0x01;

class DrivesTest : public MonitorTest {
  protected:
    static constexpr auto owner_of_drives = static_cast<mm::OwnerId>(2 + guest::max_guests);
    static constexpr std::size_t guest_blocks = memory / large_page_size;

    void SetUp() override {
        MonitorTest::SetUp();
        own_modules[0] = modules[0];
        own_modules[1] = {"small.img", image};
        own_modules[2] = {"large.img", large};
        own_modules[3] = {"cut.img", std::span{image}.first(image.size() - 1)};
        handover.modules = own_modules;
        use({{guest::DriveKind::disk, "small.img"}});
    }
    void use(std::initializer_list<guest::DriveConfig> drives) {
        guest::GuestConfig& config = the_system.config.guests[0];
        std::ranges::copy(drives, config.drives.begin());
        config.drive_count = drives.size();
    }
    guest::PortBus& ports() { return one().machine().ports(); }
    // The status after the command, of one sector.
    std::uint32_t run(unsigned opcode, unsigned lba) {
        ports().out(device, 1, 0xe0);
        ports().out(count, 1, 1);
        for (std::uint16_t i = 0; i < 3; ++i)
            ports().out(static_cast<std::uint16_t>(low + i), 1, lba >> (8 * i) & 0xff);
        ports().out(command, 1, opcode);
        return ports().in(command, 1);
    }
    bool write(unsigned lba, std::uint16_t word) {
        if ((run(write_sectors, lba) & error_bit) != 0) return false;
        for (unsigned i = 0; i < 256; ++i) ports().out(data, 2, word);
        return (ports().in(command, 1) & error_bit) == 0;
    }
    // The first word; nothing if it cannot be read.
    std::optional<std::uint32_t> read(unsigned lba) {
        if ((run(read_sectors, lba) & error_bit) != 0) return std::nullopt;
        return ports().in(data, 2);
    }
    std::size_t taken() { return blocks.used(owner_of_drives); }
    void come_back() {
        end(one());
        serve(one());
        ASSERT_EQ(one().state(), Vm::State::running);
        loop->load(one().vcpu(0));
    }

    std::vector<std::byte> image = std::vector<std::byte>(64 * 512, std::byte{0x11});
    std::vector<std::byte> large = std::vector<std::byte>(4 * mib, std::byte{0x22});
    Module own_modules[4];
};

TEST_F(DrivesTest, TheGuestReadsTheImageAndItsWritesAreItsOwn) {
    const auto before = image;
    start(one());
    EXPECT_EQ(read(5), 0x1111u);
    EXPECT_TRUE(write(5, 0xabcd));
    EXPECT_EQ(read(5), 0xabcdu);
    EXPECT_EQ(read(6), 0x1111u);
    EXPECT_EQ(image, before);
}

TEST_F(DrivesTest, WritesAreKeptInMemoryOfTheGuestsOwn) {
    start(one());
    EXPECT_EQ(taken(), 1u) << "all of a small disk fits into a block";
    EXPECT_EQ(blocks.used(owner_one), guest_blocks);
    one().power_off();
    end(one());
    EXPECT_EQ(taken(), 0u);
    EXPECT_EQ(blocks.available(), block_count);
}

TEST_F(DrivesTest, TheyOutliveAResetOfTheMachine) {
    start(one());
    EXPECT_TRUE(write(5, 0xabcd));
    one().reset();
    come_back();
    EXPECT_EQ(read(5), 0xabcdu);
    EXPECT_EQ(taken(), 1u);
}

TEST_F(DrivesTest, TheyAreGoneWhenTheOperatorRestartsTheGuest) {
    start(one());
    EXPECT_TRUE(write(5, 0xabcd));
    one().ask(Request::restart);
    one().serve_requests();
    come_back();
    EXPECT_EQ(read(5), 0x1111u);
}

TEST_F(DrivesTest, TheyAreGoneWhenTheOperatorStopsAGuestThatIsAboutToComeBack) {
    start(one());
    one().reset();
    end(one());
    EXPECT_EQ(taken(), 1u);
    one().ask(Request::stop);
    one().serve_requests();
    EXPECT_EQ(one().state(), Vm::State::off);
    EXPECT_EQ(taken(), 0u);
}

TEST_F(DrivesTest, MoreThanItsMemoryIsAnErrorThatIsToldOnce) {
    use({{guest::DriveKind::disk, "large.img"}});
    the_system.config.guests[0].disk_memory = 2 * mib;
    start(one());
    EXPECT_EQ(taken(), 1u);
    unsigned written = 0;
    while (write(8 * written, 0x7777)) ++written;
    // 512 pages, of which the tree has some.
    EXPECT_EQ(written, 512u - 3);
    EXPECT_FALSE(write(8 * written, 0x7777));
    EXPECT_EQ(read(0), 0x7777u);
    EXPECT_EQ(read(8 * written), 0x2222u);
    const std::string_view line =
        "guest one: disk large.img: a write of sector 4072 fails: its disk-memory is used up\n";
    const auto at = log.text_.find(line);
    ASSERT_NE(at, std::string::npos) << log.text_;
    EXPECT_EQ(log.text_.find("a write of sector", at + line.size()), std::string::npos);
}

TEST_F(DrivesTest, WithoutMemoryTheDiskTakesNoWrites) {
    the_system.config.guests[0].disk_memory = 0;
    start(one());
    EXPECT_EQ(taken(), 0u);
    EXPECT_EQ(read(5), 0x1111u);
    EXPECT_FALSE(write(5, 1));
    EXPECT_TRUE(log.has("guest one: disk small.img: a write of sector 5 fails: it takes no writes"));
}

TEST_F(DrivesTest, TheEndOfAnImageIsTold) {
    use({{guest::DriveKind::disk, "cut.img"}, {guest::DriveKind::cdrom, "cut.img"}});
    start(one());
    EXPECT_TRUE(log.has("guest one: disk cut.img: 32767 bytes are no whole number of sectors"));
    EXPECT_TRUE(log.has("guest one: cdrom cut.img: 32767 bytes are no whole number of sectors"));
    EXPECT_EQ(read(62), 0x1111u);
    EXPECT_FALSE(read(63));
    EXPECT_FALSE(read(64));
    EXPECT_TRUE(log.has("guest one: disk cut.img: a read of sector 63 fails: it ends before that"));
    EXPECT_FALSE(log.has("a read of sector 64 fails")) << "one line";
}

TEST_F(DrivesTest, ACdromTakesNoMemory) {
    use({{guest::DriveKind::cdrom, "large.img"}});
    start(one());
    EXPECT_EQ(taken(), 0u);
}

TEST_F(DrivesTest, AllDisksShareTheMemory) {
    use({{guest::DriveKind::disk, "large.img"}, {guest::DriveKind::disk, "large.img"}});
    the_system.config.guests[0].disk_memory = 4 * mib;
    start(one());
    EXPECT_EQ(taken(), 2u);
    EXPECT_TRUE(write(0, 0x3333));
    ports().out(device, 1, 0xf0);
    ports().out(command, 1, read_sectors);
    EXPECT_EQ(ports().in(data, 2), 0x2222u) << "each has its own contents";
}

TEST_F(DrivesTest, WhatIsNotThereIsRefusedAndNothingIsKept) {
    use({{guest::DriveKind::disk, "small.img"}, {guest::DriveKind::cdrom, "missing.iso"}});
    one().ask(Request::start);
    serve(one());
    EXPECT_EQ(one().state(), Vm::State::off);
    EXPECT_TRUE(log.has("guest one: cdrom missing.iso is not among the boot modules"));
    use({{guest::DriveKind::disk, "large.img"},
         {guest::DriveKind::disk, "large.img"},
         {guest::DriveKind::disk, "large.img"}});
    one().ask(Request::start);
    serve(one());
    EXPECT_EQ(one().state(), Vm::State::off);
    EXPECT_TRUE(log.has("guest one: needs 14 MiB for what it writes to its disks"));
    EXPECT_EQ(blocks.available(), block_count);
}

}  // namespace
}  // namespace bulkhead::monitor
