// SPDX-License-Identifier: Apache-2.0
#include "vmx/switch.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <set>

#include "arch/cpu/instructions.hpp"
#include "guest/msr_table.hpp"
#include "vmx/msr_bitmap.hpp"

namespace bulkhead::vmx {
namespace {

using isa::Msr;
using test::cpu_state;
using test::FakeCpu;

constexpr StateFeatures everything{.xsave = true, .rdtscp = true, .spec_ctrl = true, .xcr0 = 0x2e7, .area_size = 2696};

class ProcessorStateTest : public testing::Test {
  protected:
    void SetUp() override {
        cpu_state() = FakeCpu{};
        for (const Msr msr : {Msr::IA32_STAR, Msr::IA32_LSTAR, Msr::IA32_CSTAR, Msr::IA32_FMASK,
                              Msr::IA32_KERNEL_GS_BASE, Msr::IA32_TSC_AUX, Msr::IA32_SPEC_CTRL})
            cpu_state().msrs[msr] = 0;
        a_->reset();
        b_->reset();
    }

    // Everything that a guest can leave in the processor, made of one number.
    static void leave(std::uint8_t mark) {
        FakeCpu& c = cpu_state();
        for (auto& [msr, value] : c.msrs) value = mark + (static_cast<std::uint64_t>(msr) << 8);
        for (const unsigned n : {0u, 1u, 2u, 3u, 6u}) c.dr[n] = mark + n;
        c.cr2 = mark * 0x1000u;
        for (const FakeCpu::Component& component : FakeCpu::components)
            std::memset(c.vector_state.data() + component.offset, mark, component.size);
    }
    static bool vector_state_is(std::uint8_t mark) {
        for (const FakeCpu::Component& component : FakeCpu::components)
            for (std::size_t i = 0; i < component.size; ++i)
                if (cpu_state().vector_state[component.offset + i] != std::byte{mark}) return false;
        return true;
    }

    std::unique_ptr<ProcessorState> a_ = std::make_unique<ProcessorState>();
    std::unique_ptr<ProcessorState> b_ = std::make_unique<ProcessorState>();
};

TEST_F(ProcessorStateTest, ComesBackAsItWas) {
    a_->load(everything);
    a_->set_xcr0(everything.xcr0);
    leave(0x5a);
    const FakeCpu before = cpu_state();
    a_->save(everything);
    b_->load(everything);
    leave(0x33);
    b_->save(everything);
    a_->load(everything);
    EXPECT_EQ(cpu_state().msrs, before.msrs);
    EXPECT_EQ(cpu_state().dr, before.dr);
    EXPECT_EQ(cpu_state().cr2, before.cr2);
    EXPECT_EQ(cpu_state().xcr0, before.xcr0);
    EXPECT_TRUE(vector_state_is(0x5a));
}

TEST_F(ProcessorStateTest, LeavesNothingToTheNextGuest) {
    a_->load(everything);
    a_->set_xcr0(everything.xcr0);
    leave(0x5a);
    a_->save(everything);
    b_->load(everything);
    for (const auto& [msr, value] : cpu_state().msrs) EXPECT_EQ(value, 0u) << std::hex << static_cast<unsigned>(msr);
    for (const unsigned n : {0u, 1u, 2u, 3u}) EXPECT_EQ(cpu_state().dr[n], 0u);
    EXPECT_EQ(cpu_state().dr[6], 0xffff'0ff0u);
    EXPECT_EQ(cpu_state().cr2, 0u);
    EXPECT_EQ(cpu_state().xcr0, 1u);
    for (const std::byte byte : cpu_state().vector_state) EXPECT_NE(byte, std::byte{0x5a});
}

// A guest fills vector registers and then turns their component off in XCR0: they are still its secret and its state.
TEST_F(ProcessorStateTest, CoversComponentsThatTheGuestHasTurnedOff) {
    a_->load(everything);
    a_->set_xcr0(everything.xcr0);
    leave(0x5a);
    a_->set_xcr0(1);
    a_->save(everything);
    b_->load(everything);
    for (const std::byte byte : cpu_state().vector_state) ASSERT_NE(byte, std::byte{0x5a});
    b_->save(everything);
    a_->load(everything);
    EXPECT_EQ(cpu_state().xcr0, 1u);
    a_->set_xcr0(everything.xcr0);
    EXPECT_TRUE(vector_state_is(0x5a));
}

// SDM table 9-1.
TEST_F(ProcessorStateTest, StartsAsAfterPowerUp) {
    leave(0x77);
    a_->load(everything);
    std::uint16_t fcw, fsw;
    std::uint32_t mxcsr;
    std::memcpy(&fcw, cpu_state().vector_state.data(), 2);
    std::memcpy(&fsw, cpu_state().vector_state.data() + 2, 2);
    std::memcpy(&mxcsr, cpu_state().vector_state.data() + 24, 4);
    EXPECT_EQ(fcw, 0x40);
    EXPECT_EQ(fsw, 0);
    EXPECT_EQ(cpu_state().vector_state[4], std::byte{0xff}) << "tag word 5555h: no register is empty";
    EXPECT_EQ(mxcsr, 0x1f80u);
    EXPECT_EQ(cpu_state().xcr0, 1u);
}

TEST_F(ProcessorStateTest, KeepsVectorStateAndMsrsOverInit) {
    a_->load(everything);
    a_->set_xcr0(7);
    leave(0x5a);
    a_->init();
    a_->save(everything);
    a_->load(everything);
    EXPECT_EQ(cpu_state().dr[0], 0u);
    EXPECT_EQ(cpu_state().dr[6], 0xffff'0ff0u);
    EXPECT_EQ(cpu_state().cr2, 0u);
    EXPECT_EQ(cpu_state().xcr0, 7u);
    EXPECT_EQ(cpu_state().vector_state[160], std::byte{0x5a});
    EXPECT_EQ(cpu_state().msrs[Msr::IA32_LSTAR] & 0xff, 0x5au);
}

TEST_F(ProcessorStateTest, TouchesNoMsrThatTheProcessorLacks) {
    cpu_state().msrs.erase(Msr::IA32_TSC_AUX);
    cpu_state().msrs.erase(Msr::IA32_SPEC_CTRL);
    constexpr StateFeatures old{.xsave = true, .xcr0 = 3};
    EXPECT_NO_THROW(a_->save(old));
    EXPECT_NO_THROW(a_->load(old));
}

// An MSR that a guest writes without an exit, and that nobody exchanged, would be its neighbour's too.
TEST_F(ProcessorStateTest, ExchangesWhatAGuestReachesWithoutAnExit) {
    using guest::MsrHome;
    constexpr Msr in_the_vmcs[] = {Msr::IA32_SYSENTER_CS, Msr::IA32_SYSENTER_ESP, Msr::IA32_SYSENTER_EIP,
                                   Msr::IA32_FS_BASE, Msr::IA32_GS_BASE};
    std::set<Msr> exchanged{std::begin(in_the_vmcs), std::end(in_the_vmcs)}, reached;
    for (const SwitchedMsr& m : switched_msrs()) exchanged.insert(m.msr);
    for (const guest::MsrRow& row : guest::msr_table::rows)
        if (row.home == MsrHome::direct || row.home == MsrHome::checked)
            for (auto n = guest::msr_table::first_of(row); n <= guest::msr_table::last_of(row); ++n)
                reached.insert(static_cast<Msr>(n));
    EXPECT_EQ(reached, exchanged);
    MsrBitmap bitmap;
    for (const Msr msr : reached) EXPECT_TRUE(bitmap.allow(msr, MsrAccess::read_and_write)) << "the bitmap names it";
}

// CPUID of processors, by (leaf, sub-leaf).
isa::CpuidResult avx512_processor(std::uint32_t leaf, std::uint32_t subleaf) {
    switch (leaf) {
    case 0: return {.eax = 0x16};
    case 1: return {.ecx = 1u << 26};
    case 7: return {.edx = 1u << 26 | 1u << 27};
    case 0xd:
        switch (subleaf) {
        case 0: return {.eax = 0x2ff, .ebx = 0xa88, .ecx = 0xa88};
        case 2: return {.eax = 256, .ebx = 576};
        case 3: return {.eax = 64, .ebx = 960};
        case 4: return {.eax = 64, .ebx = 1024};
        case 5: return {.eax = 64, .ebx = 1088};
        case 6: return {.eax = 512, .ebx = 1152};
        case 7: return {.eax = 1024, .ebx = 1664};
        case 9: return {.eax = 8, .ebx = 2688};
        }
        return {};
    case 0x8000'0000: return {.eax = 0x8000'0008};
    case 0x8000'0001: return {.edx = 1u << 27};
    }
    return {};
}

TEST(StateFeatures, OfAnAvx512Processor) {
    const StateFeatures f = find_state_features(avx512_processor);
    EXPECT_TRUE(f.xsave && f.rdtscp && f.spec_ctrl);
    EXPECT_EQ(f.xcr0, 0x2e7u) << "without MPX, which is not offered";
    EXPECT_EQ(f.area_size, 2696u);
}

TEST(StateFeatures, DoNotBelieveATotalThatIsTooSmall) {
    const auto lying = [](std::uint32_t leaf, std::uint32_t subleaf) {
        isa::CpuidResult result = avx512_processor(leaf, subleaf);
        if (leaf == 0xd && subleaf == 0) result.ebx = result.ecx = 576;
        return result;
    };
    EXPECT_EQ(find_state_features(lying).area_size, 2696u);
}

TEST(StateFeatures, LeaveOutWhatDoesNotFit) {
    // AVX-512's last component lies beyond the frame: all three go (SDM volume 1, 13.3).
    const auto huge = [](std::uint32_t leaf, std::uint32_t subleaf) {
        isa::CpuidResult result = avx512_processor(leaf, subleaf);
        if (leaf == 0xd && subleaf == 7) result.ebx = 4000;
        return result;
    };
    const StateFeatures f = find_state_features(huge);
    EXPECT_EQ(f.xcr0, 0x207u);
    EXPECT_LE(f.area_size, ProcessorState::area_size);
}

TEST(StateFeatures, OfAProcessorWithoutXsave) {
    const auto westmere = [](std::uint32_t leaf, std::uint32_t) {
        return leaf == 0 ? isa::CpuidResult{.eax = 0xb} : isa::CpuidResult{};
    };
    const StateFeatures f = find_state_features(westmere);
    EXPECT_FALSE(f.xsave || f.rdtscp || f.spec_ctrl);
    EXPECT_EQ(f.area_size, 512u);
}

}  // namespace
}  // namespace bulkhead::vmx
