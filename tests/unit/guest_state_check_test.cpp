// SPDX-License-Identifier: Apache-2.0
#include "vmx/guest_state_check.hpp"

#include <gtest/gtest.h>

#include <span>
#include <string>

#include "arch/isa/msr.hpp"
#include "vmx/controls.hpp"
#include "vmx/event.hpp"
#include "vmx/fields.hpp"
#include "vmx/guest_state.hpp"

namespace bulkhead::vmx {
namespace {

using test::FakeProcessor;
using test::processor;
using isa::Segment;

constexpr Capabilities skylake{.misc = 0x7004'c1e7,
                               .cr0_fixed0 = 0x8000'0021,
                               .cr0_fixed1 = 0xffff'ffff,
                               .cr4_fixed0 = 0x2000,
                               .cr4_fixed1 = 0x3767ff};
constexpr AddressWidths widths{.physical = 39, .linear = 48};

constexpr std::uint64_t offered_cr4 = 0x3727ff;

// Real mode, as after a start-up IPI (SDM volume 3, 8.4.3).
GuestState real_mode() {
    GuestState state = state_after_reset();
    state.rip = 0;
    state[Segment::CS].selector = 0x9a00;
    state[Segment::CS].base = 0x9'a000;
    return state;
}

isa::SegmentRegister flat(std::uint16_t selector, std::uint32_t rights) {
    return {.selector = selector, .rights = rights, .limit = 0xffff'ffff, .base = 0};
}

GuestState protected_mode() {
    GuestState state = state_after_reset();
    state.rip = 0x10'0000;
    state.cr0 = isa::cr0::PE | isa::cr0::ET;
    for (const Segment s : {Segment::ES, Segment::SS, Segment::DS, Segment::FS, Segment::GS})
        state[s] = flat(0x10, 0xc093);
    state[Segment::CS] = flat(0x08, 0xc09b);
    return state;
}

GuestState pae_paging() {
    GuestState state = protected_mode();
    state.cr0 |= isa::cr0::PG;
    state.cr4 = isa::cr4::PAE;
    state.cr3 = 0x1000;
    return state;
}

GuestState long_mode() {
    GuestState state = pae_paging();
    state.efer = isa::efer::LME | isa::efer::NXE | isa::efer::SCE;
    state.rip = 0xffff'ffff'8100'0000;
    state[Segment::CS] = flat(0x10, 0xa09b);
    state[Segment::FS].base = 0x7f12'3456'7000;
    state[Segment::GS].base = 0xffff'8880'0000'0000;
    state[Segment::TR] = {.selector = 0x40, .rights = 0x8b, .limit = 0x206f, .base = 0xffff'fe00'0000'3000};
    state[Segment::LDTR].rights = isa::access_rights::unusable;
    return state;
}

// The data segments that a 64-bit kernel loads with null selectors.
GuestState long_mode_with_unusable_data() {
    GuestState state = long_mode();
    for (const Segment s : {Segment::ES, Segment::SS, Segment::DS, Segment::FS, Segment::GS}) {
        state[s].selector = 0;
        state[s].rights = isa::access_rights::unusable;
    }
    return state;
}

GuestState virtual_8086() {
    GuestState state = protected_mode();
    state.rflags = isa::rflags::FIXED | isa::rflags::VM | isa::rflags::IF;
    state.rip = 0x1234;
    std::uint16_t selector = 0x1000;
    for (const Segment s : {Segment::ES, Segment::CS, Segment::SS, Segment::DS, Segment::FS, Segment::GS}) {
        state[s] = {.selector = selector, .rights = 0xf3, .limit = 0xffff, .base = std::uint64_t{selector} << 4};
        selector = static_cast<std::uint16_t>(selector + 0x111);
    }
    return state;
}

// A user-mode program, CS and SS with DPL 3.
GuestState user_mode() {
    GuestState state = long_mode();
    state.rip = 0x40'0000;
    state[Segment::CS] = flat(0x33, 0xa0fb);
    state[Segment::SS] = flat(0x2b, 0xc0f3);
    return state;
}

// Writes a whole VMCS, as far as the checks look at it.
void enter(const GuestState& state, std::uint32_t more_proc2 = control::proc2::UNRESTRICTED_GUEST) {
    write<field::PIN_BASED_CONTROLS>(control::pin::VIRTUAL_NMIS);
    write<field::SECONDARY_PROCESSOR_BASED_CONTROLS>(control::proc2::ENABLE_EPT | more_proc2);
    write<field::VM_ENTRY_CONTROLS>(control::entry::LOAD_DEBUG_CONTROLS | control::entry::LOAD_IA32_PAT |
                                    control::entry::LOAD_IA32_EFER);
    write<field::VMCS_LINK_POINTER>(~std::uint64_t{0});
    write_guest_state(state, cr0_policy(skylake), cr4_policy(skylake, offered_cr4));
}

class GuestStateCheck : public testing::Test {
  protected:
    void SetUp() override {
        processor() = FakeProcessor{};
        processor().start();
    }

    static std::string violation() {
        const auto found = check_guest_state(skylake, widths);
        return found ? std::string{found->field} : "";
    }
    static void expect_valid() {
        const auto found = check_guest_state(skylake, widths);
        EXPECT_FALSE(found) << found->field << " is " << std::hex << found->value << ", but " << found->rule;
    }
};

TEST_F(GuestStateCheck, PassesEveryMode) {
    for (const GuestState& state : {state_after_reset(), real_mode(), protected_mode(), pae_paging(),
                                    long_mode(), long_mode_with_unusable_data(), virtual_8086(), user_mode()}) {
        enter(state);
        expect_valid();
    }
}

TEST_F(GuestStateCheck, ReadsBackWhatWasWritten) {
    const ControlRegisterPolicy cr0 = cr0_policy(skylake), cr4 = cr4_policy(skylake, offered_cr4);
    enter(state_after_reset());
    EXPECT_EQ(processor().get(0x6800), 0x30u) << "NE is set, CD and NW are not, whatever the guest sees";
    const GuestState reset = read_guest_state(cr0, cr4);
    EXPECT_EQ(reset.cr0, 0x6000'0010u);
    EXPECT_EQ(reset.rip, 0xfff0u);
    EXPECT_EQ(reset.rflags, 2u);
    EXPECT_EQ(reset[Segment::CS].selector, 0xf000);
    EXPECT_EQ(reset[Segment::CS].base, 0xffff'0000u);
    EXPECT_EQ(reset.idtr_limit, 0xffff);

    enter(real_mode());
    EXPECT_EQ(processor().get(0x0802), 0x9a00u);
    EXPECT_EQ(processor().get(0x6808), 0x9'a000u);
    EXPECT_EQ(processor().get(0x681e), 0u);
}

// SDM volume 3, table 9-1.
TEST_F(GuestStateCheck, InitKeepsWhatItDoesNotReset) {
    const ControlRegisterPolicy cr0 = cr0_policy(skylake), cr4 = cr4_policy(skylake, offered_cr4);
    GuestState before = long_mode();
    before.pat = 0x0606'0606'0606'0606;
    before.dr7 = 0x401;
    enter(before);
    write<field::GUEST_IA32_SYSENTER_CS>(std::uint32_t{0x10});
    write<field::GUEST_IA32_SYSENTER_EIP>(std::uint64_t{0x1234});
    write<field::GUEST_INTERRUPTIBILITY_STATE>(interruptibility::BLOCKING_BY_NMI);
    write_guest_state_after_init(cr0, cr4);
    expect_valid();
    const GuestState after = read_guest_state(cr0, cr4);
    EXPECT_EQ(after.pat, before.pat);
    EXPECT_EQ(read<field::GUEST_IA32_SYSENTER_CS>(), 0x10u);
    EXPECT_EQ(read<field::GUEST_IA32_SYSENTER_EIP>(), 0x1234u);
    EXPECT_EQ(after.cr0, 0x10u) << "the caches were on and stay on";
    EXPECT_EQ(after.cr4, 0u);
    EXPECT_EQ(after.efer, 0u);
    EXPECT_EQ(after.dr7, 0x400u);
    EXPECT_EQ(read<field::GUEST_INTERRUPTIBILITY_STATE>(), 0u);

    before.cr0 |= isa::cr0::CD | isa::cr0::NW;
    enter(before);
    write_guest_state_after_init(cr0, cr4);
    EXPECT_EQ(read_guest_state(cr0, cr4).cr0, 0x6000'0010u) << "and off if they were off";
}

// SDM 26.3.1.1: LMA and the entry control follow LME and PG.
TEST_F(GuestStateCheck, PutsLongModeInThreePlacesAlike) {
    enter(long_mode());
    EXPECT_NE(processor().get(0x2806) & isa::efer::LMA, 0u);
    EXPECT_NE(processor().get(0x4012) & control::entry::IA32E_MODE_GUEST, 0u);
    GuestState enabled = long_mode();
    enabled.cr0 &= ~isa::cr0::PG;
    enabled.rip = 0x1000;
    enter(enabled);
    EXPECT_EQ(processor().get(0x2806) & isa::efer::LMA, 0u);
    EXPECT_EQ(processor().get(0x4012) & control::entry::IA32E_MODE_GUEST, 0u);
    expect_valid();
}

struct Break {
    const char* field;  // that is to be named
    std::uint32_t encoding;
    std::uint64_t value;
    const char* section;
};

void expect_named(const GuestState& valid, std::span<const Break> breaks) {
    for (const Break& b : breaks) {
        enter(valid);
        processor().set(b.encoding, b.value);
        const auto found = check_guest_state(skylake, widths);
        ASSERT_TRUE(found) << b.field << " = " << std::hex << b.value << " passed";
        EXPECT_EQ(found->field, b.field) << std::hex << b.value;
        EXPECT_EQ(found->section, b.section) << b.field;
        EXPECT_EQ(found->value, b.value) << b.field;
    }
}

TEST_F(GuestStateCheck, NamesTheFieldIn64BitMode) {
    constexpr Break breaks[] = {
        {"guest CR0", 0x6800, 0x8000'0011, "26.3.1.1"},           // NE
        {"guest CR0", 0x6800, 0x8000'0030, "26.3.1.1"},           // PG without PE
        {"guest CR0", 0x6800, 0x1'8000'0031, "26.3.1.1"},         // beyond 32 bits
        {"guest CR0", 0x6800, 0x0000'0031, "26.3.1.1"},           // IA-32e mode without PG
        {"guest CR4", 0x6804, 0x0000'0020, "26.3.1.1"},           // VMXE
        {"guest CR4", 0x6804, 0x0080'2020, "26.3.1.1"},           // CET, which the processor lacks
        {"guest CR4", 0x6804, 0x0000'2000, "26.3.1.1"},           // IA-32e mode without PAE
        {"guest CR3", 0x6802, 1ull << 39, "26.3.1.1"},
        {"guest CR3", 0x6802, 1ull << 63, "26.3.1.1"},
        {"guest IA32_DEBUGCTL", 0x2802, 1u << 3, "26.3.1.1"},
        {"guest IA32_DEBUGCTL", 0x2802, 1u << 16, "26.3.1.1"},
        {"guest DR7", 0x681a, 0x1'0000'0400, "26.3.1.1"},
        {"guest IA32_SYSENTER_ESP", 0x6824, 0x8000'0000'0000, "26.3.1.1"},
        {"guest IA32_SYSENTER_EIP", 0x6826, 0x8000'0000'0000, "26.3.1.1"},
        {"guest IA32_PAT", 0x2804, 0x0007'0406'0007'0402, "26.3.1.1"},
        {"guest IA32_PAT", 0x2804, 0x0807'0406'0007'0406, "26.3.1.1"},
        {"guest IA32_EFER", 0x2806, 0xd03, "26.3.1.1"},           // reserved
        {"guest IA32_EFER", 0x2806, 0x901, "26.3.1.1"},           // LMA
        {"guest IA32_EFER", 0x2806, 0xc01, "26.3.1.1"},           // LME
        {"guest TR selector", 0x080e, 0x44, "26.3.1.2"},
        {"guest CS base", 0x6808, 1ull << 32, "26.3.1.2"},
        {"guest SS base", 0x680a, 1ull << 32, "26.3.1.2"},
        {"guest DS base", 0x680c, 1ull << 32, "26.3.1.2"},
        {"guest ES base", 0x6806, 1ull << 32, "26.3.1.2"},
        {"guest FS base", 0x680e, 1ull << 47, "26.3.1.2"},
        {"guest GS base", 0x6810, 1ull << 47, "26.3.1.2"},
        {"guest TR base", 0x6814, 1ull << 47, "26.3.1.2"},
        {"guest CS access rights", 0x4816, 0xa09a, "26.3.1.2"},   // not accessed
        {"guest CS access rights", 0x4816, 0xa08b, "26.3.1.2"},   // S
        {"guest CS access rights", 0x4816, 0xa0fb, "26.3.1.2"},   // DPL is not that of SS
        {"guest CS access rights", 0x4816, 0xa0ff, "26.3.1.2"},   // conforming, DPL above that of SS
        {"guest CS access rights", 0x4816, 0xa01b, "26.3.1.2"},   // P
        {"guest CS access rights", 0x4816, 0xa19b, "26.3.1.2"},   // bit 8
        {"guest CS access rights", 0x4816, 0xe09b, "26.3.1.2"},   // L and D
        {"guest CS access rights", 0x4816, 0x209b, "26.3.1.2"},   // G, with that limit
        {"guest CS access rights", 0x4816, 0x2'a09b, "26.3.1.2"},
        {"guest SS access rights", 0x4818, 0xc091, "26.3.1.2"},   // not writable
        {"guest SS access rights", 0x4818, 0xc083, "26.3.1.2"},   // S
        {"guest SS access rights", 0x4818, 0xc013, "26.3.1.2"},   // P
        {"guest DS access rights", 0x481a, 0xc092, "26.3.1.2"},   // not accessed
        {"guest ES access rights", 0x4814, 0xc099, "26.3.1.2"},   // code that cannot be read
        {"guest FS access rights", 0x481c, 0xc013, "26.3.1.2"},
        {"guest GS access rights", 0x481e, 0xc293, "26.3.1.2"},
        {"guest TR access rights", 0x4822, 0x83, "26.3.1.2"},     // 16-bit TSS
        {"guest TR access rights", 0x4822, 0x9b, "26.3.1.2"},
        {"guest TR access rights", 0x4822, 0x0b, "26.3.1.2"},
        {"guest TR access rights", 0x4822, 0x1'008b, "26.3.1.2"},
        {"guest TR access rights", 0x4822, 0x808b, "26.3.1.2"},   // G, with that limit
        {"guest GDTR base", 0x6816, 1ull << 47, "26.3.1.3"},
        {"guest IDTR base", 0x6818, 1ull << 47, "26.3.1.3"},
        {"guest GDTR limit", 0x4810, 0x1'0000, "26.3.1.3"},
        {"guest IDTR limit", 0x4812, 0x1'0000, "26.3.1.3"},
        {"guest RIP", 0x681e, 0x0001'0000'0000'0000, "26.3.1.4"},
        {"guest RFLAGS", 0x6820, 0x0, "26.3.1.4"},
        {"guest RFLAGS", 0x6820, 0xa, "26.3.1.4"},
        {"guest RFLAGS", 0x6820, 0x8002, "26.3.1.4"},
        {"guest RFLAGS", 0x6820, 0x40'0002, "26.3.1.4"},
        {"guest activity state", 0x4826, 4, "26.3.1.5"},
        {"guest interruptibility state", 0x4824, 1, "26.3.1.5"},  // STI with IF 0
        {"guest interruptibility state", 0x4824, 3, "26.3.1.5"},
        {"guest interruptibility state", 0x4824, 4, "26.3.1.5"},
        {"guest interruptibility state", 0x4824, 0x12, "26.3.1.5"},
        {"guest interruptibility state", 0x4824, 0x20, "26.3.1.5"},
        {"guest pending debug exceptions", 0x6822, 1u << 4, "26.3.1.5"},
        {"guest pending debug exceptions", 0x6822, 1u << 17, "26.3.1.5"},
        {"guest pending debug exceptions", 0x6822, 1u << 16, "26.3.1.5"},
        {"VMCS link pointer", 0x2800, 0x1001, "26.3.1.5"},
        {"VMCS link pointer", 0x2800, 1ull << 39, "26.3.1.5"},
    };
    expect_named(long_mode(), breaks);
}

TEST_F(GuestStateCheck, NamesTheFieldInProtectedMode) {
    constexpr Break breaks[] = {
        {"guest CR4", 0x6804, 0x2'2000, "26.3.1.1"},              // PCIDE outside IA-32e mode
        {"guest IA32_EFER", 0x2806, 0x400, "26.3.1.1"},           // LMA without "IA-32e mode guest"
        {"guest RIP", 0x681e, 0x1'0000'0000, "26.3.1.4"},
        {"guest LDTR selector", 0x080c, 4, "26.3.1.2"},
        {"guest LDTR base", 0x6812, 1ull << 47, "26.3.1.2"},
        {"guest LDTR access rights", 0x4820, 0x83, "26.3.1.2"},
        {"guest LDTR access rights", 0x4820, 0x92, "26.3.1.2"},
        {"guest LDTR access rights", 0x4820, 0x02, "26.3.1.2"},
    };
    expect_named(protected_mode(), breaks);

    GuestState data_as_code = protected_mode();
    data_as_code[Segment::CS].rights = 0xc093;  // as after PE is set and before the far jump
    enter(data_as_code);
    expect_valid();
    data_as_code[Segment::SS].rights = 0xc0f3;
    enter(data_as_code);
    EXPECT_EQ(violation(), "guest SS access rights");
}

TEST_F(GuestStateCheck, NamesTheFieldInRealMode) {
    constexpr Break breaks[] = {
        {"guest CS access rights", 0x4816, 0x97, "26.3.1.2"},     // expand-down data
        {"guest SS access rights", 0x4818, 0x97 | 1u << 12 | 1u << 17, "26.3.1.2"},
    };
    expect_named(state_after_reset(), breaks);

    GuestState v86_in_real_mode = virtual_8086();
    v86_in_real_mode.cr0 = 0x10;
    enter(v86_in_real_mode);
    EXPECT_EQ(violation(), "guest RFLAGS");
}

TEST_F(GuestStateCheck, NamesTheFieldInVirtual8086Mode) {
    constexpr Break breaks[] = {
        {"guest CS base", 0x6808, 0x1'1111, "26.3.1.2"},
        {"guest SS limit", 0x4804, 0xfffe, "26.3.1.2"},
        {"guest DS access rights", 0x481a, 0x93, "26.3.1.2"},
        {"guest GS access rights", 0x481e, 0x1'00f3, "26.3.1.2"},
    };
    expect_named(virtual_8086(), breaks);
}

TEST_F(GuestStateCheck, ChecksPdptesUnderPaePagingOnly) {
    constexpr Break breaks[] = {
        {"guest PDPTE0", 0x280a, 0x1003, "26.3.1.6"},
        {"guest PDPTE1", 0x280c, 0x1021, "26.3.1.6"},
        {"guest PDPTE2", 0x280e, 1ull << 39 | 1, "26.3.1.6"},
        {"guest PDPTE3", 0x2810, 1ull << 63 | 1, "26.3.1.6"},
    };
    expect_named(pae_paging(), breaks);
    enter(pae_paging());
    write<field::GUEST_PDPTE0>(std::uint64_t{0x1002});
    expect_valid();  // not present
    enter(long_mode());
    write<field::GUEST_PDPTE0>(std::uint64_t{0x1003});
    expect_valid();
}

TEST_F(GuestStateCheck, HoldsGranularityAgainstTheLimit) {
    GuestState state = long_mode();
    state[Segment::CS].limit = 0xffff'f000;
    enter(state);
    EXPECT_EQ(violation(), "guest CS access rights");
    state[Segment::CS].limit = 0x0010'0fff;
    enter(state);
    expect_valid();
    state[Segment::CS].rights &= ~isa::access_rights::G;
    enter(state);
    EXPECT_EQ(violation(), "guest CS access rights");
    state[Segment::CS].limit = 0x000f'f123;
    enter(state);
    expect_valid();
}

TEST_F(GuestStateCheck, IgnoresTheBasesOfUnusableSegments) {
    GuestState state = long_mode_with_unusable_data();
    state[Segment::DS].base = 1ull << 40;
    state[Segment::ES].limit = 0x123;
    enter(state);
    expect_valid();
}

TEST_F(GuestStateCheck, AsksMoreWithoutUnrestrictedGuest) {
    enter(protected_mode(), 0);
    EXPECT_EQ(violation(), "guest CR0") << "PG is fixed";
    GuestState state = pae_paging();
    state[Segment::DS].selector = 0x13;
    enter(state, 0);
    EXPECT_EQ(violation(), "guest DS access rights") << "DPL below RPL";
    state = pae_paging();
    state[Segment::CS].selector = 0x09;
    enter(state, 0);
    EXPECT_EQ(violation(), "guest SS selector");
}

TEST_F(GuestStateCheck, HoldsTheStateAgainstTheInjectedEvent) {
    const auto with_event = [](std::uint32_t information, std::uint64_t rflags, std::uint32_t interruptibility,
                               std::uint32_t activity) {
        enter(long_mode());
        write<field::VM_ENTRY_INTERRUPTION_INFORMATION>(information);
        write<field::GUEST_RFLAGS>(rflags);
        write<field::GUEST_INTERRUPTIBILITY_STATE>(interruptibility);
        write<field::GUEST_ACTIVITY_STATE>(activity);
        return violation();
    };
    constexpr std::uint32_t interrupt = 0x8000'0031, nmi = 0x8000'0202, page_fault = 0x8000'0b0e, debug = 0x8000'0301;
    EXPECT_EQ(with_event(interrupt, 0x202, 0, 0), "");
    EXPECT_EQ(with_event(interrupt, 0x002, 0, 0), "guest RFLAGS");
    EXPECT_EQ(with_event(interrupt, 0x202, 1, 0), "guest interruptibility state");
    EXPECT_EQ(with_event(interrupt, 0x202, 2, 0), "guest interruptibility state");
    EXPECT_EQ(with_event(nmi, 0x002, 2, 0), "guest interruptibility state");
    EXPECT_EQ(with_event(nmi, 0x002, 8, 0), "guest interruptibility state");
    EXPECT_EQ(with_event(interrupt, 0x202, 8, 0), "");
    // In HLT an interrupt, an NMI, #DB and #MC may come; in shutdown NMI and #MC; waiting for a SIPI nothing.
    EXPECT_EQ(with_event(interrupt, 0x202, 0, 1), "");
    EXPECT_EQ(with_event(nmi, 0x002, 0, 1), "");
    EXPECT_EQ(with_event(debug, 0x002, 0, 1), "");
    EXPECT_EQ(with_event(page_fault, 0x002, 0, 1), "guest activity state");
    EXPECT_EQ(with_event(nmi, 0x002, 0, 2), "");
    EXPECT_EQ(with_event(interrupt, 0x202, 0, 2), "guest activity state");
    EXPECT_EQ(with_event(nmi, 0x002, 0, 3), "guest activity state");
    EXPECT_EQ(with_event(0, 0x002, 0, 3), "");
}

TEST_F(GuestStateCheck, HoldsTheActivityStateAgainstTheRest) {
    enter(user_mode());
    write<field::GUEST_ACTIVITY_STATE>(std::uint32_t{1});
    EXPECT_EQ(violation(), "guest activity state") << "HLT with DPL 3";
    enter(long_mode());
    write<field::GUEST_ACTIVITY_STATE>(std::uint32_t{1});
    write<field::GUEST_INTERRUPTIBILITY_STATE>(std::uint32_t{2});
    EXPECT_EQ(violation(), "guest activity state") << "HLT with blocking by MOV SS";
    enter(long_mode());
    write<field::GUEST_ACTIVITY_STATE>(std::uint32_t{1});
    Capabilities without_hlt = skylake;
    without_hlt.misc &= ~(1ull << 6);
    EXPECT_EQ(check_guest_state(without_hlt, widths)->field, "guest activity state");
}

// SDM 26.3.1.5: BS has to agree with TF and BTF while an instruction's trap is held back.
TEST_F(GuestStateCheck, HoldsThePendingSingleStepAgainstTfAndBtf) {
    const auto stepping = [](bool tf, bool btf, bool bs, std::uint32_t interruptibility) {
        enter(long_mode());
        write<field::GUEST_RFLAGS>(std::uint64_t{0x202} | (tf ? 0x100u : 0u));
        write<field::GUEST_IA32_DEBUGCTL>(std::uint64_t{btf ? 2u : 0u});
        write<field::GUEST_PENDING_DEBUG_EXCEPTIONS>(std::uint64_t{bs ? 0x4000u : 0u});
        write<field::GUEST_INTERRUPTIBILITY_STATE>(interruptibility);
        return violation();
    };
    constexpr std::string_view wrong = "guest pending debug exceptions";
    for (const std::uint32_t shadow : {1u, 2u}) {
        EXPECT_EQ(stepping(true, false, true, shadow), "");
        EXPECT_EQ(stepping(true, false, false, shadow), wrong);
        EXPECT_EQ(stepping(true, true, true, shadow), wrong);
        EXPECT_EQ(stepping(false, false, true, shadow), wrong);
        EXPECT_EQ(stepping(false, false, false, shadow), "");
    }
    EXPECT_EQ(stepping(true, false, false, 0), "");
}

}  // namespace
}  // namespace bulkhead::vmx
