// SPDX-License-Identifier: Apache-2.0
// Against QEMU's docs/specs/fw_cfg.rst; ports, keys and bits are written out here on purpose.
#include "guest/fw_cfg.hpp"

#include <gtest/gtest.h>

#include <map>
#include <string>

#include "guest/fw_cfg_items.hpp"
#include "tests/unit/elf_fixture.hpp"
#include "tests/unit/fake_memory.hpp"

namespace {

using namespace bulkhead;
using namespace bulkhead::guest;

std::span<const std::byte> bytes(std::string_view text) {
    return std::as_bytes(std::span{text});
}

template <class T>
T swapped(T value) {
    T result = 0;
    for (std::size_t i = 0; i < sizeof value; ++i) result = static_cast<T>(result << 8 | (value >> (8 * i) & 0xff));
    return result;
}

class FwCfgTest : public testing::Test {
  protected:
    static constexpr std::uint32_t error = 1, read = 2, skip = 4, select_bit = 8, write = 16;

    void select(std::uint16_t key) { device.out(0x510, 2, key); }
    std::string text(std::size_t count) {
        std::string text;
        for (std::size_t i = 0; i < count; ++i) text += static_cast<char>(device.in(0x511, 1));
        return text;
    }
    std::uint64_t number(std::uint16_t key, std::size_t size) {
        select(key);
        std::uint64_t value = 0;
        for (std::size_t i = 0; i < size; ++i) value |= std::uint64_t{device.in(0x511, 1)} << (8 * i);
        return value;
    }
    std::uint64_t big_endian(std::size_t size) {
        std::uint64_t value = 0;
        for (std::size_t i = 0; i < size; ++i) value = value << 8 | device.in(0x511, 1);
        return value;
    }
    // The request lies at 100h; what it comes to stands in its control word.
    void start(std::uint32_t control, std::uint32_t length, std::uint64_t address) {
        memory.set(0x100, swapped(control));
        memory.set(0x104, swapped(length));
        memory.set(0x108, swapped(address));
        device.out(0x518, 4, swapped(0x100u));
    }
    std::uint32_t result() { return swapped(memory.at<std::uint32_t>(0x100)); }
    std::string memory_text(std::uint64_t at, std::size_t count) {
        std::string text(count, '\0');
        for (std::size_t i = 0; i < count; ++i) text[i] = memory.at<char>(at + i);
        return text;
    }

    FakeMemory memory{8 * mib};
    Clock clock{.now = 0, .hz = 50'000'000};
    TimerQueue timers{clock};
    FwCfg device{memory, timers};
};

TEST_F(FwCfgTest, SignatureAndFeatures) {
    select(0);
    EXPECT_EQ(text(4), "QEMU");
    EXPECT_EQ(number(1, 4), 3u) << "ports and DMA";
    EXPECT_EQ(device.in(0x514, 4), 0x554d4551u);
    EXPECT_EQ(device.in(0x518, 4), 0x47464320u);
    EXPECT_EQ(device.in(0x514, 1), static_cast<unsigned>('Q'));
    EXPECT_EQ(device.in(0x51b, 1), static_cast<unsigned>('G'));
}

TEST_F(FwCfgTest, ItemsAreReadFromTheirStartAndEndInZeros) {
    ASSERT_TRUE(device.add(0x15, bytes("abc")));
    select(0x15);
    EXPECT_EQ(text(5), std::string("abc\0\0", 5));
    select(0x15);
    EXPECT_EQ(text(1), "a");
    select(0x13);
    EXPECT_EQ(text(2), std::string(2, '\0')) << "not there";
    select(0x7fff);
    EXPECT_EQ(text(1), std::string(1, '\0'));
    select(0x4015);
    EXPECT_EQ(text(3), "abc") << "bit 14 asks to write";
}

TEST_F(FwCfgTest, NothingCanBeWritten) {
    ASSERT_TRUE(device.add(0x15, bytes("abc")));
    select(0x15);
    device.out(0x511, 1, 'x');
    EXPECT_EQ(text(3), "abc");
    start(0x15u << 16 | select_bit | write, 3, 0x1000);
    EXPECT_EQ(result(), error);
}

TEST_F(FwCfgTest, Directory) {
    ASSERT_TRUE(device.add_file("etc/one", bytes("1")));
    ASSERT_TRUE(device.add_file(std::string(55, 'n'), bytes("twenty-two")));
    select(0x19);
    EXPECT_EQ(big_endian(4), 2u);
    EXPECT_EQ(big_endian(4), 1u);
    EXPECT_EQ(big_endian(2), 0x20u);
    EXPECT_EQ(big_endian(2), 0u);
    EXPECT_EQ(text(56), "etc/one" + std::string(49, '\0'));
    EXPECT_EQ(big_endian(4), 10u);
    EXPECT_EQ(big_endian(2), 0x21u);
    big_endian(2);
    EXPECT_EQ(text(56), std::string(55, 'n') + '\0');
    select(0x21);
    EXPECT_EQ(text(10), "twenty-two");
}

TEST_F(FwCfgTest, WhatCannotBeAdded) {
    EXPECT_FALSE(device.add(0, bytes("x"))) << "taken";
    EXPECT_FALSE(device.add_file(std::string(56, 'n'), bytes("x")));
    EXPECT_FALSE(device.add_file("", bytes("x")));
    ASSERT_TRUE(device.add_file("a", bytes("x")));
    EXPECT_FALSE(device.add_file("a", bytes("y")));
    for (int i = 1; i < 32; ++i) EXPECT_TRUE(device.add_file("file" + std::to_string(i), bytes("x")));
    EXPECT_FALSE(device.add_file("one more", bytes("x")));
    EXPECT_FALSE(device.add_copy(0x100, numbered(1025)));
    EXPECT_TRUE(device.add_copy(0x100, numbered(900)));
}

TEST_F(FwCfgTest, DmaReadsAndFillsUp) {
    ASSERT_TRUE(device.add(0x15, bytes("hello")));
    memory.set(0x2000, ~0ull);
    start(0x15u << 16 | select_bit | read, 7, 0x2000);
    EXPECT_EQ(result(), 0u);
    EXPECT_EQ(memory_text(0x2000, 8), std::string("hello\0\0\xff", 8));
}

TEST_F(FwCfgTest, DmaGoesOnWhereItWas) {
    ASSERT_TRUE(device.add(0x15, bytes("hello world")));
    select(0x15);
    start(read, 3, 0x2000);
    start(skip, 3, 0);
    EXPECT_EQ(result(), 0u);
    start(read, 5, 0x2010);
    EXPECT_EQ(memory_text(0x2000, 3), "hel");
    EXPECT_EQ(memory_text(0x2010, 5), "world");
    start(0x15u << 16 | select_bit, 0, 0);
    EXPECT_EQ(result(), 0u);
    EXPECT_EQ(text(5), "hello") << "selected alone";
    start(0x15u << 16 | select_bit | skip, ~0u, 0);
    EXPECT_EQ(text(1), std::string(1, '\0'));
}

TEST_F(FwCfgTest, DmaWithA64BitAddress) {
    memory.set(0x100, swapped(0u));
    device.out(0x514, 4, swapped(1u));
    device.out(0x518, 4, swapped(0x100u));
    EXPECT_EQ(memory.at<std::uint32_t>(0x100), 0u) << "the request is above 4 GiB, where nothing is";
    start(read, 0, 0x2000);
    EXPECT_EQ(result(), 0u) << "the address starts at 0 anew";
}

TEST_F(FwCfgTest, DmaOutsideMemoryIsAnError) {
    ASSERT_TRUE(device.add(0x15, bytes("hello")));
    start(0x15u << 16 | select_bit | read, 5, 8 * mib - 4);
    EXPECT_EQ(result(), error);
    start(0x15u << 16 | select_bit | read, 6, 0xfee00000);
    EXPECT_EQ(result(), error);
    start(0x15u << 16 | select_bit | read, 6, ~0ull - 2);
    EXPECT_EQ(result(), error);
}

// The specification lets a transfer be "in progress" while the control word is not yet clear.
TEST_F(FwCfgTest, ALargeReadIsDoneInParts) {
    const Image image = numbered(3 * mib + 5);
    ASSERT_TRUE(device.add(0x11, image));
    start(0x11u << 16 | select_bit | read, 3 * mib + 5, 0x100000);
    EXPECT_NE(result(), 0u);
    EXPECT_EQ(result() & error, 0u);
    unsigned rounds = 0;
    for (; result() != 0 && rounds < 10; ++rounds) {
        ASSERT_NE(timers.earliest(), never);
        clock.now = timers.earliest();
        timers.expire();
    }
    EXPECT_EQ(rounds, 3u);
    EXPECT_EQ(timers.earliest(), never);
    for (std::size_t at = 0; at < image.size(); at += 4093) EXPECT_EQ(memory.at<std::byte>(0x100000 + at), image[at]);
    EXPECT_EQ(memory.at<std::byte>(0x100000 + image.size() - 1), image.back());
}

TEST_F(FwCfgTest, ASecondRequestMeanwhileIsAnError) {
    const Image image = numbered(2 * mib);
    ASSERT_TRUE(device.add(0x11, image));
    start(0x11u << 16 | select_bit | read, 2 * mib, 0x100000);
    memory.set(0x200, swapped(read));
    device.out(0x518, 4, swapped(0x200u));
    EXPECT_EQ(swapped(memory.at<std::uint32_t>(0x200)), error);
    clock.now = timers.earliest();
    timers.expire();
    EXPECT_EQ(result(), 0u);
}

TEST_F(FwCfgTest, ItemsOfTheMachine) {
    ASSERT_TRUE(add_items(device, {.memory = 5 * gib,
                                   .vcpus = 3,
                                   .loader = Loader::flat,
                                   .kernel = bytes("kernel"),
                                   .cmdline = "a b",
                                   .entry = 0x100000}));
    EXPECT_EQ(number(0x03, 8), 5 * gib);
    EXPECT_EQ(number(0x05, 2), 3u);
    EXPECT_EQ(number(0x0f, 2), 3u);
    EXPECT_EQ(number(0x14, 4), 4u) << "with its zero";
    select(0x15);
    EXPECT_EQ(text(5), std::string("a b\0\0", 5));
    EXPECT_EQ(number(0x08, 4), 6u);
    select(0x11);
    EXPECT_EQ(text(6), "kernel");
    EXPECT_EQ(number(0x10, 4), 0x100000u);
    EXPECT_EQ(number(0x0b, 4), 0u) << "no initrd";
    // etc/e820: 3 GiB from 0, the rest from 4 GiB.
    select(0x19);
    EXPECT_EQ(big_endian(4), 1u);
    EXPECT_EQ(big_endian(4), 40u);
    big_endian(4);
    EXPECT_EQ(text(10), std::string("etc/e820\0\0", 10));
    select(0x20);
    const std::uint64_t expected[] = {0, 3 * gib, 1, 4 * gib, 2 * gib, 1};
    for (std::size_t i = 0; i < 6; ++i) {
        std::uint64_t value = 0;
        for (unsigned byte = 0; byte < (i % 3 == 2 ? 4u : 8u); ++byte)
            value |= std::uint64_t{device.in(0x511, 1)} << (8 * byte);
        EXPECT_EQ(value, expected[i]) << i;
    }
}

TEST_F(FwCfgTest, ItemsForFirmware) {
    const Image floppy = numbered(160 * 1024), rom = numbered(512);
    ASSERT_TRUE(add_firmware_items(
        device, {.memory = 64 * mib, .vcpus = 2, .boot_menu = 5, .vgabios = rom, .floppy = floppy}));
    EXPECT_EQ(number(0x05, 2), 2u);
    EXPECT_EQ(number(0x0e, 2), 1u) << "a boot menu";
    EXPECT_EQ(number(0x11, 4), 0u) << "no kernel";
    select(0x19);
    const std::uint64_t count = big_endian(4);
    std::map<std::string, std::uint64_t> sizes;
    for (std::uint64_t i = 0; i < count; ++i) {
        const std::uint64_t size = big_endian(4);
        big_endian(4);
        sizes[text(56).c_str()] = size;
    }
    const std::map<std::string, std::uint64_t> expected = {{"etc/e820", 20},
                                                           {"etc/boot-menu-wait", 2},
                                                           {"etc/screen-and-debug", 1},
                                                           {"vgaroms/vgabios.bin", 512},
                                                           {"floppyimg/floppy.img", 160 * 1024}};
    EXPECT_EQ(sizes, expected);
    EXPECT_EQ(number(0x21, 2), 5000u) << "milliseconds";
}

TEST_F(FwCfgTest, ABzImageIsPartedInSetupAndKernel) {
    Image kernel = numbered(3 * 512 + 100);
    put<std::uint8_t>(kernel, 0x1f1, 2);
    put<std::uint32_t>(kernel, 0x22c, 0x37ffffff);
    const Image initrd = numbered(5000);
    ASSERT_TRUE(add_items(device, {.memory = 2 * gib, .loader = Loader::linux, .kernel = kernel, .initrd = initrd}));
    EXPECT_EQ(number(0x17, 4), 3u * 512);
    EXPECT_EQ(number(0x08, 4), 100u);
    select(0x18);
    EXPECT_EQ(text(1)[0], static_cast<char>(kernel[0]));
    select(0x11);
    EXPECT_EQ(text(1)[0], static_cast<char>(kernel[3 * 512]));
    EXPECT_EQ(number(0x16, 4), 0x10000u);
    EXPECT_EQ(number(0x07, 4), 0x100000u);
    EXPECT_EQ(number(0x13, 4), 0x20000u);
    EXPECT_EQ(number(0x0b, 4), 5000u);
    EXPECT_EQ(number(0x0a, 4), (0x38000000u - 5000) & ~0xfffu);
    select(0x12);
    EXPECT_EQ(text(1)[0], static_cast<char>(initrd[0]));
}

}  // namespace
