// SPDX-License-Identifier: Apache-2.0
#include "vmx/fields.hpp"

#include <gtest/gtest.h>

#include <set>

#include "vmx/vmcs.hpp"

namespace bulkhead::vmx {
namespace {

using test::AccessRefused;
using test::FakeProcessor;
using test::processor;

template <class F, class V>
concept Writes = requires(V value) { write<F>(value); };

// What must not compile: another type than the field's, and any write of exit information.
static_assert(Writes<field::GUEST_RIP, std::uint64_t>);
static_assert(!Writes<field::GUEST_RIP, std::uint32_t>);
static_assert(!Writes<field::GUEST_RIP, int>);
static_assert(!Writes<field::GUEST_RIP, field::VM_EXIT_INSTRUCTION_LENGTH>);
static_assert(Writes<field::EXCEPTION_BITMAP, std::uint32_t> && !Writes<field::EXCEPTION_BITMAP, std::uint64_t>);
static_assert(Writes<field::GUEST_CS_SELECTOR, std::uint16_t> && !Writes<field::GUEST_CS_SELECTOR, std::uint32_t>);
static_assert(Writes<field::MSR_BITMAP_ADDRESS, HostPhys> && !Writes<field::MSR_BITMAP_ADDRESS, std::uint64_t>);
static_assert(!Writes<field::MSR_BITMAP_ADDRESS, GuestPhys>);
static_assert(!Writes<field::EXIT_REASON, std::uint32_t>);
static_assert(!Writes<field::EXIT_QUALIFICATION, std::uint64_t>);
static_assert(!Writes<field::GUEST_PHYSICAL_ADDRESS, GuestPhys>);

// A width and a kind from an encoding, by the SDM's table 24-17.
static_assert(field::VIRTUAL_PROCESSOR_IDENTIFIER::width == FieldWidth::bits16);
static_assert(field::EPT_POINTER::width == FieldWidth::bits64);
static_assert(field::EXIT_REASON::width == FieldWidth::bits32);
static_assert(field::GUEST_RIP::width == FieldWidth::natural);
static_assert(field::EXIT_REASON::kind == FieldKind::exit_information);
static_assert(field::HOST_RIP::kind == FieldKind::host);
static_assert(field::GUEST_RIP::kind == FieldKind::guest);
static_assert(field::EPT_POINTER::kind == FieldKind::control);

class VmcsFields : public testing::Test {
  protected:
    void SetUp() override {
        processor() = FakeProcessor{};
        processor().start();
    }
};

TEST_F(VmcsFields, HaveTheEncodingsOfAppendixB) {
    // A sample of each table of the appendix, in its order.
    const std::pair<std::uint32_t, std::uint32_t> expected[] = {
        {field::VIRTUAL_PROCESSOR_IDENTIFIER::encoding, 0x0000},
        {field::GUEST_TR_SELECTOR::encoding, 0x080e},
        {field::GUEST_INTERRUPT_STATUS::encoding, 0x0810},
        {field::HOST_TR_SELECTOR::encoding, 0x0c0c},
        {field::IO_BITMAP_A_ADDRESS::encoding, 0x2000},
        {field::MSR_BITMAP_ADDRESS::encoding, 0x2004},
        {field::TSC_OFFSET::encoding, 0x2010},
        {field::VIRTUAL_APIC_ADDRESS::encoding, 0x2012},
        {field::EPT_POINTER::encoding, 0x201a},
        {field::EOI_EXIT_BITMAP_3::encoding, 0x2022},
        {field::XSS_EXITING_BITMAP::encoding, 0x202c},
        {field::GUEST_PHYSICAL_ADDRESS::encoding, 0x2400},
        {field::VMCS_LINK_POINTER::encoding, 0x2800},
        {field::GUEST_IA32_EFER::encoding, 0x2806},
        {field::GUEST_PDPTE3::encoding, 0x2810},
        {field::HOST_IA32_EFER::encoding, 0x2c02},
        {field::PIN_BASED_CONTROLS::encoding, 0x4000},
        {field::VM_ENTRY_CONTROLS::encoding, 0x4012},
        {field::VM_ENTRY_INTERRUPTION_INFORMATION::encoding, 0x4016},
        {field::SECONDARY_PROCESSOR_BASED_CONTROLS::encoding, 0x401e},
        {field::VM_INSTRUCTION_ERROR::encoding, 0x4400},
        {field::VM_EXIT_INSTRUCTION_INFORMATION::encoding, 0x440e},
        {field::GUEST_ES_ACCESS_RIGHTS::encoding, 0x4814},
        {field::VMX_PREEMPTION_TIMER_VALUE::encoding, 0x482e},
        {field::HOST_IA32_SYSENTER_CS::encoding, 0x4c00},
        {field::CR0_GUEST_HOST_MASK::encoding, 0x6000},
        {field::CR4_READ_SHADOW::encoding, 0x6006},
        {field::EXIT_QUALIFICATION::encoding, 0x6400},
        {field::GUEST_LINEAR_ADDRESS::encoding, 0x640a},
        {field::GUEST_CR0::encoding, 0x6800},
        {field::GUEST_RIP::encoding, 0x681e},
        {field::GUEST_IA32_SYSENTER_EIP::encoding, 0x6826},
        {field::HOST_CR0::encoding, 0x6c00},
        {field::HOST_RIP::encoding, 0x6c16},
    };
    for (const auto& [ours, sdm] : expected) EXPECT_EQ(ours, sdm);
}

TEST_F(VmcsFields, ReadBackWhatWasWritten) {
    write<field::GUEST_RIP>(std::uint64_t{0xffff'8000'1234'5678});
    write<field::GUEST_CS_SELECTOR>(std::uint16_t{0xf000});
    write<field::MSR_BITMAP_ADDRESS>(HostPhys{0x1234'5000});
    EXPECT_EQ(read<field::GUEST_RIP>(), 0xffff'8000'1234'5678);
    EXPECT_EQ(read<field::GUEST_CS_SELECTOR>(), 0xf000);
    EXPECT_EQ(read<field::MSR_BITMAP_ADDRESS>(), HostPhys{0x1234'5000});
    EXPECT_EQ(processor().get(0x681e), 0xffff'8000'1234'5678);
}

TEST_F(VmcsFields, ReadExitInformationInItsOwnType) {
    processor().set(0x2400, 0xfee0'0300);
    const GuestPhys address = read<field::GUEST_PHYSICAL_ADDRESS>();
    EXPECT_EQ(address, GuestPhys{0xfee0'0300});
}

TEST_F(VmcsFields, OfASegmentGoTogether) {
    const isa::SegmentRegister tr{.selector = 0x40, .rights = 0x8b, .limit = 0x67, .base = 0xffff'fe00'0000'3000};
    write_segment(isa::Segment::TR, tr);
    EXPECT_EQ(processor().get(0x080e), 0x40u);
    EXPECT_EQ(processor().get(0x480e), 0x67u);
    EXPECT_EQ(processor().get(0x4822), 0x8bu);
    EXPECT_EQ(processor().get(0x6814), 0xffff'fe00'0000'3000u);

    processor().set(0x0802, 0x10);
    processor().set(0x4802, 0xffff'ffff);
    processor().set(0x4816, 0xa09b);
    processor().set(0x6808, 0x1000);
    const isa::SegmentRegister cs = read_segment(isa::Segment::CS);
    EXPECT_EQ(cs.selector, 0x10);
    EXPECT_EQ(cs.limit, 0xffff'ffff);
    EXPECT_EQ(cs.rights, 0xa09bu);
    EXPECT_EQ(cs.base, 0x1000u);
}

TEST_F(VmcsFields, AreRefusedWhereTheProcessorHasThemNot) {
    processor().missing_fields = {0x202c};
    try {
        write<field::XSS_EXITING_BITMAP>(std::uint64_t{0});
        FAIL() << "the write went through";
    } catch (const AccessRefused& refused) {
        EXPECT_EQ(refused.encoding, 0x202cu);
        EXPECT_EQ(refused.error, 12u);
    }
    EXPECT_EQ(read<field::VM_INSTRUCTION_ERROR>(), 12u);
}

class VmcsRegion : public testing::Test {
  protected:
    void SetUp() override {
        pool_.initialize(HostPhys{0x10'0000}, memory_);
        processor() = FakeProcessor{};
        processor().first_word = [this](HostPhys region) {
            return pool_.contains(region) ? *pool_.at<std::uint32_t>(region) : 0;
        };
        capabilities_.basic = processor().revision;
        const HostPhys vmxon = *pool_.allocate(mm::OwnerId::hypervisor);
        *pool_.at<std::uint32_t>(vmxon) = processor().revision;
        ASSERT_EQ(instruction::vmxon(vmxon), instruction::Outcome::succeed);
    }

    alignas(4096) std::array<std::byte, 16 * 4096> memory_{};
    mm::FramePool pool_;
    Capabilities capabilities_;
};

TEST_F(VmcsRegion, StartsClearWithTheRevisionOfTheProcessor) {
    auto vmcs = Vmcs::create(pool_, mm::OwnerId::first_guest, capabilities_);
    ASSERT_TRUE(vmcs);
    EXPECT_EQ(*pool_.at<std::uint32_t>(vmcs->region()), 0x2bu);
    EXPECT_FALSE(vmcs->launched());
    EXPECT_EQ(pool_.used(mm::OwnerId::first_guest), 1u);
    vmcs->load();
    EXPECT_EQ(processor().current(), vmcs->region());
    vmcs->set_launched();
    EXPECT_TRUE(vmcs->launched());
    vmcs->clear();
    EXPECT_FALSE(vmcs->launched());
    EXPECT_FALSE(processor().current());
    vmcs->destroy(pool_);
    EXPECT_EQ(pool_.used(mm::OwnerId::first_guest), 0u);
}

TEST_F(VmcsRegion, ComesOutOfItsOwnersBudget) {
    pool_.set_budget(mm::OwnerId::first_guest, 0);
    const auto vmcs = Vmcs::create(pool_, mm::OwnerId::first_guest, capabilities_);
    ASSERT_FALSE(vmcs);
    EXPECT_EQ(vmcs.error(), mm::OutOfMemory::over_budget);
}

TEST_F(VmcsRegion, KeepsItsFieldsApartFromAnothers) {
    auto a = Vmcs::create(pool_, mm::OwnerId::first_guest, capabilities_);
    auto b = Vmcs::create(pool_, mm::OwnerId::first_guest, capabilities_);
    ASSERT_TRUE(a && b);
    a->load();
    write<field::GUEST_RIP>(std::uint64_t{1});
    b->load();
    write<field::GUEST_RIP>(std::uint64_t{2});
    a->load();
    EXPECT_EQ(read<field::GUEST_RIP>(), 1u);
}

VmcsSetup setup_without_options() {
    VmcsSetup setup;
    setup.io_bitmap = HostPhys{0x8000};
    setup.msr_bitmap = HostPhys{0xa000};
    setup.ept_pointer = 0xb01e;
    return setup;
}

TEST_F(VmcsFields, OfTheControlsAreAllWritten) {
    write_controls(setup_without_options());
    // Everything that VM entry reads whatever the controls are (SDM 24.6 to 24.8): a VMCS begins undefined.
    for (const std::uint32_t encoding :
         {0x4000u, 0x4002u, 0x401eu, 0x4004u, 0x4006u, 0x4008u, 0x2000u, 0x2002u, 0x2004u, 0x2010u, 0x201au,
          0x400au, 0x6000u, 0x6002u, 0x400cu, 0x400eu, 0x4010u, 0x4012u, 0x4014u, 0x4016u, 0x2800u})
        EXPECT_TRUE(processor().was_written(encoding)) << std::hex << encoding;
    EXPECT_EQ(processor().get(0x2002), 0x9000u);
    EXPECT_EQ(processor().get(0x2800), ~0ull);
}

TEST_F(VmcsFields, OfAbsentControlsAreLeftAlone) {
    processor().missing_fields = {0x0000, 0x202c, 0x2012, 0x401c, 0x0810, 0x201c, 0x201e, 0x2020, 0x2022};
    EXPECT_NO_THROW(write_controls(setup_without_options()));
}

TEST_F(VmcsFields, OfTheOptionalControlsAreWrittenWithThem) {
    VmcsSetup setup = setup_without_options();
    setup.vpid = 7;
    setup.virtual_apic_page = HostPhys{0xc000};
    setup.controls.proc = control::proc::USE_TPR_SHADOW;
    setup.controls.proc2 = control::proc2::ENABLE_VPID | control::proc2::ENABLE_XSAVES |
        control::proc2::VIRTUAL_INTERRUPT_DELIVERY;
    write_controls(setup);
    EXPECT_EQ(processor().get(0x0000), 7u);
    EXPECT_EQ(processor().get(0x2012), 0xc000u);
    for (const std::uint32_t encoding : {0x202cu, 0x401cu, 0x0810u, 0x201cu, 0x201eu, 0x2020u, 0x2022u})
        EXPECT_TRUE(processor().was_written(encoding)) << std::hex << encoding;
}

TEST_F(VmcsFields, OfTheInterruptWindowComeAndGo) {
    Controls controls;
    controls.proc = control::proc::HLT_EXITING;
    request_interrupt_window(controls, true);
    EXPECT_EQ(processor().get(0x4002), control::proc::HLT_EXITING | 1u << 2);
    request_interrupt_window(controls, false);
    EXPECT_EQ(processor().get(0x4002), control::proc::HLT_EXITING);
}

}  // namespace
}  // namespace bulkhead::vmx
