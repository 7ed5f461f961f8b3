// SPDX-License-Identifier: Apache-2.0
#include "vmx/cpu.hpp"

#include <gtest/gtest.h>

#include <array>
#include <memory>

#include "arch/cpu/instructions.hpp"
#include "arch/isa/control.hpp"
#include "vmx/instructions.hpp"

namespace bulkhead::vmx {
namespace {

using isa::Msr;
using test::cpu_state;
using test::FakeCpu;
using test::FakeProcessor;
using test::processor;

// A processor that has all that is needed, its firmware having left VT-x open.
class VmxCpu : public testing::Test {
  protected:
    void SetUp() override {
        memory_ = std::make_unique<Memory>();
        pool_.initialize(HostPhys{0x40'0000}, memory_->bytes);
        processor() = FakeProcessor{};
        processor().first_word = [this](HostPhys region) { return *pool_.at<std::uint32_t>(region); };
        cpu_state() = FakeCpu{};
        FakeCpu& c = cpu_state();
        c.cpuid = [](std::uint32_t leaf, std::uint32_t subleaf) -> isa::CpuidResult {
            if (leaf == 1) return {.ecx = 1u << 5 | 1u << 26};
            if (leaf == 0xd && subleaf == 1) return {.eax = 0xf};
            return {};
        };
        c.cr0 = isa::cr0::PG | isa::cr0::PE | isa::cr0::TS;
        c.cr4 = isa::cr4::PAE;
        c.msrs = {
            {Msr::IA32_FEATURE_CONTROL, 0},
            {Msr::IA32_XSS, 0x100},
            {Msr::IA32_VMX_BASIC, 0x00d8'1000'0000'002b},
            {Msr::IA32_VMX_PINBASED_CTLS, 0x0000'007f'0000'0016},
            {Msr::IA32_VMX_PROCBASED_CTLS, 0xf7f9'fffe'0401'e172},
            {Msr::IA32_VMX_EXIT_CTLS, 0x01ff'ffff'0003'6dff},
            {Msr::IA32_VMX_ENTRY_CTLS, 0x0003'ffff'0000'11ff},
            {Msr::IA32_VMX_MISC, 0x6004'01e0},
            {Msr::IA32_VMX_CR0_FIXED0, 0x8000'0021},
            {Msr::IA32_VMX_CR0_FIXED1, 0xffff'ffff},
            {Msr::IA32_VMX_CR4_FIXED0, 0x2000},
            {Msr::IA32_VMX_CR4_FIXED1, 0x3727ff},
            {Msr::IA32_VMX_TRUE_PINBASED_CTLS, 0x0000'007f'0000'0016},
            {Msr::IA32_VMX_TRUE_PROCBASED_CTLS, 0xf7f9'fffe'0400'6172},
            {Msr::IA32_VMX_TRUE_EXIT_CTLS, 0x01ff'ffff'0003'6dfb},
            {Msr::IA32_VMX_TRUE_ENTRY_CTLS, 0x0003'ffff'0000'11fb},
            {Msr::IA32_VMX_PROCBASED_CTLS2, 0x0217'7fff'0000'0000},
            {Msr::IA32_VMX_EPT_VPID_CAP, 0x0000'0f01'0633'4141},
        };
    }

    struct Memory {
        alignas(4096) std::array<std::byte, 8 * 4096> bytes;
    };
    std::unique_ptr<Memory> memory_;
    mm::FramePool pool_;
};

TEST_F(VmxCpu, ChangesNothingWhenItIsProbed) {
    const FakeCpu before = cpu_state();
    ASSERT_TRUE(probe());
    EXPECT_EQ(cpu_state().msrs, before.msrs);
    EXPECT_EQ(cpu_state().cr4, before.cr4);
    EXPECT_FALSE(processor().in_vmx_operation());
}

TEST_F(VmxCpu, GoesIntoVmxOperation) {
    const auto platform = probe();
    ASSERT_TRUE(platform);
    ASSERT_TRUE(enable(pool_, *platform));
    EXPECT_TRUE(processor().in_vmx_operation());
    EXPECT_EQ(cpu_state().msrs[Msr::IA32_FEATURE_CONTROL], 5u) << "locked, as VMXON wants it (SDM 23.7)";
    EXPECT_EQ(cpu_state().msrs[Msr::IA32_XSS], 0u);
    EXPECT_EQ(cpu_state().cr0 & (isa::cr0::NE | isa::cr0::TS | isa::cr0::EM), isa::cr0::NE);
    constexpr std::uint64_t needed = isa::cr4::VMXE | isa::cr4::OSXSAVE | isa::cr4::OSFXSR | isa::cr4::PAE;
    EXPECT_EQ(cpu_state().cr4 & needed, needed);
    EXPECT_EQ(processor().invepts.size(), 1u) << "nothing is left from whoever used VMX before";
    EXPECT_EQ(processor().invvpids.size(), 1u);
}

TEST_F(VmxCpu, LeavesVmxOperation) {
    const auto platform = probe();
    const std::size_t used = pool_.used(mm::OwnerId::hypervisor);
    ASSERT_TRUE(enable(pool_, *platform));
    disable(pool_);
    EXPECT_FALSE(processor().in_vmx_operation());
    EXPECT_EQ(cpu_state().cr4 & isa::cr4::VMXE, 0u);
    EXPECT_EQ(pool_.used(mm::OwnerId::hypervisor), used);
}

TEST_F(VmxCpu, LeavesALockedFeatureControlAlone) {
    cpu_state().msrs[Msr::IA32_FEATURE_CONTROL] = 0xff07;
    ASSERT_TRUE(enable(pool_, *probe()));
    EXPECT_EQ(cpu_state().msrs[Msr::IA32_FEATURE_CONTROL], 0xff07u);
}

TEST_F(VmxCpu, IsRefusedWithoutReadingWhatIsNotThere) {
    cpu_state().msrs.clear();
    cpu_state().cpuid = {};
    EXPECT_FALSE(probe());
}

TEST_F(VmxCpu, IsRefusedWhenItDiffersFromTheOthers) {
    const auto platform = probe();
    ASSERT_TRUE(platform);
    cpu_state().msrs[Msr::IA32_VMX_PROCBASED_CTLS2] = 0x0217'7fdf'0000'0000;  // no VPID
    const auto result = enable(pool_, *platform);
    ASSERT_FALSE(result);
    EXPECT_NE(result.error().missing.find("differs"), std::string_view::npos);
    EXPECT_FALSE(processor().in_vmx_operation());
}

TEST_F(VmxCpu, ReadsNoCapabilityMsrThatItDoesNotHave) {
    cpu_state().msrs[Msr::IA32_VMX_BASIC] = 0x0058'1000'0000'002b;  // no TRUE registers
    cpu_state().msrs[Msr::IA32_VMX_PROCBASED_CTLS] = 0x77f9'fffe'0401'e172;  // no secondary controls
    for (const Msr msr : {Msr::IA32_VMX_TRUE_PINBASED_CTLS, Msr::IA32_VMX_TRUE_PROCBASED_CTLS,
                          Msr::IA32_VMX_TRUE_EXIT_CTLS, Msr::IA32_VMX_TRUE_ENTRY_CTLS, Msr::IA32_VMX_PROCBASED_CTLS2,
                          Msr::IA32_VMX_EPT_VPID_CAP})
        cpu_state().msrs.erase(msr);
    Capabilities capabilities;
    ASSERT_NO_THROW(capabilities = read_capabilities());
    EXPECT_EQ(capabilities.procbased2, 0u);
    EXPECT_EQ(capabilities.ept_vpid, 0u);
}

}  // namespace
}  // namespace bulkhead::vmx
