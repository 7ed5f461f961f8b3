// SPDX-License-Identifier: Apache-2.0
// SDM volume 3, table 6-5 (what exceptions make of each other), 17.3.1.1 (RF) and 17.2.4 (breakpoint fields).
#include "guest/exceptions.hpp"

#include <gtest/gtest.h>

#include "guest/breakpoints.hpp"

namespace bulkhead::guest {
namespace {

using enum isa::Exception;

constexpr isa::Exception contributory[] = {DE, TS, NP, SS, GP};
constexpr isa::Exception benign[] = {DB, NMI, BP, OF, BR, UD, NM, MF, AC, MC, XM};

TEST(DoubleFault, ContributoryOnContributory) {
    for (const auto first : contributory)
        for (const auto second : contributory) EXPECT_EQ(combine(first, second), Combination::double_fault);
    for (const auto first : contributory)
        EXPECT_EQ(combine(first, PF), Combination::serial) << "a page fault comes alone";
}

TEST(DoubleFault, AnythingSeriousOnAPageFault) {
    EXPECT_EQ(combine(PF, PF), Combination::double_fault);
    for (const auto second : contributory) EXPECT_EQ(combine(PF, second), Combination::double_fault);
}

TEST(DoubleFault, BenignOnesAreSerial) {
    for (const auto first : benign)
        for (const auto second : {GP, PF, UD, DB}) EXPECT_EQ(combine(first, second), Combination::serial);
    for (const auto second : benign) {
        EXPECT_EQ(combine(GP, second), Combination::serial);
        EXPECT_EQ(combine(PF, second), Combination::serial);
    }
    EXPECT_EQ(combine(std::nullopt, GP), Combination::serial) << "an interrupt was being delivered, or nothing";
}

TEST(DoubleFault, OnADoubleFaultIsAShutdown) {
    for (const auto second : contributory) EXPECT_EQ(combine(DF, second), Combination::shutdown);
    EXPECT_EQ(combine(DF, PF), Combination::shutdown);
    EXPECT_EQ(combine(DF, AC), Combination::serial);
}

TEST(ResumeFlag, IsPushedByFaults) {
    for (const auto fault : {DE, BR, UD, NM, TS, NP, SS, GP, PF, MF, AC, XM}) EXPECT_TRUE(pushes_resume_flag(fault));
    for (const auto other : {DB, NMI, BP, OF, DF, MC}) EXPECT_FALSE(pushes_resume_flag(other));
}

// DR7: L or G of breakpoint n at 2n, R/W at 16 + 4n, LEN at 18 + 4n.
constexpr std::uint64_t control(unsigned n, unsigned enable, unsigned kind, unsigned length) {
    return std::uint64_t{enable} << 2 * n | std::uint64_t{kind | length << 2} << (16 + 4 * n);
}

TEST(Breakpoint, OfAPort) {
    const Breakpoints b{{0x3f8, 0x60, 0, 0}, control(0, 1, 2, 0) | control(1, 2, 2, 1)};
    EXPECT_EQ(b.match_port(0x3f8, 1), 0x1001u);
    EXPECT_EQ(b.match_port(0x3f9, 1), 0u);
    EXPECT_EQ(b.match_port(0x3f6, 4), 0x1001u) << "one of four bytes";
    EXPECT_EQ(b.match_port(0x61, 1), 0x1002u) << "global, two bytes long";
    EXPECT_EQ(b.match_port(0x62, 1), 0u);
    EXPECT_EQ(b.match_data(0x3f8, 1, true), 0u) << "not memory";
}

TEST(Breakpoint, OfData) {
    const Breakpoints b{{0x1002, 0x2004, 0x3008, 0x4000},
                        control(0, 1, 1, 3) | control(1, 1, 3, 0) | control(2, 1, 3, 2) | control(3, 1, 0, 0)};
    EXPECT_EQ(b.match_data(0x1001, 1, true), 0x1001u) << "four bytes, from the aligned address";
    EXPECT_EQ(b.match_data(0x1001, 1, false), 0u) << "writes only";
    EXPECT_EQ(b.match_data(0x2004, 1, false), 0x1002u);
    EXPECT_EQ(b.match_data(0x2000, 4, false), 0u);
    EXPECT_EQ(b.match_data(0x300f, 1, false), 0x1004u) << "eight bytes";
    EXPECT_EQ(b.match_data(0x3010, 1, false), 0u);
    EXPECT_EQ(b.match_data(0x4000, 1, true), 0u) << "that is for instructions";
    EXPECT_EQ(b.match_port(0x2004, 1), 0u);
}

TEST(Breakpoint, DisabledOnesAreToldOnlyBesideEnabledOnes) {
    const std::uint64_t both = control(0, 0, 2, 0) | control(1, 1, 2, 0);
    EXPECT_EQ((Breakpoints{{0x80, 0x80, 0, 0}, both}.match_port(0x80, 1)), 0x1003u);
    EXPECT_EQ((Breakpoints{{0x80, 0x81, 0, 0}, both}.match_port(0x80, 1)), 0u);
}

}  // namespace
}  // namespace bulkhead::guest
