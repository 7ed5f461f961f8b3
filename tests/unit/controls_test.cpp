// SPDX-License-Identifier: Apache-2.0
#include "vmx/controls.hpp"

#include <gtest/gtest.h>

#include <string>

#include "vmx/control_registers.hpp"

namespace bulkhead::vmx {
namespace {

// Capability MSRs as these processors report them.
constexpr Capabilities sandy_bridge{
    .basic = 0x00da'0400'0000'0010,
    .pinbased = 0x0000'007f'0000'0016,
    .procbased = 0xfff9'fffe'0401'e172,
    .procbased2 = 0x0000'00ff'0000'0000,
    .exit = 0x007f'ffff'0003'6dff,
    .entry = 0x0000'ffff'0000'11ff,
    .true_pinbased = 0x0000'007f'0000'0016,
    .true_procbased = 0xfff9'fffe'0400'6172,
    .true_exit = 0x007f'ffff'0003'6dfb,
    .true_entry = 0x0000'ffff'0000'11fb,
    .misc = 0x1004'01e5,
    .cr0_fixed0 = 0x8000'0021,
    .cr0_fixed1 = 0xffff'ffff,
    .cr4_fixed0 = 0x2000,
    .cr4_fixed1 = 0x000'627ff,
    .ept_vpid = 0x0000'0f01'0611'4141,
};

constexpr Capabilities with(Capabilities c, std::uint64_t procbased2, std::uint64_t misc, std::uint64_t cr4_fixed1,
                            std::uint64_t ept_vpid) {
    c.procbased2 = procbased2;
    c.misc = misc;
    c.cr4_fixed1 = cr4_fixed1;
    c.ept_vpid = ept_vpid;
    return c;
}

constexpr Capabilities ivy_bridge = with(sandy_bridge, 0x0000'08ff'0000'0000, 0x1004'01e5, 0x1767ff, 0xf01'0611'4141);
constexpr Capabilities broadwell = with(sandy_bridge, 0x0005'7cff'0000'0000, 0x3004'81e5, 0x3767ff, 0xf01'0633'4141);
constexpr Capabilities silvermont = with(sandy_bridge, 0x0000'28ef'0000'0000, 0x0004'81e6, 0x1027ff, 0xf01'0611'4141);

constexpr Capabilities make_skylake() {
    Capabilities c = with(sandy_bridge, 0x005f'bcff'0000'0000, 0x7004'c1e7, 0x3767ff, 0xf01'0673'4141);
    c.basic = 0x00da'0400'0000'0004;
    c.exit = 0x01ff'ffff'0003'6dff;
    c.entry = 0x0003'ffff'0000'11ff;
    c.true_exit = 0x01ff'ffff'0003'6dfb;
    c.true_entry = 0x0003'ffff'0000'11fb;
    return c;
}
constexpr Capabilities skylake = make_skylake();

// The first Core processors with EPT do not let a guest run in real mode.
constexpr Capabilities nehalem = with(sandy_bridge, 0x0000'006f'0000'0000, 0x0004'01c5, 0x27ff, 0xf01'0611'4141);

// 45 nm Core 2: secondary controls, but neither EPT nor the TRUE registers.
constexpr Capabilities make_penryn() {
    Capabilities c = with(sandy_bridge, 0x0000'0041'0000'0000, 0x0004'03c0, 0x27ff, 0);
    c.basic = 0x005a'0800'0000'000d;
    c.pinbased = 0x0000'003f'0000'0016;
    c.procbased = 0xf7f9'fffe'0401'e172;
    c.exit = 0x0003'ffff'0003'6dff;
    c.entry = 0x0000'3fff'0000'11ff;
    c.true_pinbased = c.true_procbased = c.true_exit = c.true_entry = 0;
    return c;
}
constexpr Capabilities penryn = make_penryn();

// The emulated machine: no monitor trap flag, no posted interrupts, timer rate shift 0.
constexpr Capabilities make_bochs() {
    Capabilities c = with(skylake, 0x0217'7fff'0000'0000, 0x6004'01e0, 0x3727ff, 0xf01'0633'4141);
    c.basic = 0x00d8'1000'0000'002b;
    c.procbased = 0xf7f9'fffe'0401'e172;
    c.true_procbased = 0xf7f9'fffe'0400'6172;
    return c;
}
constexpr Capabilities bochs = make_bochs();

struct Named {
    const char* name;
    const Capabilities& capabilities;
};
class SupportedProcessor : public testing::TestWithParam<Named> {};

INSTANTIATE_TEST_SUITE_P(Processors, SupportedProcessor,
                         testing::Values(Named{"SandyBridge", sandy_bridge}, Named{"IvyBridge", ivy_bridge},
                                         Named{"Broadwell", broadwell}, Named{"Skylake", skylake},
                                         Named{"Silvermont", silvermont}, Named{"Bochs", bochs}),
                         [](const auto& param) { return std::string{param.param.name}; });

constexpr bool fits(std::uint32_t word, AllowedSettings allowed) {
    return (word & allowed.allowed0) == allowed.allowed0 && (word & ~allowed.allowed1) == 0;
}

TEST_P(SupportedProcessor, GetsControlsThatItAllows) {
    const Capabilities& c = GetParam().capabilities;
    const auto controls = choose_controls(c);
    ASSERT_TRUE(controls) << controls.error().missing << " " << controls.error().name;
    const auto fit = [&](const Controls& words) {
        EXPECT_TRUE(fits(words.pin, c.pin()));
        EXPECT_TRUE(fits(words.proc, c.proc()));
        EXPECT_TRUE(fits(words.proc2, c.proc2()));
        EXPECT_TRUE(fits(words.exit, c.exit_controls()));
        EXPECT_TRUE(fits(words.entry, c.entry_controls()));
    };
    fit(*controls);
    if (const auto more = with_virtual_interrupts(*controls, c)) fit(*more);
    EXPECT_TRUE(check_capabilities(c));
}

TEST_P(SupportedProcessor, InterceptsWhatGivesAGuestPower) {
    const auto controls = choose_controls(GetParam().capabilities);
    ASSERT_TRUE(controls);
    using namespace control;
    // External-interrupt, NMI exiting, virtual NMIs, preemption timer (SDM table 24-5).
    EXPECT_EQ(controls->pin & 0x69u, 0x69u);
    // TSC offsetting, HLT, MWAIT, RDPMC, CR8 load and store, I/O bitmaps, MSR bitmaps, MONITOR, secondary (24-6).
    EXPECT_EQ(controls->proc & 0xb218'0c88u, 0xb218'0c88u);
    // EPT, WBINVD exiting, unrestricted guest (24-7).
    EXPECT_EQ(controls->proc2 & 0xc2u, 0xc2u);
    // Save debug controls, 64-bit host, acknowledge, save and load PAT and EFER (24-12).
    EXPECT_EQ(controls->exit & 0x3c'8204u, 0x3c'8204u);
    // Load debug controls, PAT, EFER (24-14).
    EXPECT_EQ(controls->entry & 0xc004u, 0xc004u);
}

TEST_P(SupportedProcessor, LeavesTheGuestAloneWhereItMay) {
    const auto controls = choose_controls(GetParam().capabilities);
    ASSERT_TRUE(controls);
    using namespace control;
    EXPECT_EQ(controls->proc & (proc::INTERRUPT_WINDOW_EXITING | proc::INVLPG_EXITING | proc::RDTSC_EXITING |
                                proc::CR3_LOAD_EXITING | proc::CR3_STORE_EXITING | proc::USE_TPR_SHADOW |
                                proc::NMI_WINDOW_EXITING | proc::MOV_DR_EXITING | proc::UNCONDITIONAL_IO_EXITING |
                                proc::MONITOR_TRAP_FLAG | proc::PAUSE_EXITING),
              0u);
    EXPECT_EQ(controls->proc2 & (proc2::VIRTUALIZE_APIC_ACCESSES | proc2::DESCRIPTOR_TABLE_EXITING |
                                 proc2::ENABLE_VM_FUNCTIONS | proc2::VMCS_SHADOWING | proc2::USE_TSC_SCALING),
              0u);
    EXPECT_EQ(controls->exit & (exit::SAVE_VMX_PREEMPTION_TIMER_VALUE | exit::LOAD_IA32_PERF_GLOBAL_CTRL), 0u);
    EXPECT_EQ(controls->entry & (entry::IA32E_MODE_GUEST | entry::ENTRY_TO_SMM), 0u);
}

TEST(Controls, UseWhatIsWantedWhereItExists) {
    using namespace control::proc2;
    constexpr std::uint32_t wanted =
        ENABLE_VPID | ENABLE_RDTSCP | ENABLE_INVPCID | ENABLE_XSAVES | PAUSE_LOOP_EXITING;
    EXPECT_EQ(choose_controls(skylake)->proc2 & wanted, wanted);
    EXPECT_EQ(choose_controls(sandy_bridge)->proc2 & wanted, ENABLE_VPID | ENABLE_RDTSCP);
}

std::string sentence(const Refusal& refusal) {
    char storage[512];
    TextBuffer buffer{storage};
    refusal.print(buffer);
    return std::string{buffer.view()};
}

TEST(Controls, RefuseAProcessorWithoutUnrestrictedGuestByName) {
    const auto controls = choose_controls(nehalem);
    ASSERT_FALSE(controls);
    EXPECT_EQ(controls.error().name, "unrestricted guest");
    EXPECT_NE(sentence(controls.error()).find("\"unrestricted guest\"; use a processor with"), std::string::npos);
}

TEST(Controls, RefuseAProcessorWithoutEptByName) {
    const auto controls = choose_controls(penryn);
    ASSERT_FALSE(controls);
    EXPECT_EQ(controls.error().name, "enable EPT");
}

// Whatever mandatory control is taken away, the refusal names it.
TEST(Controls, NameEachMandatoryControlThatIsMissing) {
    const struct {
        std::uint64_t Capabilities::*word;
        unsigned bit;
        std::string_view name;
    } cases[] = {
        {&Capabilities::true_pinbased, 0, "external-interrupt exiting"},
        {&Capabilities::true_pinbased, 3, "NMI exiting"},
        {&Capabilities::true_pinbased, 5, "virtual NMIs"},
        {&Capabilities::true_pinbased, 6, "activate VMX-preemption timer"},
        {&Capabilities::true_procbased, 2, "interrupt-window exiting"},
        {&Capabilities::true_procbased, 7, "HLT exiting"},
        {&Capabilities::true_procbased, 22, "NMI-window exiting"},
        {&Capabilities::true_procbased, 25, "use I/O bitmaps"},
        {&Capabilities::true_procbased, 28, "use MSR bitmaps"},
        {&Capabilities::true_procbased, 31, "activate secondary controls"},
        {&Capabilities::procbased2, 6, "WBINVD exiting"},
        {&Capabilities::true_exit, 15, "acknowledge interrupt on exit"},
        {&Capabilities::true_exit, 21, "load IA32_EFER on exit"},
        {&Capabilities::true_entry, 15, "load IA32_EFER on entry"},
    };
    for (const auto& test : cases) {
        Capabilities c = skylake;
        c.*test.word &= ~(1ull << (32 + test.bit));
        const auto controls = choose_controls(c);
        ASSERT_FALSE(controls) << test.name;
        EXPECT_EQ(controls.error().name, test.name);
    }
}

TEST(Controls, RefuseAControlThatCannotBeTurnedOff) {
    Capabilities c = skylake;
    c.true_procbased |= 1u << 15;  // CR3-load exiting, as without the TRUE registers
    const auto controls = choose_controls(c);
    ASSERT_FALSE(controls);
    EXPECT_EQ(controls.error().name, "CR3-load exiting");
    EXPECT_NE(sentence(controls.error()).find("imposes"), std::string::npos);
}

TEST(Controls, KeepWhatTheProcessorRequiresAndTheTableDoesNotKnow) {
    Capabilities c = skylake;
    c.true_pinbased |= 1u << 10 | 1ull << 42;
    EXPECT_EQ(choose_controls(c)->pin & 1u << 10, 1u << 10);
    EXPECT_EQ(choose_controls(skylake)->pin & 1u << 10, 0u);
}

TEST(Controls, VirtualInterruptsComeWithTheTprShadow) {
    using namespace control;
    const auto controls = with_virtual_interrupts(*choose_controls(bochs), bochs);
    ASSERT_TRUE(controls);
    EXPECT_TRUE(controls->has_proc(proc::USE_TPR_SHADOW));
    EXPECT_EQ(controls->proc & (proc::CR8_LOAD_EXITING | proc::CR8_STORE_EXITING), 0u);
    EXPECT_TRUE(controls->deliver_virtual_interrupts());
    EXPECT_EQ(controls->proc2 & x2apic_mode_controls, 0u) << "the mode decides";
}

TEST(Controls, NoVirtualInterruptsWhereAPartOfThemIsMissing) {
    using namespace control;
    const auto controls = *choose_controls(bochs);
    Capabilities c = bochs;
    c.true_procbased &= ~(std::uint64_t{proc::USE_TPR_SHADOW} << 32);
    EXPECT_FALSE(with_virtual_interrupts(controls, c));
    for (const std::uint32_t bit : {proc2::VIRTUAL_INTERRUPT_DELIVERY, proc2::VIRTUALIZE_X2APIC_MODE,
                                    proc2::APIC_REGISTER_VIRTUALIZATION}) {
        c = bochs;
        c.procbased2 &= ~(std::uint64_t{bit} << 32);
        EXPECT_FALSE(with_virtual_interrupts(controls, c)) << bit;
    }
    EXPECT_FALSE(with_virtual_interrupts(controls, sandy_bridge));
}

TEST(Support, IsRefusedWithoutVtx) {
    EXPECT_TRUE(check_processor({.ecx = 1u << 5}));
    const auto refused = check_processor({.ecx = ~(1u << 5)});
    ASSERT_FALSE(refused);
    EXPECT_NE(sentence(refused.error()).find("no VT-x"), std::string::npos);
}

// IA32_FEATURE_CONTROL: lock bit 0, VMX outside SMX bit 2.
TEST(Support, IsRefusedWhenFirmwareLockedItOff) {
    EXPECT_TRUE(check_firmware(0));
    EXPECT_TRUE(check_firmware(5));
    EXPECT_TRUE(check_firmware(4));
    const auto refused = check_firmware(1);
    ASSERT_FALSE(refused);
    EXPECT_NE(sentence(refused.error()).find("locked off by the firmware"), std::string::npos);
    EXPECT_FALSE(check_firmware(3)) << "VMX inside SMX only";
}

TEST(Support, IsRefusedWithoutTheEptFormatThatIsUsed) {
    for (const unsigned bit : {6u, 14u, 16u}) {
        Capabilities c = skylake;
        c.ept_vpid &= ~(1ull << bit);
        EXPECT_FALSE(check_capabilities(c)) << bit;
    }
    Capabilities c = skylake;
    c.ept_vpid &= ~(1ull << 20);
    ASSERT_FALSE(check_capabilities(c));
    EXPECT_NE(check_capabilities(c).error().missing.find("INVEPT"), std::string_view::npos);
}

TEST(Capabilities, AreReadAsAppendixASays) {
    EXPECT_EQ(bochs.revision(), 0x2bu);
    EXPECT_EQ(bochs.region_size(), 4096u);
    EXPECT_TRUE(bochs.regions_write_back() && bochs.true_controls() && !bochs.regions_below_4gib());
    EXPECT_EQ(bochs.preemption_timer_shift(), 0u);
    EXPECT_EQ(sandy_bridge.preemption_timer_shift(), 5u);
    EXPECT_EQ(skylake.preemption_timer_shift(), 7u);
    EXPECT_TRUE(skylake.monitor_trap_flag());
    EXPECT_FALSE(bochs.monitor_trap_flag());
    EXPECT_TRUE(bochs.ept_1gib_pages() && bochs.ept_2mib_pages() && bochs.ept_accessed_dirty());
    EXPECT_FALSE(sandy_bridge.ept_1gib_pages() || sandy_bridge.ept_accessed_dirty());
    EXPECT_TRUE(bochs.invept_single_context() && bochs.invvpid_single_context());
    EXPECT_TRUE(bochs.exit_stores_lma() && bochs.activity_hlt());
    EXPECT_FALSE(penryn.true_controls());
    EXPECT_EQ(penryn.pin().allowed1, 0x3fu) << "without TRUE registers, of the plain ones";
}

TEST(ControlRegisters, OfCr0HideWhatVmxFixesAndTheCacheBits) {
    using namespace isa;
    const ControlRegisterPolicy policy = cr0_policy(skylake);
    EXPECT_EQ(policy.host_owned & 0xffff'ffff, cr0::NE | cr0::CD | cr0::NW);
    EXPECT_EQ(policy.host_owned >> 32, 0xffff'ffff) << "a set of a bit above 31 exits, for #GP";
    constexpr std::uint64_t reset = cr0::CD | cr0::NW | cr0::ET;
    EXPECT_EQ(policy.real(reset), cr0::ET | cr0::NE);
    EXPECT_EQ(policy.visible(policy.real(reset), reset), reset);
    constexpr std::uint64_t running = cr0::PG | cr0::PE | cr0::WP | cr0::ET;
    EXPECT_EQ(policy.real(running), running | cr0::NE);
}

TEST(ControlRegisters, OfCr4HideVmxAndWhatIsNotOffered) {
    using namespace isa;
    constexpr std::uint64_t offered = cr4::PAE | cr4::PGE | cr4::MCE | cr4::OSFXSR | cr4::VMXE;
    const ControlRegisterPolicy policy = cr4_policy(skylake, offered);
    EXPECT_NE(policy.host_owned & cr4::VMXE, 0u) << "even if offered by mistake";
    EXPECT_NE(policy.host_owned & cr4::MCE, 0u);
    EXPECT_NE(policy.host_owned & cr4::SMEP, 0u);
    EXPECT_EQ(policy.host_owned & (cr4::PAE | cr4::PGE | cr4::OSFXSR), 0u);
    EXPECT_EQ(policy.real(cr4::PAE), cr4::PAE | cr4::VMXE | cr4::MCE);
    EXPECT_EQ(policy.visible(policy.real(cr4::PAE), cr4::PAE), cr4::PAE);
}

TEST(ControlRegisters, OfCr4NeverHoldABitThatTheProcessorLacks) {
    using namespace isa;
    const ControlRegisterPolicy policy = cr4_policy(nehalem, ~0ull);
    EXPECT_EQ(policy.real(~0ull) & ~nehalem.cr4_fixed1, 0u);
}

}  // namespace
}  // namespace bulkhead::vmx
