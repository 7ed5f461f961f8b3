// SPDX-License-Identifier: Apache-2.0
// SDM volume 3, 2.5, 4.1.2, 4.4.1, 9.8.5; volume 2, MOV to control registers; volume 1, 13.3 (XCR0).
#include "guest/control_registers.hpp"

#include <gtest/gtest.h>

namespace bulkhead::guest {
namespace {

using namespace isa;

constexpr std::uint64_t all_cr4 = 0x3727ff & ~cr4::VMXE;

TEST(Cr0, ReservedBits) {
    EXPECT_FALSE(legal_cr0({}, 1ull << 32));
    EXPECT_TRUE(legal_cr0({}, cr0::PE | 1u << 7)) << "in the lower half they are ignored";
    EXPECT_EQ(effective_cr0(cr0::PE | 0x1ffa'ffc0), cr0::PE | cr0::ET);
    EXPECT_EQ(effective_cr0(0xe005'002f), 0xe005'003fu) << "all that there are";
}

TEST(Cr0, Combinations) {
    EXPECT_FALSE(legal_cr0({}, cr0::PG)) << "PG without PE";
    EXPECT_TRUE(legal_cr0({}, cr0::PG | cr0::PE));
    EXPECT_FALSE(legal_cr0({}, cr0::NW)) << "NW without CD";
    EXPECT_TRUE(legal_cr0({}, cr0::NW | cr0::CD));
}

TEST(Cr0, EntersIa32eMode) {
    const std::uint64_t on = cr0::PG | cr0::PE;
    ControlState now{.cr0 = cr0::PE, .cr4 = cr4::PAE, .efer = efer::LME};
    EXPECT_TRUE(legal_cr0(now, on));
    now.cs_long = true;
    EXPECT_FALSE(legal_cr0(now, on)) << "with CS.L set";
    now = {.cr0 = cr0::PE, .efer = efer::LME};
    EXPECT_FALSE(legal_cr0(now, on)) << "without PAE";
    now = {.cr0 = cr0::PE, .cr4 = cr4::PAE, .efer = efer::LME, .tss_16 = true};
    EXPECT_FALSE(legal_cr0(now, on)) << "with a 16-bit TSS";
    now.efer = 0;
    EXPECT_TRUE(legal_cr0(now, on)) << "which PAE paging does not mind";
}

TEST(Cr0, LeavesPaging) {
    ControlState now{.cr0 = cr0::PG | cr0::PE, .cr4 = cr4::PAE, .efer = efer::LME | efer::LMA};
    EXPECT_TRUE(legal_cr0(now, cr0::PE)) << "from compatibility mode";
    now.cs_long = true;
    EXPECT_FALSE(legal_cr0(now, cr0::PE)) << "from 64-bit mode";
    now = {.cr0 = cr0::PG | cr0::PE, .cr4 = cr4::PAE | cr4::PCIDE, .efer = efer::LME | efer::LMA};
    EXPECT_FALSE(legal_cr0(now, cr0::PE)) << "with PCIDE";
}

TEST(Cr4, ReservedBits) {
    for (unsigned n = 0; n < 64; ++n) {
        const bool offered = (all_cr4 & ~cr4::PCIDE) >> n & 1;  // PCIDE has conditions of its own
        EXPECT_EQ(legal_cr4({}, 1ull << n, all_cr4), offered) << n;
    }
    EXPECT_FALSE(legal_cr4({}, cr4::VMXE, all_cr4));
}

TEST(Cr4, InIa32eMode) {
    const ControlState now{.cr0 = cr0::PG | cr0::PE, .cr3 = 0x1000, .cr4 = cr4::PAE, .efer = efer::LME | efer::LMA};
    EXPECT_FALSE(legal_cr4(now, 0, all_cr4)) << "PAE must stay";
    EXPECT_TRUE(legal_cr4(now, cr4::PAE | cr4::PCIDE, all_cr4));
    ControlState tagged = now;
    tagged.cr3 = 0x1001;
    EXPECT_FALSE(legal_cr4(tagged, cr4::PAE | cr4::PCIDE, all_cr4)) << "CR3 has a PCID";
    tagged.cr4 |= cr4::PCIDE;
    EXPECT_TRUE(legal_cr4(tagged, cr4::PAE | cr4::PCIDE, all_cr4)) << "it was on before";
    EXPECT_FALSE(legal_cr4({.cr4 = cr4::PAE}, cr4::PAE | cr4::PCIDE, all_cr4)) << "outside IA-32e mode";
    EXPECT_FALSE(legal_cr4(now, cr4::PAE | cr4::LA57, all_cr4 | cr4::LA57)) << "the number of levels must stay";
}

TEST(Pdptes, AreLoadedWhenTheSdmSaysSo) {
    const ControlState pae{.cr0 = cr0::PG | cr0::PE, .cr4 = cr4::PAE};
    const auto with0 = [&](std::uint64_t bits) { return ControlState{.cr0 = pae.cr0 ^ bits, .cr4 = pae.cr4}; };
    const auto with4 = [&](std::uint64_t bits) { return ControlState{.cr0 = pae.cr0, .cr4 = pae.cr4 ^ bits}; };
    for (const std::uint64_t bit : {cr0::CD, cr0::NW}) EXPECT_TRUE(reloads_pdptes(pae, with0(bit)));
    EXPECT_TRUE(reloads_pdptes(with0(cr0::PG), pae)) << "paging is turned on";
    for (const std::uint64_t bit : {cr0::MP, cr0::EM, cr0::TS, cr0::NE, cr0::WP, cr0::AM})
        EXPECT_FALSE(reloads_pdptes(pae, with0(bit))) << bit;
    for (const std::uint64_t bit : {cr4::PGE, cr4::PSE, cr4::SMEP}) EXPECT_TRUE(reloads_pdptes(pae, with4(bit)));
    EXPECT_TRUE(reloads_pdptes(with4(cr4::PAE), pae));
    EXPECT_FALSE(reloads_pdptes(pae, with4(cr4::PAE))) << "32-bit paging has none";
    for (const std::uint64_t bit : {cr4::TSD, cr4::DE, cr4::MCE, cr4::OSXSAVE})
        EXPECT_FALSE(reloads_pdptes(pae, with4(bit))) << bit;
    const ControlState long_mode{.cr0 = pae.cr0, .cr4 = pae.cr4, .efer = efer::LME | efer::LMA};
    EXPECT_FALSE(reloads_pdptes({.cr0 = cr0::PE, .cr4 = cr4::PAE, .efer = efer::LME}, long_mode));
}

TEST(Pdptes, ReservedBits) {
    EXPECT_TRUE(legal_pdpte(0, 46));
    EXPECT_TRUE(legal_pdpte(~1ull, 46)) << "not present: nothing is looked at";
    EXPECT_TRUE(legal_pdpte(0x3fff'ffff'fe19, 46)) << "PWT, PCD and the ignored bits";
    for (const unsigned n : {1u, 2u, 5u, 6u, 7u, 8u, 46u, 62u, 63u}) EXPECT_FALSE(legal_pdpte(1 | 1ull << n, 46)) << n;
}

TEST(Xcr0, Combinations) {
    const std::uint64_t all = 0x2e7;
    for (const std::uint64_t good : {1u, 3u, 7u, 0xe7u, 0x201u, 0x2e7u}) EXPECT_TRUE(legal_xcr0(good, all)) << good;
    for (const std::uint64_t bad : {0u, 2u, 5u, 6u, 9u, 0x19u, 0x27u, 0x47u, 0xa7u, 0xe1u, 0xe3u, 0x401u})
        EXPECT_FALSE(legal_xcr0(bad, all)) << bad;
    EXPECT_FALSE(legal_xcr0(7, 3)) << "AVX is not offered";
    EXPECT_FALSE(legal_xcr0(1ull << 63 | 1, all));
}

}  // namespace
}  // namespace bulkhead::guest
