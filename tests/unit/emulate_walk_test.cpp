// SPDX-License-Identifier: Apache-2.0
#include "guest/emulate/walk.hpp"

#include <gtest/gtest.h>

#include "arch/isa/paging.hpp"
#include "tests/unit/emulate_fakes.hpp"
#include "tests/unit/fake_memory.hpp"

namespace {

using namespace bulkhead::guest::emulator;
using Kind = Access::Kind;
namespace pte = isa::pte;
namespace pf = isa::page_fault;

constexpr std::uint64_t P = pte::P, RW = pte::RW, US = pte::US, A = pte::A, D = pte::D, PS = pte::PS, XD = pte::XD;

class EmulateWalk : public testing::Test {
  protected:
    EmulateWalk() {
        cpu.control0 |= isa::cr0::PG | isa::cr0::WP;
        cpu.control3 = 0x1000;
    }
    // Tables at 1000h, 2000h, ... for linear address 0 on; the leaf is given.
    void four_level(std::uint64_t leaf, std::uint64_t rights = RW | US) {
        cpu.control4 |= isa::cr4::PAE;
        cpu.efer_value = isa::efer::LMA | isa::efer::LME | isa::efer::NXE;
        memory.set<std::uint64_t>(0x1000, 0x2000 | P | rights);
        memory.set<std::uint64_t>(0x2000, 0x3000 | P | rights);
        memory.set<std::uint64_t>(0x3000, 0x4000 | P | rights);
        memory.set<std::uint64_t>(0x4000, leaf);
    }
    std::expected<GuestPhys, isa::Fault> walk(std::uint64_t address, Kind kind = Kind::read, bool user = false) {
        return Walk{cpu, memory, features}.translate(GuestVirt{address}, {kind, user});
    }
    void expect_at(std::uint64_t phys, std::uint64_t address, Kind kind = Kind::read, bool user = false) {
        const auto result = walk(address, kind, user);
        ASSERT_TRUE(result) << "error code " << *result.error().error_code;
        EXPECT_EQ(result->value, phys);
    }
    void expect_fault(std::uint32_t code, std::uint64_t address, Kind kind = Kind::read, bool user = false) {
        const auto result = walk(address, kind, user);
        ASSERT_FALSE(result);
        EXPECT_EQ(result.error(), (isa::Fault{isa::Exception::PF, code, address}));
    }

    FakeCpu cpu;
    FakeMemory memory{0x10000};
    PagingFeatures features{40, true};
};

TEST_F(EmulateWalk, NoPaging) {
    cpu.control0 &= ~isa::cr0::PG;
    expect_at(0x12345678, 0x12345678, Kind::write, true);
}

TEST_F(EmulateWalk, FourLevelsSetAccessedAndDirty) {
    four_level(0x7000 | P | RW | US);
    expect_at(0x7123, 0x123);
    for (const std::uint64_t at : {0x1000, 0x2000, 0x3000, 0x4000})
        EXPECT_EQ(memory.at<std::uint64_t>(at) & (A | D), A);
    expect_at(0x7123, 0x123, Kind::write);
    EXPECT_EQ(memory.at<std::uint64_t>(0x4000) & (A | D), A | D);
    EXPECT_EQ(memory.at<std::uint64_t>(0x3000) & D, 0u);
}

TEST_F(EmulateWalk, AFaultSetsNoFlags) {
    four_level(0x7000 | P | US);
    expect_fault(pf::present | pf::write, 0x10, Kind::write);
    EXPECT_EQ(memory.at<std::uint64_t>(0x4000) & (A | D), 0u);
    EXPECT_EQ(memory.at<std::uint64_t>(0x1000) & A, 0u);
}

TEST_F(EmulateWalk, NotPresentAtEachLevel) {
    for (const std::uint64_t at : {0x1000, 0x2000, 0x3000, 0x4000}) {
        four_level(0x7000 | P | RW | US);
        memory.set<std::uint64_t>(at, 0);
        expect_fault(pf::user | pf::write, 0x10, Kind::write, true);
        expect_fault(0, 0x10);
    }
}

TEST_F(EmulateWalk, RightsOfEveryLevelCount) {
    for (const std::uint64_t at : {0x1000, 0x2000, 0x3000, 0x4000}) {
        four_level(0x7000 | P | RW | US);
        const auto entry = memory.at<std::uint64_t>(at);
        memory.set<std::uint64_t>(at, entry & ~US);
        expect_fault(pf::present | pf::user, 0x10, Kind::read, true);
        expect_at(0x7010, 0x10);
        memory.set<std::uint64_t>(at, entry & ~RW);
        expect_fault(pf::present | pf::user | pf::write, 0x10, Kind::write, true);
        expect_at(0x7010, 0x10, Kind::read, true);
        memory.set<std::uint64_t>(at, entry | XD);
        expect_fault(pf::present | pf::instruction, 0x10, Kind::execute);
        expect_at(0x7010, 0x10);
    }
}

TEST_F(EmulateWalk, WriteProtectHoldsForTheSupervisorOnlyWhenSet) {
    four_level(0x7000 | P | US);
    expect_fault(pf::present | pf::write, 0x10, Kind::write);
    cpu.control0 &= ~isa::cr0::WP;
    expect_at(0x7010, 0x10, Kind::write);
    expect_fault(pf::present | pf::write | pf::user, 0x10, Kind::write, true);
}

TEST_F(EmulateWalk, SupervisorModeExecutionAndAccessPrevention) {
    four_level(0x7000 | P | RW | US);
    expect_at(0x7010, 0x10, Kind::execute);
    cpu.control4 |= isa::cr4::SMEP;
    expect_fault(pf::present | pf::instruction, 0x10, Kind::execute);
    expect_at(0x7010, 0x10, Kind::execute, true);
    cpu.control4 |= isa::cr4::SMAP;
    expect_fault(pf::present, 0x10);
    cpu.flags |= isa::rflags::AC;
    expect_at(0x7010, 0x10);
}

TEST_F(EmulateWalk, InstructionFetchBitNeedsNxeOrSmep) {
    four_level(0);
    expect_fault(pf::instruction, 0x10, Kind::execute);
    cpu.efer_value &= ~isa::efer::NXE;
    expect_fault(0, 0x10, Kind::execute);
    cpu.control4 |= isa::cr4::SMEP;
    expect_fault(pf::instruction, 0x10, Kind::execute);
}

TEST_F(EmulateWalk, LargePages) {
    four_level(0);
    memory.set<std::uint64_t>(0x3000 + 8, 0x40000000 | P | RW | PS);
    expect_at(0x40012345, 0x212345);
    memory.set<std::uint64_t>(0x2000 + 8, 0x8'0000'0000 | P | RW | PS);
    expect_at(0x8'0212'3456, 0x4212'3456);
    memory.set<std::uint64_t>(0x3000 + 8, 0x40002000 | P | RW | PS);  // bit 13
    expect_fault(pf::present | pf::reserved_bit, 0x212345);
    features.gigabyte_pages = false;
    expect_fault(pf::present | pf::reserved_bit, 0x4212'3456);
}

TEST_F(EmulateWalk, ReservedBits) {
    four_level(0x7000 | P | RW | 1ull << 40);  // beyond MAXPHYADDR
    expect_fault(pf::present | pf::reserved_bit, 0x10);
    four_level(0x7000 | P | RW | XD);
    cpu.efer_value &= ~isa::efer::NXE;
    expect_fault(pf::present | pf::reserved_bit, 0x10);
    four_level(0x7000 | P | RW);
    memory.set<std::uint64_t>(0x1000, 0x2000 | P | RW | PS);
    expect_fault(pf::present | pf::reserved_bit, 0x10);
}

TEST_F(EmulateWalk, ATableOutsideRamReadsAsAllOnes) {
    four_level(0);
    memory.set<std::uint64_t>(0x3000, 0x100000 | P | RW);
    expect_fault(pf::present | pf::reserved_bit, 0x10);
}

TEST_F(EmulateWalk, FiveLevels) {
    four_level(0x7000 | P | RW);
    cpu.control4 |= isa::cr4::LA57;
    cpu.control3 = 0x5000;
    memory.set<std::uint64_t>(0x5000 + 8 * 5, 0x1000 | P | RW);
    expect_at(0x7010, (5ull << 48) | 0x10);
    expect_fault(0, 0x10);
}

TEST_F(EmulateWalk, ThirtyTwoBit) {
    memory.set<std::uint32_t>(0x1000 + 4, static_cast<std::uint32_t>(0x2000 | P | RW | US));
    memory.set<std::uint32_t>(0x2000 + 4 * 3, static_cast<std::uint32_t>(0x7000 | P | RW | US));
    expect_at(0x7abc, 0x403abc, Kind::write, true);
    EXPECT_EQ(memory.at<std::uint32_t>(0x1004) & (A | D), A);
    EXPECT_EQ(memory.at<std::uint32_t>(0x200c) & (A | D), A | D);
    expect_fault(pf::user, 0x404000, Kind::read, true);
}

TEST_F(EmulateWalk, FourMegabytePagesReach40Bits) {
    memory.set<std::uint32_t>(0x1000, static_cast<std::uint32_t>(0x00c00000 | 0x12 << 13 | P | RW | PS));
    cpu.control4 |= isa::cr4::PSE;
    expect_at(0x12'00c1'2345, 0x12345);
    features.physical_bits = 36;
    expect_fault(pf::present | pf::reserved_bit, 0x12345);  // bit 17
    memory.set<std::uint32_t>(0x1000, static_cast<std::uint32_t>(0x2000 | P | RW | PS));
    memory.set<std::uint32_t>(0x2000 + 4 * 0x12, static_cast<std::uint32_t>(0x7000 | P | RW));
    cpu.control4 &= ~isa::cr4::PSE;
    expect_at(0x7345, 0x12345);  // PS means nothing without CR4.PSE
}

TEST_F(EmulateWalk, PhysicalAddressExtension) {
    cpu.control4 |= isa::cr4::PAE;
    cpu.control3 = 0x1fe0;
    memory.set<std::uint64_t>(0x1fe0 + 8 * 3, 0x3000 | P);  // a PDPTE has no rights
    memory.set<std::uint64_t>(0x3000, 0x4000 | P | RW | US);
    memory.set<std::uint64_t>(0x4000, 0x5'0000'7000 | P | RW | US);
    expect_at(0x5'0000'7010, 0xc0000010, Kind::write, true);
    EXPECT_EQ(memory.at<std::uint64_t>(0x1ff8), 0x3000 | P) << "nor accessed flags";
    expect_fault(0, 0x10);
    memory.set<std::uint64_t>(0x4000, 0x7000 | P | RW | 1ull << 55);
    expect_fault(pf::present | pf::reserved_bit, 0xc0000010);
}

TEST_F(EmulateWalk, PdptesComeFromTheRegistersWhenGiven) {
    cpu.control4 |= isa::cr4::PAE;
    memory.set<std::uint64_t>(0x3000, 0x200000 | P | RW | PS);
    const std::array<std::uint64_t, 4> pdptes{0x3000 | P, 0, 0, 0};
    const auto result = Walk{cpu, memory, features, &pdptes}.translate(GuestVirt{0x1234}, {});
    ASSERT_TRUE(result);
    EXPECT_EQ(result->value, 0x201234u);
}

// Another vCPU rewrites an entry between the walk and the update of its flags: the walk starts again.
struct RacingMemory final : guest::Memory {
    FakeMemory ram{0x10000};
    unsigned races{};
    std::uint64_t new_leaf{};
    bool read(GuestPhys from, std::span<std::byte> to) override { return ram.read(from, to); }
    bool write(GuestPhys to, std::span<const std::byte> from) override { return ram.write(to, from); }
    bool fill(GuestPhys to, std::uint64_t size, std::byte value) override { return ram.fill(to, size, value); }
    bool compare_exchange(GuestPhys at, std::uint64_t expected, std::uint64_t desired, unsigned size) override {
        if (at.value == 0x2000 && races != 0) {
            --races;
            ram.set<std::uint32_t>(0x2000, static_cast<std::uint32_t>(new_leaf));
        }
        return Memory::compare_exchange(at, expected, desired, size);
    }
};

TEST_F(EmulateWalk, AChangedEntryIsReadAgain) {
    RacingMemory racing;
    racing.ram.set<std::uint32_t>(0x1000, static_cast<std::uint32_t>(0x2000 | P | RW));
    racing.ram.set<std::uint32_t>(0x2000, static_cast<std::uint32_t>(0x7000 | P | RW));
    racing.races = 1;
    racing.new_leaf = 0x8000 | P;
    const auto read = Walk{cpu, racing}.translate(GuestVirt{0x10}, {});
    ASSERT_TRUE(read);
    EXPECT_EQ(read->value, 0x8010u);
    EXPECT_FALSE((Walk{cpu, racing}.translate(GuestVirt{0x10}, {Kind::write, false})));
}

}  // namespace
