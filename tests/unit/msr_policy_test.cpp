// SPDX-License-Identifier: Apache-2.0
// The MSRs of a guest, against the SDM (volume 4, table 2-2; volume 3, 11.11 and 11.12).
#include "guest/msr.hpp"

#include <gtest/gtest.h>

#include "guest/control_registers.hpp"
#include "guest/memory_map.hpp"

namespace bulkhead::guest {
namespace {

using isa::Msr;

constexpr Msr number(std::uint32_t n) { return static_cast<Msr>(n); }

constexpr std::uint32_t bit_of(MsrShown feature) { return 1u << static_cast<unsigned>(feature); }
constexpr std::uint64_t all_efer = 0xd01;

// What every processor with VMX has.
constexpr std::uint32_t usual = 1 | bit_of(MsrShown::apic) | bit_of(MsrShown::x2apic) | bit_of(MsrShown::tsc_deadline) |
    bit_of(MsrShown::tsc_adjust) | bit_of(MsrShown::sep) | bit_of(MsrShown::mtrr) | bit_of(MsrShown::pat) |
    bit_of(MsrShown::mca) | bit_of(MsrShown::long_mode);

class MsrsTest : public testing::Test {
  protected:
    MsrParameters parameters{
        .tsc_hz = 2'400'000'000, .physical_address_bits = 46, .offered_efer = all_efer, .shown = usual};
    Msrs msrs{parameters};

    std::uint64_t read(std::uint32_t n) {
        const auto value = msrs.read(number(n));
        EXPECT_TRUE(value) << std::hex << n;
        return value.value_or(0xdead);
    }
    bool write(std::uint32_t n, std::uint64_t value) {
        const auto result = msrs.write(number(n), value);
        if (!result) {
            EXPECT_EQ(result.error(), isa::general_protection);
        }
        return result.has_value();
    }
};

TEST_F(MsrsTest, UnknownOnesFault) {
    for (const std::uint32_t n : {0x2u, 0x9bu, 0xc1u, 0xe7u, 0x140u, 0x17bu, 0x186u, 0x345u, 0x38fu, 0x400u, 0x480u,
                                  0x570u, 0x606u, 0xc80u, 0x40000000u, 0x4b564d00u, 0xc0010015u, 0xffffffffu}) {
        EXPECT_EQ(msrs.row(number(n)), nullptr) << std::hex << n;
        EXPECT_EQ(msrs.read(number(n)).error(), isa::general_protection);
        EXPECT_FALSE(write(n, 0));
    }
}

TEST_F(MsrsTest, LookupFindsEveryRowAndNothingBeside) {
    for (const MsrRow& row : msr_table::rows) {
        const auto first = static_cast<std::uint32_t>(row.msr);
        EXPECT_EQ(msr_table::find(number(first)), &row) << row.name;
        EXPECT_EQ(msr_table::find(number(first + row.count - 1)), &row) << row.name;
        EXPECT_NE(msr_table::find(number(first - 1)), &row) << row.name;
        EXPECT_NE(msr_table::find(number(first + row.count)), &row) << row.name;
        if (row.access != MsrAccess::write && row.home == MsrHome::stored) {
            EXPECT_EQ(row.reset & ~row.legal & ~msr_table::misc_enable_read_only, 0u) << row.name;
        }
    }
}

TEST_F(MsrsTest, Constants) {
    EXPECT_EQ(read(0x0), 0u);
    EXPECT_EQ(read(0x1), 0u);
    EXPECT_EQ(read(0x3a), 1u) << "locked, VMX off";
    EXPECT_EQ(read(0xfe), 0x508u);
    EXPECT_EQ(read(0xce), 24u << 8);
    EXPECT_EQ(read(0x179), 0u) << "no machine-check banks";
    EXPECT_EQ(read(0x198), 24u << 8) << "running at its rated speed";
    EXPECT_EQ(read(0x2a), 0u);
    EXPECT_EQ(read(0x34), 0u) << "no SMI was ever seen";
    EXPECT_EQ(read(0x11e) & 1u << 23, 0u) << "there is an L2 cache";
    for (const std::uint32_t n : {0x3au, 0xfeu, 0xceu, 0x179u, 0x198u, 0x34u})
        EXPECT_FALSE(write(n, read(n))) << "read-only";
    // Written with zero before CPUID loads it.
    EXPECT_TRUE(write(0x8b, 0));
    EXPECT_NE(read(0x8b) >> 32, 0u);
    EXPECT_FALSE(msrs.read(number(0x79))) << "write-only";
    EXPECT_TRUE(write(0x79, 0x1000)) << "an update is not taken";
    EXPECT_FALSE(write(0x79, 1ull << 63)) << "not canonical";
}

TEST_F(MsrsTest, MtrrsAsFirmwareLeavesThem) {
    EXPECT_EQ(read(0x2ff), 0xc06u);
    EXPECT_EQ(read(0x250), 0x0606060606060606u);
    EXPECT_EQ(read(0x259), 0u) << "the display's window";
    EXPECT_EQ(read(0x26f), 0u) << "where firmware is";
    EXPECT_EQ(read(0x200), 0xc0000000u) << "from 3 GiB";
    EXPECT_EQ(read(0x201), 0x3fff'c000'0800u) << "1 GiB, valid";
    for (std::uint32_t n = 0x202; n < 0x210; ++n) EXPECT_EQ(read(n), 0u);
    EXPECT_EQ(msrs.row(number(0x210)), nullptr) << "eight of them";
}

TEST_F(MsrsTest, MtrrsRefuseReservedBitsAndTypes) {
    EXPECT_TRUE(write(0x202, 0x8000'0006));
    EXPECT_EQ(read(0x202), 0x8000'0006u);
    EXPECT_FALSE(write(0x202, 0x8000'0106));
    EXPECT_FALSE(write(0x202, 0x8000'0002)) << "type 2";
    EXPECT_FALSE(write(0x202, 0x8000'0007)) << "UC- is not for MTRRs";
    EXPECT_FALSE(write(0x202, 1ull << 46)) << "beyond the physical address width";
    EXPECT_TRUE(write(0x203, 0x3fff'8000'0800));
    EXPECT_FALSE(write(0x203, 0x3fff'8000'0801));
    EXPECT_TRUE(write(0x250, 0x0001040506000104));
    EXPECT_FALSE(write(0x250, 0x0003040506000104));
    EXPECT_TRUE(write(0x2ff, 0x800));
    EXPECT_FALSE(write(0x2ff, 0x802));
    EXPECT_FALSE(write(0x2ff, 0x1000));
}

TEST_F(MsrsTest, MiscEnable) {
    EXPECT_EQ(read(0x1a0), 0x1801u);
    EXPECT_TRUE(write(0x1a0, 0x1800));
    EXPECT_EQ(read(0x1a0), 0x1800u);
    EXPECT_TRUE(write(0x1a0, 0x0081));
    EXPECT_EQ(read(0x1a0), 0x1801u) << "read-only bits keep their value";
    EXPECT_FALSE(write(0x1a0, 1ull << 34)) << "execute-disable cannot be switched off";
}

TEST_F(MsrsTest, HomesElsewhere) {
    const std::pair<std::uint32_t, MsrHome> homes[] = {{0x10, MsrHome::tsc},
                                                       {0x3b, MsrHome::tsc_adjust},
                                                       {0x1b, MsrHome::apic_base},
                                                       {0x6e0, MsrHome::tsc_deadline},
                                                       {0x800, MsrHome::x2apic},
                                                       {0x8ff, MsrHome::x2apic},
                                                       {0xc0000080, MsrHome::efer},
                                                       {0x174, MsrHome::direct},
                                                       {0x176, MsrHome::direct},
                                                       {0x1d9, MsrHome::vmcs},
                                                       {0x277, MsrHome::vmcs},
                                                       {0xc0000101, MsrHome::direct},
                                                       {0xc0000082, MsrHome::direct},
                                                       {0xc0000083, MsrHome::direct},
                                                       {0xc0000102, MsrHome::direct}};
    for (const auto& [n, home] : homes) {
        ASSERT_NE(msrs.row(number(n)), nullptr) << std::hex << n;
        EXPECT_EQ(msrs.row(number(n))->home, home) << std::hex << n;
        EXPECT_FALSE(msrs.read(number(n))) << "not answered here";
    }
}

TEST_F(MsrsTest, LegalValues) {
    EXPECT_TRUE(msrs.legal(Msr::IA32_PAT, 0x0007040600070406));
    EXPECT_TRUE(msrs.legal(Msr::IA32_PAT, 0x0107040500070406));
    EXPECT_FALSE(msrs.legal(Msr::IA32_PAT, 0x0002040600070406));
    EXPECT_FALSE(msrs.legal(Msr::IA32_PAT, 0x0007040600070408));
    EXPECT_TRUE(msrs.legal(Msr::IA32_LSTAR, 0xffff'8000'0000'0000));
    EXPECT_FALSE(msrs.legal(Msr::IA32_LSTAR, 0x8000'0000'0000));
    EXPECT_FALSE(msrs.legal(Msr::IA32_SYSENTER_EIP, 0xffff'0000'0000'0000));
    EXPECT_FALSE(msrs.legal(Msr::IA32_FMASK, 1ull << 32));
    EXPECT_FALSE(msrs.legal(Msr::IA32_MTRRCAP, 0x508));
}

TEST_F(MsrsTest, OptionalOnesFollowCpuid) {
    for (const std::uint32_t n : {0x48u, 0x49u, 0x10au, 0x10bu, 0xda0u, 0xc0000103u})
        EXPECT_EQ(msrs.row(number(n)), nullptr) << n;
    parameters.shown = ~0u;
    parameters.arch_capabilities_value = ~0ull;
    Msrs all{parameters};
    for (const std::uint32_t n : {0x48u, 0x49u, 0x10au, 0x10bu, 0xda0u, 0xc0000103u})
        EXPECT_NE(all.row(number(n)), nullptr) << n;
    for (const Msr command : {Msr::IA32_PRED_CMD, Msr::IA32_FLUSH_CMD}) {
        EXPECT_TRUE(all.legal(command, 1));
        EXPECT_FALSE(all.legal(command, 2));
        EXPECT_FALSE(all.read(command)) << "write-only";
    }
    EXPECT_FALSE(all.legal(Msr::IA32_SPEC_CTRL, 8));
    EXPECT_EQ(*all.read(Msr::IA32_ARCH_CAPABILITIES) & (1u << 7 | 1u << 10), 0u) << "TSX_CTRL and MISC_PACKAGE_CTLS";
    EXPECT_FALSE(all.legal(Msr::IA32_TSC_AUX, 1ull << 32));
    EXPECT_EQ(all.read(Msr::IA32_XSS), 0u);
    EXPECT_TRUE(all.write(Msr::IA32_XSS, 0));
    EXPECT_FALSE(all.write(Msr::IA32_XSS, 1u << 8)) << "no supervisor state";
}

TEST_F(MsrsTest, WhatIsHiddenTakesItsMsrsAlong) {
    parameters.shown = 1;
    const Msrs few{parameters};
    for (const std::uint32_t n : {0x1bu, 0x3bu, 0x174u, 0x175u, 0x179u, 0xfeu, 0x200u, 0x20fu, 0x250u, 0x277u, 0x2ffu,
                                  0x6e0u, 0x802u, 0xc0000081u, 0xc0000082u, 0xc0000084u, 0xc0000100u, 0xc0000102u})
        EXPECT_EQ(few.row(number(n)), nullptr) << std::hex << n;
    for (const std::uint32_t n : {0x10u, 0x1a0u, 0xc0000080u}) EXPECT_NE(few.row(number(n)), nullptr) << std::hex << n;
}

TEST(Efer, Rules) {
    using namespace isa::efer;
    EXPECT_EQ(legal_efer(0, SCE | LME | NXE, false, all_efer), SCE | LME | NXE);
    EXPECT_EQ(legal_efer(0, 1u << 1, false, all_efer), std::nullopt);
    EXPECT_EQ(legal_efer(LME | LMA, LMA, true, all_efer), std::nullopt) << "LME while paging";
    EXPECT_EQ(legal_efer(LME | LMA, LME | NXE, true, all_efer), LME | LMA | NXE) << "LMA is the processor's";
    EXPECT_EQ(legal_efer(0, LMA, false, all_efer), 0u);
    EXPECT_EQ(legal_efer(0, NXE, false, all_efer & ~NXE), std::nullopt) << "CPUID hides it";
}

}  // namespace
}  // namespace bulkhead::guest
