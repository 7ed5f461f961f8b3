// SPDX-License-Identifier: Apache-2.0
#include "vmx/exit.hpp"

#include <gtest/gtest.h>

#include <string>

#include "arch/cpu/instructions.hpp"
#include "vmx/entry_failure.hpp"
#include "vmx/guest_state.hpp"

namespace bulkhead::vmx {
namespace {

using test::FakeProcessor;
using test::processor;

class VmExit : public testing::Test {
  protected:
    void SetUp() override {
        processor() = FakeProcessor{};
        processor().start();
    }
};

TEST_F(VmExit, HasItsReason) {
    processor().set(0x4402, 10);
    Exit exit;
    exit.take();
    EXPECT_EQ(exit.reason(), ExitReason::CPUID);
    EXPECT_FALSE(exit.entry_failed());
    processor().set(0x4402, 0x8000'0021);
    exit.take();
    EXPECT_EQ(exit.reason(), ExitReason::ENTRY_FAILURE_GUEST_STATE);
    EXPECT_TRUE(exit.entry_failed());
    // Bits 27 and 28 tell of enclaves and pending MTF, not of the reason (SDM table 24-17).
    processor().set(0x4402, 0x1800'000c);
    exit.take();
    EXPECT_EQ(exit.reason(), ExitReason::HLT);
    EXPECT_FALSE(exit.entry_failed());
}

TEST_F(VmExit, FetchesWhatIsNeededAndNothingElse) {
    processor().set(0x440c, 2);
    processor().set(0x6400, 0x3f8'0000);
    processor().missing_fields = {0x640a, 0x2400, 0x4404, 0x440e};
    Exit exit;
    ASSERT_NO_THROW(exit.fetch(Needs::length | Needs::qualification));
    EXPECT_EQ(exit.length, 2u);
    EXPECT_EQ(exit.qualification, 0x3f8'0000u);
}

TEST_F(VmExit, FetchesAnErrorCodeOnlyWhenThereIsOne) {
    processor().set(0x4404, 1u << 31 | 1u << 11 | 3u << 8 | 14);
    processor().set(0x4406, 6);
    Exit exit;
    exit.fetch(Needs::interruption);
    EXPECT_TRUE(exit.interruption.is(EventType::hardware_exception, isa::Exception::PF));
    EXPECT_EQ(exit.interruption_error_code, 6u);
    processor().set(0x4404, 1u << 31 | 0x31);
    processor().missing_fields = {0x4406};
    ASSERT_NO_THROW(exit.fetch(Needs::interruption));
    EXPECT_EQ(exit.interruption.vector(), 0x31);
    EXPECT_EQ(exit.interruption.type(), EventType::external_interrupt);
}

TEST_F(VmExit, EveryArchitecturalReasonHasAName) {
    for (unsigned n = 0; n < exit_reason_count; ++n) {
        const bool unused = n == 35 || n == 38 || n == 42 || n == 71;
        EXPECT_EQ(name_of(static_cast<ExitReason>(n)) == "reserved exit reason", unused) << n;
    }
    EXPECT_EQ(name_of(ExitReason::EPT_VIOLATION), "EPT violation");
    EXPECT_EQ(name_of(ExitReason::XSETBV), "XSETBV");
    EXPECT_EQ(name_of(static_cast<ExitReason>(0xffff)), "reserved exit reason");
}

// SDM tables 27-2 to 27-7, each with a value as a processor gives it.
TEST(Qualification, OfAControlRegisterAccess) {
    // MOV CR4, R9
    const auto move = CrAccess::decode(4 | 0u << 4 | 9u << 8);
    EXPECT_EQ(move.number, 4);
    EXPECT_EQ(move.kind, CrAccess::Kind::mov_to_cr);
    EXPECT_EQ(move.gpr, isa::Gpr::R9);
    // MOV RAX, CR8
    EXPECT_EQ(CrAccess::decode(8 | 1u << 4).kind, CrAccess::Kind::mov_from_cr);
    EXPECT_EQ(CrAccess::decode(8 | 1u << 4).number, 8);
    EXPECT_EQ(CrAccess::decode(2u << 4).kind, CrAccess::Kind::clts);
    // LMSW word [mem], source FFF1h
    const auto lmsw = CrAccess::decode(3u << 4 | 1u << 6 | 0xfff1ull << 16);
    EXPECT_EQ(lmsw.kind, CrAccess::Kind::lmsw);
    EXPECT_TRUE(lmsw.lmsw_from_memory);
    EXPECT_EQ(lmsw.lmsw_source, 0xfff1);
}

TEST(Qualification, OfADebugRegisterAccess) {
    const auto from = MovDr::decode(6 | 1u << 4 | 15u << 8);
    EXPECT_EQ(from.number, 6);
    EXPECT_TRUE(from.from_dr);
    EXPECT_EQ(from.gpr, isa::Gpr::R15);
    EXPECT_FALSE(MovDr::decode(7).from_dr);
}

TEST(Qualification, OfAnIoInstruction) {
    // IN AL, 60h
    const auto in = IoAccess::decode(1u << 3 | 1u << 6 | 0x60u << 16);
    EXPECT_EQ(in.size, 1);
    EXPECT_TRUE(in.in && in.immediate_port && !in.string && !in.rep);
    EXPECT_EQ(in.port, 0x60);
    // REP OUTSD with DX = CF8h
    const auto outs = IoAccess::decode(3 | 1u << 4 | 1u << 5 | 0xcf8u << 16);
    EXPECT_EQ(outs.size, 4);
    EXPECT_TRUE(!outs.in && outs.string && outs.rep && !outs.immediate_port);
    EXPECT_EQ(outs.port, 0xcf8);
    EXPECT_EQ(IoAccess::decode(1).size, 2);
}

TEST(Qualification, OfATaskSwitch) {
    const auto jump = TaskSwitch::decode(0x28 | 2ull << 30);
    EXPECT_EQ(jump.selector, 0x28);
    EXPECT_EQ(jump.source, TaskSwitch::Source::jmp);
    EXPECT_EQ(TaskSwitch::decode(3ull << 30).source, TaskSwitch::Source::task_gate);
}

TEST(Qualification, OfAnEptViolation) {
    // A write to a page that may only be read and executed, its linear address known.
    const auto write = EptViolation::decode(1u << 1 | 1u << 3 | 1u << 5 | 1u << 7 | 1u << 8);
    EXPECT_TRUE(write.write && !write.read && !write.fetch);
    EXPECT_TRUE(write.readable && !write.writable && write.executable && write.is_mapped());
    EXPECT_TRUE(write.linear_address_valid && write.final_access);
    const auto walk = EptViolation::decode(1u << 0 | 1u << 7);
    EXPECT_TRUE(walk.read && !walk.final_access && !walk.is_mapped());
    EXPECT_TRUE(EptViolation::decode(1u << 12).nmi_unblocked_by_iret);
}

TEST(Qualification, OfAnApicAccess) {
    const auto write = ApicAccess::decode(0x0b0 | 1u << 12);
    EXPECT_EQ(write.offset, 0xb0);
    EXPECT_EQ(write.kind, ApicAccess::Kind::linear_write);
}

TEST(InstructionInformation, OfStringIo) {
    const auto outs = StringIoInformation::decode(1u << 7 | 4u << 15);
    EXPECT_EQ(outs.address_size, 4);
    EXPECT_EQ(outs.segment, isa::Segment::FS);
    EXPECT_EQ(StringIoInformation::decode(2u << 7).address_size, 8);
}

TEST(InstructionInformation, OfAMemoryOperand) {
    // LGDT [RBX + RSI * 4] in DS: scale 2, 64-bit addresses, segment 3, index RSI, base RBX
    const auto lgdt = MemoryOperandInformation::decode(2 | 2u << 7 | 3u << 15 | 6u << 18 | 3u << 23);
    EXPECT_EQ(lgdt.scale, 2);
    EXPECT_EQ(lgdt.address_size, 8);
    EXPECT_FALSE(lgdt.is_register);
    EXPECT_EQ(lgdt.segment, isa::Segment::DS);
    EXPECT_TRUE(lgdt.index_valid && lgdt.base_valid);
    EXPECT_EQ(lgdt.index, isa::Gpr::RSI);
    EXPECT_EQ(lgdt.base, isa::Gpr::RBX);
    EXPECT_FALSE(MemoryOperandInformation::decode(1u << 22).index_valid);
    EXPECT_FALSE(MemoryOperandInformation::decode(1u << 27).base_valid);
}

TEST_F(VmExit, IsFollowedByAnInjectedEvent) {
    processor().set(0x6800, 0x31);  // protected mode
    inject(Event::interrupt(0x31));
    EXPECT_EQ(processor().get(0x4016), 0x8000'0031u);
    inject(Event::nmi());
    EXPECT_EQ(processor().get(0x4016), 0x8000'0202u);
    inject(Event::exception(isa::general_protection));
    EXPECT_EQ(processor().get(0x4016), 0x8000'0b0du);
    EXPECT_EQ(processor().get(0x4018), 0u);
    inject(Event::exception(isa::invalid_opcode));
    EXPECT_EQ(processor().get(0x4016), 0x8000'0306u);
    inject({.vector = 0x80, .type = EventType::software_interrupt, .instruction_length = 2});
    EXPECT_EQ(processor().get(0x4016), 0x8000'0480u);
    EXPECT_EQ(processor().get(0x401a), 2u);
}

TEST_F(VmExit, KeepsTheEventThatItInterrupted) {
    EXPECT_EQ(interrupted_event(), std::nullopt);
    processor().set(0x4408, 0x8000'0b0e);
    processor().set(0x440a, 2);
    EXPECT_EQ(interrupted_event(), (Event{14, EventType::hardware_exception, 2u, 0}));
    processor().set(0x4408, 0x8000'0603);
    processor().set(0x440c, 1);
    EXPECT_EQ(interrupted_event(), (Event{3, EventType::software_exception, std::nullopt, 1}));
}

TEST_F(VmExit, OfADebugExceptionUpdatesTheDebugRegisters) {
    test::cpu_state() = test::FakeCpu{};
    test::cpu_state().dr[6] = 0xffff'0ff0 | 0x2;  // an old B1
    processor().set(0x681a, 0x400 | 1u << 13);     // GD
    processor().set(0x2802, 3);                    // LBR and BTF
    processor().set(0x4824, 2 | 8);                // MOV SS, and NMIs blocked
    latch_debug_exception(1u << 14 | 1);           // single step on top of breakpoint 0
    EXPECT_EQ(test::cpu_state().dr[6], 0xffff'4ff1u);
    EXPECT_EQ(processor().get(0x681a), 0x400u);
    EXPECT_EQ(processor().get(0x2802), 0u) << "a #DB clears LBR and BTF";
    EXPECT_EQ(processor().get(0x4824), 8u);
}

// SDM 26.2.1.3: in real mode no error code is delivered.
TEST_F(VmExit, InjectsAnErrorCodeInProtectedModeOnly) {
    processor().set(0x6800, 0x31);
    inject(Event::exception(isa::general_protection));
    EXPECT_EQ(processor().get(0x4016), 0x8000'0b0du);
    processor().set(0x6800, 0x30);
    inject(Event::exception(isa::general_protection));
    EXPECT_EQ(processor().get(0x4016), 0x8000'030du);
}

// SDM volume 3, 17.3.1.1, 17.3.1.4 and 17.4.3.
TEST_F(VmExit, AnInstructionThatWasCompletedTraps) {
    processor().set(0x6820, 0x1'0102);  // RF and TF
    processor().set(0x6822, 0x1001);    // a data breakpoint that MOV SS held back
    processor().set(0x2802, 0);
    trace_instruction(true);
    EXPECT_EQ(processor().get(0x6820), 0x102u);
    EXPECT_EQ(processor().get(0x6822), 0x5001u);
    EXPECT_TRUE(debug_exception_pending());
}

TEST_F(VmExit, AnIterationKeepsTheResumeFlag) {
    processor().set(0x6820, 0x102);
    processor().set(0x6822, 0);
    processor().set(0x2802, 0);
    trace_instruction(false);
    EXPECT_EQ(processor().get(0x6820), 0x1'0102u);
    EXPECT_EQ(processor().get(0x6822), 0x4000u);
}

TEST_F(VmExit, BranchSteppingLeavesOtherInstructionsAlone) {
    processor().set(0x6820, 0x102);
    processor().set(0x6822, 0);
    processor().set(0x2802, 2);  // BTF
    trace_instruction(true);
    EXPECT_EQ(processor().get(0x6822), 0u);
    EXPECT_FALSE(debug_exception_pending());
    processor().set(0x6822, 1);
    EXPECT_FALSE(debug_exception_pending()) << "met, but not enabled";
}

TEST_F(VmExit, TheShadowEnds) {
    processor().set(0x4824, 1 | 8);
    EXPECT_TRUE(end_interrupt_shadow());
    EXPECT_EQ(processor().get(0x4824), 8u);
    EXPECT_FALSE(end_interrupt_shadow());
}

TEST(Windows, AreOpenWhenNothingBlocks) {
    EXPECT_TRUE(interrupt_window_open(0x202, 0));
    EXPECT_FALSE(interrupt_window_open(0x002, 0));
    EXPECT_FALSE(interrupt_window_open(0x202, 1));
    EXPECT_FALSE(interrupt_window_open(0x202, 2));
    EXPECT_TRUE(interrupt_window_open(0x202, 8)) << "blocking by NMI does not block interrupts";
    EXPECT_TRUE(nmi_window_open(0));
    EXPECT_FALSE(nmi_window_open(8));
    EXPECT_FALSE(nmi_window_open(2));
}

class EntryFailure : public VmExit {
  protected:
    std::string explain(EntryOutcome outcome) {
        char storage[512];
        TextBuffer buffer{storage};
        explain_entry_failure(buffer, outcome, platform_, {});
        return std::string{buffer.view()};
    }
    Platform platform_{.capabilities = {.misc = 0x1e0,
                                        .cr0_fixed0 = 0x8000'0021,
                                        .cr0_fixed1 = 0xffff'ffff,
                                        .cr4_fixed0 = 0x2000,
                                        .cr4_fixed1 = 0x3727ff},
                       .controls = {}};
};

TEST_F(EntryFailure, OfTheInstructionIsExplained) {
    EXPECT_EQ(explain(EntryOutcome::fail_invalid), "VM entry failed: there is no current VMCS");
    processor().set(0x4400, 7);
    EXPECT_EQ(explain(EntryOutcome::fail_valid),
              "VM entry failed: VM entry with invalid control field(s) (VM-instruction error 7)");
}

TEST_F(EntryFailure, OfTheGuestStateNamesTheField) {
    write<field::SECONDARY_PROCESSOR_BASED_CONTROLS>(control::proc2::UNRESTRICTED_GUEST | control::proc2::ENABLE_EPT);
    write<field::VM_ENTRY_CONTROLS>(control::entry::LOAD_IA32_PAT | control::entry::LOAD_IA32_EFER);
    write<field::VMCS_LINK_POINTER>(~std::uint64_t{0});
    write_guest_state(state_after_reset(), cr0_policy(platform_.capabilities), cr4_policy(platform_.capabilities, 0));
    processor().set(0x4402, 0x8000'0021);
    EXPECT_NE(explain(EntryOutcome::exited).find("every check of SDM volume 3, 26.3.1 holds"), std::string::npos);
    write<field::GUEST_RFLAGS>(std::uint64_t{0});
    EXPECT_EQ(explain(EntryOutcome::exited),
              "VM entry failed: entry failure: invalid guest state: guest RFLAGS is 0, but bit 1 must be 1 (SDM volume "
              "3, 26.3.1.4)");
}

TEST_F(EntryFailure, OfMsrLoadingTellsTheEntry) {
    processor().set(0x4402, 0x8000'0022);
    processor().set(0x6400, 3);
    EXPECT_EQ(explain(EntryOutcome::exited), "VM entry failed: entry failure: MSR loading: exit qualification 3");
}

TEST(InstructionError, TextsAreThoseOfTheSdm) {
    EXPECT_EQ(instruction_error_text(4), "VMLAUNCH with non-clear VMCS");
    EXPECT_EQ(instruction_error_text(8), "VM entry with invalid host-state field(s)");
    EXPECT_EQ(instruction_error_text(12), "VMREAD/VMWRITE from/to unsupported VMCS component");
    EXPECT_EQ(instruction_error_text(13), "VMWRITE to read-only VMCS component");
    EXPECT_EQ(instruction_error_text(26), "VM entry with events blocked by MOV SS");
    EXPECT_EQ(instruction_error_text(28), "invalid operand to INVEPT/INVVPID");
    EXPECT_EQ(instruction_error_text(29), "reserved error number");
    EXPECT_EQ(abort_text(4), "failure in loading host MSRs");
}

}  // namespace
}  // namespace bulkhead::vmx
