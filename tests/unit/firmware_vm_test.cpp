// SPDX-License-Identifier: Apache-2.0
// A guest that starts with firmware: what its EPT has, at the start and as its host bridge says.
#include "monitor_fixture.hpp"

namespace bulkhead::monitor {
namespace {

constexpr std::uint64_t rom_size = 256 * kib;

class FirmwareVmTest : public MonitorTest {
  protected:
    void SetUp() override {
        MonitorTest::SetUp();
        for (std::size_t i = 0; i < rom.size(); ++i) rom[i] = static_cast<std::byte>(i >> 12);
        own_modules[0] = {"rom", rom};
        own_modules[1] = {"floppy", std::span{rom}.first(160 * kib)};
        own_modules[2] = {"odd", std::span{rom}.first(65 * kib + 1)};
        handover.modules = own_modules;
        guest::GuestConfig& config = the_system.config.guests[0];
        config.loader = guest::Loader::bios;
        config.kernel = {};
        config.firmware = "rom";
        config.floppy = "floppy";
    }
    // What is at an address, and with which rights.
    struct Page {
        bool present{}, writable{}, executable{};
        int first_byte{-1};
    };
    Page page(std::uint64_t address) {
        const auto translation = one().ept().lookup(GuestPhys{address});
        if (!translation) return {};
        const std::uint64_t at = translation->output.value + (address & (mm::bytes_in(translation->size) - 1));
        return {true, translation->attributes.writable, translation->attributes.executable,
                static_cast<int>(block_memory.span()[at - blocks_base.value])};
    }
    void attribute(unsigned reg, std::uint8_t value) {
        one().machine().ports().out(0xcf8, 4, 0x8000'0000 | (reg & ~3u));
        one().machine().ports().out(static_cast<std::uint16_t>(0xcfc + (reg & 3)), 1, value);
    }
    std::uint64_t generation() { return one().ept().history().generation(); }
    bool rung() { return the_system.doorbells[1].rung.exchange(false); }

    std::vector<std::byte> rom = std::vector<std::byte>(rom_size);
    Module own_modules[3];
};

TEST_F(FirmwareVmTest, StartsAtTheResetVectorInTheImage) {
    start(one());
    set(vmcs::guest_rip, 0xfff0);
    const Page last = page(0xffff'f000);
    EXPECT_TRUE(last.present && last.executable);
    EXPECT_FALSE(last.writable);
    EXPECT_EQ(last.first_byte, 63);
    EXPECT_EQ(page(0xfffc'0000).first_byte, 0);
    EXPECT_FALSE(page(0xfffb'f000).present);
    EXPECT_EQ(blocks.used(owner_one), memory / large_page_size + 1);
}

TEST_F(FirmwareVmTest, BelowOneMibTheEndOfTheImageIsSeen) {
    start(one());
    EXPECT_EQ(page(0xf'f000).first_byte, 63);
    EXPECT_EQ(page(0xe'0000).first_byte, 32);
    EXPECT_FALSE(page(0xe'0000).writable);
    EXPECT_FALSE(page(0xc'0000).present);
    EXPECT_FALSE(page(0xd'f000).present);
    for (const std::uint64_t ram : {0x0ull, 0x9'f000ull, 0xb'8000ull, 0x10'0000ull, 0x30'0000ull})
        EXPECT_TRUE(page(ram).present && page(ram).writable) << std::hex << ram;
}

TEST_F(FirmwareVmTest, TheHostBridgeChangesItAndTheCpuLooksAgain) {
    start(one());
    ASSERT_TRUE(one().memory().store(GuestPhys{0xf'0000}, std::uint8_t{0x5a}));
    rung();
    const std::uint64_t before = generation();
    attribute(0x59, 0x30);
    EXPECT_EQ(page(0xf'0000).first_byte, 0x5a);
    EXPECT_TRUE(page(0xf'0000).writable);
    EXPECT_GT(generation(), before);
    EXPECT_TRUE(rung()) << "what is cached must go before the next entry";
    attribute(0x59, 0x10);
    EXPECT_EQ(page(0xf'0000).first_byte, 0x5a);
    EXPECT_FALSE(page(0xf'0000).writable);
    EXPECT_FALSE(page(0xe'c000).writable);
    attribute(0x59, 0x10);
    EXPECT_TRUE(rung());
    attribute(0x59, 0x10);
    EXPECT_FALSE(rung()) << "nothing was changed";
}

TEST_F(FirmwareVmTest, TheHypervisorReachesTheRamAndNotTheImage) {
    start(one());
    std::uint8_t value = 1;
    EXPECT_TRUE(one().memory().load(GuestPhys{0xf'0000}, value));
    EXPECT_EQ(value, 0);
    EXPECT_FALSE(one().memory().store(GuestPhys{0xffff'0000}, value));
    EXPECT_FALSE(one().memory().store(GuestPhys{0xffe0'0000}, value));
}

TEST_F(FirmwareVmTest, TheKeyboardControllersResetIsAnInit) {
    start(one());
    one().machine().ports().out(0x64, 1, 0xfe);
    EXPECT_FALSE(one().is_ending());
    set(vmcs::guest_rip, 0x1234);
    EXPECT_FALSE(vcpu().prepare_events()) << "it comes anew";
    EXPECT_EQ(get(vmcs::guest_rip), 0xfff0u);
    EXPECT_TRUE(vcpu().runnable());
    one().machine().ports().out(0xcf9, 1, 0x06);
    EXPECT_TRUE(one().is_ending()) << "a hard reset is the machine's";
}

TEST_F(FirmwareVmTest, AResetGivesTheBlockBack) {
    const std::size_t free = blocks.available();
    start(one());
    one().power_off();
    end(one());
    EXPECT_EQ(blocks.available(), free);
}

TEST_F(FirmwareVmTest, WhatIsNoFirmwareOrNoFloppyIsRefused) {
    the_system.config.guests[0].firmware = "odd";
    one().ask(Request::start);
    serve(one());
    EXPECT_EQ(one().state(), Vm::State::off);
    EXPECT_TRUE(log.has("guest one: firmware odd: expected whole pages, 64 to 2048 KiB, found 66561 bytes"));
    the_system.config.guests[0].firmware = "rom";
    the_system.config.guests[0].floppy = "odd";
    one().ask(Request::start);
    serve(one());
    EXPECT_EQ(one().state(), Vm::State::off);
    EXPECT_TRUE(log.has("guest one: floppy odd: expected the size of a floppy, such as 1474560 bytes, found 66561"));
    the_system.config.guests[0].floppy = "missing";
    one().ask(Request::start);
    serve(one());
    EXPECT_TRUE(log.has("guest one: floppy missing is not among the boot modules"));
    EXPECT_EQ(blocks.used(owner_one), 0u);
}

}  // namespace
}  // namespace bulkhead::monitor
