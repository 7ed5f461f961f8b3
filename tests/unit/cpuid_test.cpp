// SPDX-License-Identifier: Apache-2.0
// What a guest sees of CPUID, against the SDM (volume 2, CPUID) and the policy.
#include "guest/cpuid.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <string>

#include "guest/control_registers.hpp"
#include "guest/cpuid_table.hpp"
#include "guest/msr.hpp"

namespace bulkhead::guest {
namespace {

using isa::CpuidResult;

// A processor that has everything: what is not allowed must not get through.
class FullHost {
  public:
    FullHost() {
        set(0, 0, {0x1f, 0x756e6547, 0x6c65746e, 0x49656e69});
        set(1, 0, {0x00050654, 0x07100800, 0xffffffff, 0xffffffff});
        set(2, 0, {0x76036301, 0x00f0b5ff, 0, 0x00c30000});
        set(4, 0, {0x1c004121, 0x01c0003f, 0x3f, 0});
        set(4, 1, {0x1c004122, 0x01c0003f, 0x3f, 0});
        set(4, 2, {0x1c004143, 0x03c0003f, 0x3ff, 0});
        set(4, 3, {0x1c03c163, 0x0280003f, 0x4fff, 4});
        set(5, 0, {64, 64, 3, 0x2020});
        set(6, 0, {0x77, 2, 9, 0});
        set(7, 0, {2, 0xffffffff, 0xffffffff, 0xffffffff});
        set(7, 1, {0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff});
        set(0xa, 0, {0x07300804, 0, 0, 0x603});
        set(0xd, 0, {0x2ff, 0x980, 0x980, 0});
        set(0xd, 1, {0xf, 0x340, 0x100, 0});
        const std::uint32_t places[][3] = {{2, 256, 576},  {3, 64, 960},    {4, 64, 1024}, {5, 64, 1088},
                                           {6, 512, 1152}, {7, 1024, 1664}, {9, 8, 2688}};
        for (const auto& [component, size, offset] : places) set(0xd, component, {size, offset, 0, 0});
        set(0x12, 0, {3, 0, 0, 0x241f});
        set(0x14, 0, {1, 0xf, 7, 0});
        set(0x15, 0, {2, 200, 25'000'000, 0});
        set(0x16, 0, {2500, 3500, 100, 0});
        set(0x80000000, 0, {0x80000008, 0, 0, 0});
        set(0x80000001, 0, {0, 0, 0xffffffff, 0xffffffff});
        set(0x80000006, 0, {0, 0, 0x01006040, 0});
        set(0x80000007, 0, {0, 0, 0, 0xffffffff});
        set(0x80000008, 0, {0x302e, 0xffffffff, 0, 0});
    }
    void set(std::uint32_t leaf, std::uint32_t subleaf, CpuidResult result) { answers[{leaf, subleaf}] = result; }
    CpuidResult get(std::uint32_t leaf, std::uint32_t subleaf) {
        const auto it = answers.find({leaf, subleaf});
        return it != answers.end() ? it->second : CpuidResult{};
    }
    Cpuid::Host delegate() { return Cpuid::Host::to<&FullHost::get>(this); }

    std::map<std::pair<std::uint32_t, std::uint32_t>, CpuidResult> answers;
};

CpuidParameters generous(unsigned vcpus = 4) {
    return {.vcpus = vcpus,
            .paravirt = Paravirt::none,
            .tsc_hz = 2'400'000'000,
            .xcr0 = 0x2e7,
            .compacted_area = 2440,
            .rdtscp = true,
            .invpcid = true,
            .xsaves = true,
            .spec_ctrl = true,
            .arch_capabilities = true};
}

// All that the table can offer: no VMXE, no SMXE, no LA57, nothing above PKE.
constexpr std::uint64_t offered_all = 0x770fff;

std::string text_of(std::initializer_list<std::uint32_t> words) {
    std::string text;
    for (const std::uint32_t w : words) text.append(reinterpret_cast<const char*>(&w), 4);
    return text;
}

class CpuidTest : public testing::Test {
  protected:
    FullHost host;
    Cpuid cpuid{generous(), host.delegate()};
    CpuidResult get(std::uint32_t leaf, std::uint32_t subleaf = 0, CpuidDynamic dynamic = {}) {
        return cpuid.get(leaf, subleaf, dynamic);
    }
};

TEST_F(CpuidTest, IdentityIsTheHosts) {
    EXPECT_EQ(text_of({get(0).ebx, get(0).edx, get(0).ecx}), "GenuineIntel");
    EXPECT_EQ(get(0).eax, 0x1fu);
    EXPECT_EQ(get(1).eax, 0x00050654u);
    EXPECT_EQ(get(1).ebx >> 8 & 0xff, 8u);
}

TEST_F(CpuidTest, HiddenFeatures) {
    const std::pair<unsigned, const char*> in_1_ecx[] = {{2, "DTES64"}, {3, "MONITOR"}, {5, "VMX"},      {6, "SMX"},
                                                         {7, "EIST"},   {8, "TM2"},     {10, "CNXT-ID"}, {11, "SDBG"},
                                                         {15, "PDCM"},  {18, "DCA"}};
    for (const auto& [bit, name] : in_1_ecx) EXPECT_FALSE(get(1).ecx >> bit & 1) << name;
    const std::pair<unsigned, const char*> in_1_edx[] = {
        {18, "PSN"}, {21, "DS"}, {22, "ACPI"}, {29, "TM"}, {31, "PBE"}};
    for (const auto& [bit, name] : in_1_edx) EXPECT_FALSE(get(1).edx >> bit & 1) << name;
    const std::pair<unsigned, const char*> in_7_ebx[] = {{2, "SGX"},  {4, "HLE"},    {11, "RTM"}, {12, "RDT-M"},
                                                         {14, "MPX"}, {15, "RDT-A"}, {25, "PT"}};
    for (const auto& [bit, name] : in_7_ebx) EXPECT_FALSE(get(7).ebx >> bit & 1) << name;
    const std::pair<unsigned, const char*> in_7_ecx[] = {
        {4, "OSPKE"}, {5, "WAITPKG"},   {7, "CET_SS"},  {13, "TME"},    {16, "LA57"},
        {23, "KL"},   {24, "bus lock"}, {29, "ENQCMD"}, {30, "SGX_LC"}, {31, "PKS"}};
    for (const auto& [bit, name] : in_7_ecx) EXPECT_FALSE(get(7).ecx >> bit & 1) << name;
    EXPECT_FALSE(get(7).edx >> 20 & 1) << "CET_IBT";
    EXPECT_FALSE(get(7).edx >> 11 & 1) << "RTM_ALWAYS_ABORT";
    for (const std::uint32_t leaf :
         {3u, 5u, 8u, 9u, 0xau, 0xcu, 0xeu, 0xfu, 0x10u, 0x12u, 0x13u, 0x14u, 0x17u, 0x18u, 0x1au})
        EXPECT_EQ(get(leaf), CpuidResult{}) << std::hex << leaf;
}

TEST_F(CpuidTest, ShownFeatures) {
    EXPECT_TRUE(get(1).ecx >> 21 & 1) << "x2APIC";
    EXPECT_TRUE(get(1).ecx >> 24 & 1) << "TSC-deadline";
    EXPECT_TRUE(get(1).ecx >> 31 & 1) << "hypervisor";
    EXPECT_TRUE(get(7).ebx >> 1 & 1) << "TSC_ADJUST";
    EXPECT_EQ(get(6), (CpuidResult{1u << 2, 0, 0, 0})) << "ARAT and nothing else";
    EXPECT_EQ(get(0x80000007), (CpuidResult{0, 0, 0, 1u << 8})) << "invariant TSC";
    EXPECT_EQ(get(7).eax, 1u);
    EXPECT_EQ(get(7, 2), CpuidResult{});
    EXPECT_EQ(get(0x80000008), (CpuidResult{0x302e, 0, 0, 0}));
    EXPECT_EQ(cpuid.physical_address_bits(), 46u);
}

TEST_F(CpuidTest, GivenWhateverTheHostHas) {
    FullHost poor;
    poor.set(0, 0, {5, 0x756e6547, 0x6c65746e, 0x49656e69});
    poor.set(1, 0, {0x000106a5, 0x00100800, 0x0098e3bd, 0xbfebfbff});  // Nehalem
    poor.set(0x80000007, 0, {});
    CpuidParameters p = generous(1);
    p.rdtscp = p.invpcid = p.xsaves = p.spec_ctrl = p.arch_capabilities = false;
    const Cpuid nehalem{p, poor.delegate()};
    EXPECT_TRUE(nehalem.get(1, 0, CpuidDynamic{}).ecx >> 24 & 1) << "TSC-deadline is the model's own";
    EXPECT_FALSE(nehalem.get(1, 0, CpuidDynamic{}).ecx >> 26 & 1) << "no XSAVE";
    EXPECT_EQ(nehalem.get(0xd, 0, CpuidDynamic{}), CpuidResult{});
    EXPECT_EQ(nehalem.get(7, 0, CpuidDynamic{}).ebx, 1u << 1) << "leaf 7 is beyond what this host has";
    EXPECT_EQ(nehalem.get(0, 0, CpuidDynamic{}).eax, 0x16u);
    EXPECT_EQ(nehalem.xcr0(), 0u);
    EXPECT_FALSE(nehalem.get(0x80000001, 0, CpuidDynamic{}).edx >> 27 & 1) << "RDTSCP is not enabled for guests";
    EXPECT_FALSE(nehalem.get(1, 0, CpuidDynamic{}).edx >> 28 & 1) << "HTT with one vCPU";
}

TEST_F(CpuidTest, DynamicBits) {
    EXPECT_FALSE(get(1).ecx >> 27 & 1);
    EXPECT_TRUE(get(1, 0, {.osxsave = true}).ecx >> 27 & 1);
    EXPECT_TRUE(get(1).edx >> 9 & 1);
    EXPECT_FALSE(get(1, 0, {.apic_enabled = false}).edx >> 9 & 1);
    EXPECT_EQ(get(1, 0, {.apic_id = 3}).ebx >> 24, 3u);
    EXPECT_TRUE(get(7, 0, {.ospke = true}).ecx >> 4 & 1);
    EXPECT_FALSE(get(0x80000001).edx >> 11 & 1) << "SYSCALL outside 64-bit mode";
    EXPECT_TRUE(get(0x80000001, 0, {.mode_64 = true}).edx >> 11 & 1);
}

TEST_F(CpuidTest, PlainLeavesDoNotAskForTheDynamicBits) {
    const auto refuse = []() -> CpuidDynamic {
        ADD_FAILURE();
        return {};
    };
    for (const std::uint32_t leaf : {0u, 2u, 6u, 0x15u, 0x80000002u, 0x40000000u}) cpuid.get(leaf, 0, refuse);
}

TEST_F(CpuidTest, TopologyOfEveryVcpuCount) {
    for (unsigned vcpus = 1; vcpus <= 16; ++vcpus) {
        const Cpuid c{generous(vcpus), host.delegate()};
        const auto at = [&](std::uint32_t leaf, std::uint32_t sub) {
            return c.get(leaf, sub, CpuidDynamic{.apic_id = vcpus - 1});
        };
        unsigned bits = 0;
        while ((1u << bits) < vcpus) ++bits;
        EXPECT_EQ(at(1, 0).ebx >> 16 & 0xff, 1u << bits) << vcpus;
        EXPECT_EQ(at(1, 0).edx >> 28 & 1, vcpus > 1 ? 1u : 0u);
        EXPECT_EQ(at(4, 0).eax >> 26, (1u << bits) - 1) << "cores of the package";
        EXPECT_EQ(at(4, 0).eax >> 14 & 0xfff, 0u) << "L1 is private";
        EXPECT_EQ(at(4, 3).eax >> 14 & 0xfff, (1u << bits) - 1) << "L3 is shared by all";
        EXPECT_EQ(at(4, 4).eax & 0x1f, 0u);
        for (const std::uint32_t leaf : {0xbu, 0x1fu}) {
            EXPECT_EQ(at(leaf, 0), (CpuidResult{0, 1, 0x100, vcpus - 1}));
            EXPECT_EQ(at(leaf, 1), (CpuidResult{bits, vcpus, 0x201, vcpus - 1}));
            EXPECT_EQ(at(leaf, 2), (CpuidResult{0, 0, 2, vcpus - 1}));
        }
    }
}

TEST_F(CpuidTest, XsaveLayout) {
    EXPECT_EQ(cpuid.xcr0(), 0x2e7u) << "no MPX, no PT";
    EXPECT_EQ(get(0xd, 0, {.xcr0 = 1}), (CpuidResult{0x2e7, 576, 2696, 0}));
    EXPECT_EQ(get(0xd, 0, {.xcr0 = 7}).ebx, 832u);
    EXPECT_EQ(get(0xd, 0, {.xcr0 = 0xe7}).ebx, 2688u);
    EXPECT_EQ(get(0xd, 1, {.xcr0 = 0xe7}), (CpuidResult{0xf, 2432, 0, 0}));
    EXPECT_EQ(get(0xd, 2), (CpuidResult{256, 576, 0, 0}));
    EXPECT_EQ(get(0xd, 3), CpuidResult{});
    EXPECT_EQ(get(0xd, 9), (CpuidResult{8, 2688, 0, 0}));
    EXPECT_EQ(get(0xd, 63), CpuidResult{});
    EXPECT_EQ(get(0xd, 0xffffffff), CpuidResult{});
}

TEST_F(CpuidTest, FeaturesFollowTheStateThatMayBeEnabled) {
    CpuidParameters p = generous();
    p.xcr0 = 3;
    const Cpuid sse{p, host.delegate()};
    EXPECT_EQ(sse.get(1, 0, CpuidDynamic{}).ecx & (1u << 28 | 1u << 12 | 1u << 29), 0u) << "AVX, FMA, F16C";
    EXPECT_EQ(sse.get(7, 0, CpuidDynamic{}).ebx & (1u << 5 | 0xd0230000), 0u) << "AVX2, AVX-512";
    EXPECT_EQ(sse.get(7, 0, CpuidDynamic{}).ecx & (1u << 3 | 1u << 9), 0u) << "PKU, VAES";
    EXPECT_EQ(sse.get(0xd, 0, CpuidDynamic{}).ecx, 576u);
    p.xcr0 = 0x67;  // AVX-512 only in part
    EXPECT_EQ((Cpuid{p, host.delegate()}.xcr0()), 7u);
    host.set(0xd, 2, {256, 640, 0, 0});  // another place than the one that is shown
    p.xcr0 = 0x2e7;
    EXPECT_EQ((Cpuid{p, host.delegate()}.xcr0()), 0x203u);
}

TEST_F(CpuidTest, ConditionsOfTheParameters) {
    CpuidParameters p = generous();
    p.rdtscp = p.invpcid = p.xsaves = p.spec_ctrl = p.arch_capabilities = false;
    const Cpuid c{p, host.delegate()};
    EXPECT_FALSE(c.get(7, 0, CpuidDynamic{}).ebx >> 10 & 1);
    EXPECT_FALSE(c.get(7, 0, CpuidDynamic{}).ecx >> 22 & 1);
    EXPECT_EQ(c.get(7, 0, CpuidDynamic{}).edx >> 26, 1u << 2) << "L1D_FLUSH has no condition";
    EXPECT_EQ(c.get(0xd, 1, CpuidDynamic{}).eax, 7u);
}

TEST_F(CpuidTest, ACompactedFormatOfItsOwnIsNotShown) {
    CpuidParameters p = generous();
    p.compacted_area = 2440 - 160;  // as if the legacy region were shorter
    const Cpuid c{p, host.delegate()};
    EXPECT_EQ(c.get(0xd, 1, CpuidDynamic{.xcr0 = 0xe7}), (CpuidResult{5, 0, 0, 0})) << "neither XSAVEC nor XSAVES";
    EXPECT_EQ(c.get(0xd, 0, CpuidDynamic{.xcr0 = 0xe7}).ebx, 2688u) << "the standard one is as it was";
}

TEST_F(CpuidTest, FrequenciesAreExact) {
    for (const std::uint64_t hz :
         {50'000'000ull, 2'400'000'000ull, 4'294'967'295ull, 4'400'000'000ull, 5'800'000'200ull}) {
        CpuidParameters p = generous();
        p.tsc_hz = hz;
        const CpuidResult r = Cpuid{p, host.delegate()}.get(0x15, 0, CpuidDynamic{});
        EXPECT_EQ(static_cast<std::uint64_t>(r.ecx) * r.ebx / r.eax, hz);
    }
    EXPECT_EQ(get(0x15), (CpuidResult{1, 2, 1'200'000'000u, 0}));
    EXPECT_EQ(get(0x16), (CpuidResult{2400, 2400, 100, 0}));
    EXPECT_EQ(tsc_ratio(4'400'000'000), (TscRatio{1, 2, 2'200'000'000}));
    EXPECT_EQ(tsc_ratio(2'147'483'647), (TscRatio{1, 1, 2'147'483'647})) << "a prime";
}

TEST_F(CpuidTest, LeavesOutOfRangeAnswerAsTheHighestBasicOne) {
    const CpuidDynamic d{.apic_id = 2};
    for (const std::uint32_t leaf :
         {0x20u, 0x21u, 0x1000u, 0x3fffffffu, 0x40000001u, 0x40000100u, 0x80000009u, 0x80000010u, 0xffffffffu})
        for (const std::uint32_t sub : {0u, 1u, 2u})
            EXPECT_EQ(get(leaf, sub, d), get(0x1f, sub, d)) << std::hex << leaf;
    host.set(0, 0, {0x16, 0x756e6547, 0x6c65746e, 0x49656e69});
    const Cpuid c{generous(), host.delegate()};
    EXPECT_EQ(c.get(0x17, 0, d), c.get(0x16, 0, d));
    EXPECT_EQ(c.get(0x1f, 1, d), c.get(0x16, 0, d));
}

TEST_F(CpuidTest, HypervisorLeaves) {
    const CpuidResult own = get(0x40000000);
    EXPECT_EQ(own.eax, 0x40000000u);
    EXPECT_EQ(text_of({own.ebx, own.ecx, own.edx}), std::string("BulkheadVMM\0", 12));
    CpuidParameters p = generous();
    p.paravirt = Paravirt::kvm;
    const Cpuid c{p, host.delegate()};
    const CpuidResult kvm = c.get(0x40000100, 0, CpuidDynamic{});
    EXPECT_EQ(kvm.eax, 0x40000101u);
    EXPECT_EQ(text_of({kvm.ebx, kvm.ecx, kvm.edx}), std::string("KVMKVMKVM\0\0\0", 12));
    EXPECT_EQ(c.get(0x40000101, 0, CpuidDynamic{}), CpuidResult{}) << "no feature";
    EXPECT_EQ(c.get(0x40000000, 0, CpuidDynamic{}), own);
    EXPECT_EQ(c.get(0x40000102, 0, CpuidDynamic{}), c.get(0x1f, 0, CpuidDynamic{}));
}

TEST_F(CpuidTest, AddressSizesAreWhatGuestsHave) {
    host.set(0x80000008, 0, {0x3934, 0, 0, 0});  // 52 bits, and 57 by LA57
    EXPECT_EQ((Cpuid{generous(), host.delegate()}.get(0x80000008, 0, CpuidDynamic{}).eax), 0x3030u);
    host.set(0x80000008, 0, {});
    EXPECT_EQ((Cpuid{generous(), host.delegate()}.get(0x80000008, 0, CpuidDynamic{}).eax), 0x3024u);
}

class CpuidHide : public CpuidTest {
  protected:
    Cpuid hiding(std::string_view names) {
        CpuidParameters p = generous();
        p.hidden = names;
        return Cpuid{p, host.delegate()};
    }
    static std::uint32_t ebx7(const Cpuid& c) { return c.get(7, 0, CpuidDynamic{}).ebx; }
};

TEST_F(CpuidHide, TakesNamesAsPeopleWriteThem) {
    const Cpuid c = hiding("smap PCID\tsse4-1  Invariant-TSC");
    EXPECT_FALSE(ebx7(c) >> 20 & 1);
    EXPECT_TRUE(ebx7(c) >> 7 & 1) << "SMEP stays";
    EXPECT_FALSE(c.get(1, 0, CpuidDynamic{}).ecx >> 17 & 1);
    EXPECT_FALSE(c.get(1, 0, CpuidDynamic{}).ecx >> 19 & 1);
    EXPECT_TRUE(c.get(1, 0, CpuidDynamic{}).ecx >> 20 & 1);
    EXPECT_EQ(c.get(0x80000007, 0, CpuidDynamic{}).edx, 0u);
}

TEST_F(CpuidHide, WhatBuildsOnItGoesToo) {
    EXPECT_EQ(hiding("avx512f").xcr0(), 0x207u);
    EXPECT_EQ(ebx7(hiding("avx512f")) & 0xd0230000, 0u) << "all of AVX-512";
    EXPECT_TRUE(ebx7(hiding("avx512f")) >> 5 & 1) << "AVX2 stays";
    EXPECT_EQ(hiding("avx").xcr0(), 0x203u);
    EXPECT_FALSE(ebx7(hiding("avx")) >> 5 & 1) << "AVX2";
    EXPECT_EQ(hiding("pku").xcr0(), 0xe7u);
    EXPECT_EQ(hiding("xsave").xcr0(), 0u);
    EXPECT_EQ(hiding("xsave").get(0xd, 0, CpuidDynamic{}), CpuidResult{});
    EXPECT_FALSE(hiding("rdtscp").get(7, 0, CpuidDynamic{}).ecx >> 22 & 1) << "RDPID, which one control governs too";
}

TEST_F(CpuidHide, ReservesBitsOfTheControlRegisters) {
    using namespace isa;
    constexpr std::uint64_t all = offered_all;
    EXPECT_EQ(offered_cr4(cpuid), all);
    EXPECT_EQ(offered_cr4(hiding("pcid smep smap umip pku")),
              all & ~(cr4::PCIDE | cr4::SMEP | cr4::SMAP | cr4::UMIP | cr4::PKE));
    EXPECT_EQ(offered_cr4(hiding("xsave")), all & ~(cr4::OSXSAVE | cr4::PKE));
    EXPECT_EQ(offered_cr4(hiding("vme de pge fsgsbase")),
              all & ~(cr4::VME | cr4::PVI | cr4::DE | cr4::PGE | cr4::FSGSBASE));
    EXPECT_EQ(offered_efer(cpuid), 0xd01u);
    EXPECT_EQ(offered_efer(hiding("nx")), 0x501u);
}

TEST_F(CpuidHide, TakesMsrsAlong) {
    EXPECT_EQ(msr_parameters(cpuid).shown, (1u << static_cast<unsigned>(MsrShown::count)) - 1);
    const std::pair<const char*, MsrShown> features[] = {{"apic", MsrShown::apic},
                                                         {"x2apic", MsrShown::x2apic},
                                                         {"tsc-deadline", MsrShown::tsc_deadline},
                                                         {"mtrr", MsrShown::mtrr},
                                                         {"pat", MsrShown::pat},
                                                         {"tsc_adjust", MsrShown::tsc_adjust},
                                                         {"mca", MsrShown::mca},
                                                         {"sep", MsrShown::sep},
                                                         {"l1d-flush", MsrShown::l1d_flush},
                                                         {"xsaves", MsrShown::xsaves},
                                                         {"lm", MsrShown::long_mode},
                                                         {"rdtscp", MsrShown::rdtscp},
                                                         {"ibrs stibp ssbd", MsrShown::spec_ctrl},
                                                         {"ibrs", MsrShown::ibpb}};
    for (const auto& [name, shown] : features) EXPECT_FALSE(msr_parameters(hiding(name)).shows(shown)) << name;
    EXPECT_TRUE(msr_parameters(hiding("ibrs")).shows(MsrShown::spec_ctrl)) << "STIBP has it too";
}

TEST(CpuidTable, FeaturesHaveOneNameEach) {
    for (const cpuid_table::Row& row : cpuid_table::rows) {
        if (!cpuid_table::is_feature(row)) continue;
        EXPECT_EQ(cpuid_table::find_feature(row.name), &row) << row.name;
    }
    for (const char* none : {"", "vendor", "brand string", "vmx", "sse4", "avx512"})
        EXPECT_EQ(cpuid_table::find_feature(none), nullptr) << none;
}

TEST(CpuidTable, NoBitIsListedTwice) {
    std::map<std::tuple<std::uint32_t, std::uint32_t, int>, std::uint32_t> seen;
    for (const cpuid_table::Row& row : cpuid_table::rows) {
        std::uint32_t& mask = seen[{row.leaf, row.subleaf, static_cast<int>(row.reg)}];
        EXPECT_EQ(mask & row.mask, 0u) << row.name;
        EXPECT_FALSE(row.name.empty());
        mask |= row.mask;
    }
}

}  // namespace
}  // namespace bulkhead::guest
