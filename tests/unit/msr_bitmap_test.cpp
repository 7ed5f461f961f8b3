// SPDX-License-Identifier: Apache-2.0
#include "vmx/msr_bitmap.hpp"

#include <gtest/gtest.h>

#include <cstring>

#include "vmx/io_bitmap.hpp"

namespace bulkhead::vmx {
namespace {

using isa::Msr;

// As the processor reads the page (SDM 24.6.9).
bool sdm_exits(const MsrBitmap& bitmap, std::uint32_t msr, bool write) {
    std::array<std::uint8_t, 4096> page;
    std::memcpy(page.data(), &bitmap, sizeof page);
    unsigned base;
    if (msr <= 0x1fff)
        base = write ? 2048 : 0;
    else if (msr >= 0xc000'0000 && msr <= 0xc000'1fff)
        base = write ? 3072 : 1024;
    else
        return true;
    const unsigned bit = msr & 0x1fff;
    return (page[base + bit / 8] >> bit % 8 & 1) != 0;
}

constexpr std::uint32_t interesting[] = {0, 1, 0x10, 0x174, 0x1fff, 0x2000, 0x4000'0000, 0xbfff'ffff, 0xc000'0000,
                                         0xc000'0080, 0xc000'0102, 0xc000'1fff, 0xc000'2000, 0xffff'ffff};

TEST(MsrBitmap, TrapsEverythingAtFirst) {
    const MsrBitmap bitmap;
    for (const std::uint32_t msr : interesting) {
        EXPECT_TRUE(sdm_exits(bitmap, msr, false)) << std::hex << msr;
        EXPECT_TRUE(sdm_exits(bitmap, msr, true)) << std::hex << msr;
    }
}

TEST(MsrBitmap, LetsThroughExactlyWhatWasAllowed) {
    for (const std::uint32_t allowed : {0u, 0x10u, 0x1fffu, 0xc000'0000u, 0xc000'0102u, 0xc000'1fffu}) {
        for (const MsrAccess access : {MsrAccess::read, MsrAccess::write, MsrAccess::read_and_write}) {
            MsrBitmap bitmap;
            ASSERT_TRUE(bitmap.allow(static_cast<Msr>(allowed), access));
            const bool reads = access != MsrAccess::write, writes = access != MsrAccess::read;
            for (const std::uint32_t msr : interesting) {
                EXPECT_EQ(sdm_exits(bitmap, msr, false), !(msr == allowed && reads)) << std::hex << msr;
                EXPECT_EQ(sdm_exits(bitmap, msr, true), !(msr == allowed && writes)) << std::hex << msr;
                EXPECT_EQ(bitmap.exits(static_cast<Msr>(msr), MsrAccess::read), sdm_exits(bitmap, msr, false));
                EXPECT_EQ(bitmap.exits(static_cast<Msr>(msr), MsrAccess::write), sdm_exits(bitmap, msr, true));
            }
        }
    }
}

TEST(MsrBitmap, CannotAllowWhatItCannotName) {
    MsrBitmap bitmap;
    for (const std::uint32_t msr : {0x2000u, 0x4000'0000u, 0xbfff'ffffu, 0xc000'2000u, 0xffff'ffffu}) {
        EXPECT_FALSE(bitmap.allow(static_cast<Msr>(msr), MsrAccess::read_and_write)) << std::hex << msr;
        EXPECT_TRUE(bitmap.exits(static_cast<Msr>(msr), MsrAccess::read));
    }
}

TEST(MsrBitmap, TakesBackWhatItAllowed) {
    MsrBitmap bitmap;
    ASSERT_TRUE(bitmap.allow(Msr::IA32_LSTAR, MsrAccess::read_and_write));
    ASSERT_TRUE(bitmap.trap(Msr::IA32_LSTAR, MsrAccess::write));
    EXPECT_FALSE(sdm_exits(bitmap, 0xc000'0082, false));
    EXPECT_TRUE(sdm_exits(bitmap, 0xc000'0082, true));
}

// SDM 24.6.4: bitmap A has ports 0-7FFFh, bitmap B the others.
bool sdm_exits(const IoBitmap& bitmap, std::uint32_t port) {
    std::array<std::uint8_t, 8192> pages;
    std::memcpy(pages.data(), &bitmap, sizeof pages);
    const std::uint8_t* page = port < 0x8000 ? pages.data() : pages.data() + 4096;
    return (page[(port & 0x7fff) / 8] >> port % 8 & 1) != 0;
}

TEST(IoBitmap, LetsThroughExactlyWhatWasAllowed) {
    IoBitmap bitmap;
    bitmap.allow(0x3f8);
    bitmap.allow(0x8004);
    bitmap.allow(0xffff);
    for (std::uint32_t port = 0; port < 0x1'0000; ++port) {
        const bool allowed = port == 0x3f8 || port == 0x8004 || port == 0xffff;
        ASSERT_EQ(sdm_exits(bitmap, port), !allowed) << std::hex << port;
    }
    bitmap.trap(0x3f8);
    EXPECT_TRUE(sdm_exits(bitmap, 0x3f8));
}

TEST(IoBitmap, ExitsForEachByteOfAnAccess) {
    IoBitmap bitmap;
    for (const std::uint16_t port : std::array<std::uint16_t, 3>{0x70, 0x71, 0x72}) bitmap.allow(port);
    EXPECT_FALSE(bitmap.exits(0x70, 2));
    EXPECT_TRUE(bitmap.exits(0x70, 4));
    bitmap.allow(0xffff);
    EXPECT_TRUE(bitmap.exits(0xffff, 2)) << "wraps around";
}

}  // namespace
}  // namespace bulkhead::vmx
