// SPDX-License-Identifier: Apache-2.0
// What a vCPU's next entry delivers, and what the completion of an emulated instruction does.
#include "monitor_fixture.hpp"

namespace bulkhead::monitor {
namespace {

using vmx::Event;
using vmx::EventType;

class VcpuTest : public MonitorTest {
  protected:
    void SetUp() override {
        MonitorTest::SetUp();
        start(one());
        static_cast<void>(delivered());
    }
};

// ---- table 6-5 of SDM volume 3: an exception while another one is delivered

constexpr unsigned contributory[] = {0, 10, 11, 12, 13, 21};
constexpr unsigned page_faults[] = {14, 20};
constexpr unsigned benign[] = {1, 5, 6, 7, 16, 17, 18, 19};
constexpr unsigned double_fault = 8;

bool has_error_code(unsigned vector) {
    return vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21;
}
isa::Fault fault(unsigned vector) {
    isa::Fault f{.vector = static_cast<isa::Exception>(vector)};
    if (has_error_code(vector)) f.error_code = 0;
    return f;
}
std::uint64_t entry_of(unsigned vector) { return 0x8000'0300 | vector | (has_error_code(vector) ? 0x800u : 0u); }

class DoubleFaultTest : public VcpuTest {
  protected:
    enum Then { serial, doubled, shut_down };
    void expect(unsigned first, unsigned second, Then then) {
        vcpu().deliver_again(Event::exception(fault(first)));
        const bool goes_on = vcpu().raise(fault(second));
        EXPECT_EQ(goes_on, then != shut_down) << second << " while " << first << " is delivered";
        const std::uint64_t entry = delivered();
        if (then == shut_down) return;
        EXPECT_EQ(entry, entry_of(then == doubled ? double_fault : second)) << second << " while " << first;
        if (then == doubled) { EXPECT_EQ(get(vmcs::entry_error_code), 0u); }
        EXPECT_EQ(delivered(), 0u) << "once";
    }
};

TEST_F(DoubleFaultTest, AfterABenignExceptionTheSecondIsDelivered) {
    for (const unsigned first : benign) {
        for (const unsigned second : benign) expect(first, second, serial);
        for (const unsigned second : contributory) expect(first, second, serial);
        for (const unsigned second : page_faults) expect(first, second, serial);
    }
}

TEST_F(DoubleFaultTest, AfterAContributoryException) {
    for (const unsigned first : contributory) {
        for (const unsigned second : benign) expect(first, second, serial);
        for (const unsigned second : contributory) expect(first, second, doubled);
        for (const unsigned second : page_faults) expect(first, second, serial);
    }
}

TEST_F(DoubleFaultTest, AfterAPageFault) {
    for (const unsigned first : page_faults) {
        for (const unsigned second : benign) expect(first, second, serial);
        for (const unsigned second : contributory) expect(first, second, doubled);
        for (const unsigned second : page_faults) expect(first, second, doubled);
    }
}

TEST_F(DoubleFaultTest, AfterADoubleFaultTheProcessorShutsDown) {
    for (const unsigned second : benign) expect(double_fault, second, serial);
    for (const unsigned second : contributory) expect(double_fault, second, shut_down);
    for (const unsigned second : page_faults) expect(double_fault, second, shut_down);
}

// Interrupts and software events are benign (6.15, interrupt 8), whatever their vector.
TEST_F(DoubleFaultTest, OnlyHardwareExceptionsCombine) {
    for (const Event& first : {Event::interrupt(13), Event::nmi(),
                               Event{.vector = 13, .type = EventType::software_interrupt, .instruction_length = 2},
                               Event{.vector = 3, .type = EventType::software_exception, .instruction_length = 1}}) {
        vcpu().deliver_again(first);
        ASSERT_TRUE(vcpu().raise(fault(13)));
        EXPECT_EQ(delivered(), entry_of(13));
    }
}

TEST_F(VcpuTest, AFaultIsDeliveredWithItsErrorCode) {
    ASSERT_TRUE(vcpu().raise({isa::Exception::NP, 0x58u, 0}));
    EXPECT_EQ(delivered(), 0x8000'0b0bu);
    EXPECT_EQ(get(vmcs::entry_error_code), 0x58u);
}

TEST_F(VcpuTest, EveryPageFaultLoadsCr2) {
    ASSERT_TRUE(vcpu().raise({isa::Exception::PF, 2u, 0x1234'5000}));
    EXPECT_EQ(delivered(), 0x8000'0b0eu);
    EXPECT_EQ(get(vmcs::entry_error_code), 2u);
    EXPECT_EQ(cpu_state().cr2, 0x1234'5000u);
    vcpu().deliver_again(Event::exception({isa::Exception::PF, 2u, 0}));
    ASSERT_TRUE(vcpu().raise({isa::Exception::PF, 0u, 0x9999'9000}));
    EXPECT_EQ(delivered(), 0x8000'0b08u);
    // SDM volume 3, 6.15, footnote to interrupt 14.
    EXPECT_EQ(cpu_state().cr2, 0x9999'9000u) << "the second one's address, though it made a double fault";
}

// SDM volume 3, 17.3.1.1.
TEST_F(VcpuTest, FaultsArePushedWithTheResumeFlag) {
    constexpr std::uint64_t RF = 1u << 16;
    set(vmcs::guest_rflags, 2);
    ASSERT_TRUE(vcpu().raise(fault(1)));
    EXPECT_EQ(get(vmcs::guest_rflags) & RF, 0u) << "a #DB has it as the processor left it";
    ASSERT_TRUE(vcpu().raise(isa::general_protection));
    EXPECT_EQ(get(vmcs::guest_rflags) & RF, RF);
}

// SDM volume 3, table 6-2: traps of the instruction before come first; the window opens behind them.
TEST_F(VcpuTest, ATrapComesBeforeAnNmi) {
    set(vmcs::pending_debug, 1u << 14);
    vcpu().nmi();
    EXPECT_EQ(delivered(), 0u);
    EXPECT_TRUE(get(vmcs::proc_controls) & 1u << 22) << "NMI-window exiting";
    set(vmcs::pending_debug, 0);
    vcpu().ask_attention();
    EXPECT_EQ(delivered(), 0x8000'0202u);
}

// ---- events whose delivery was interrupted

TEST_F(VcpuTest, SoftwareEventsKeepTheirInstructionLength) {
    vcpu().deliver_again({.vector = 0x80, .type = EventType::software_interrupt, .instruction_length = 2});
    EXPECT_EQ(delivered(), 0x8000'0480u);
    EXPECT_EQ(get(vmcs::entry_length), 2u);
    vcpu().deliver_again({.vector = 3, .type = EventType::software_exception, .instruction_length = 1});
    EXPECT_EQ(delivered(), 0x8000'0603u);
    EXPECT_EQ(get(vmcs::entry_length), 1u);
    EXPECT_EQ(delivered(), 0u);
}

// 26.6.1.1: an NMI cannot be injected while NMIs are blocked, which its first delivery has done.
TEST_F(VcpuTest, AnNmiThatWasInterruptedGoesAgain) {
    set(vmcs::interruptibility, 8);
    vcpu().deliver_again(Event::nmi());
    EXPECT_EQ(delivered(), 0x8000'0202u);
    EXPECT_EQ(get(vmcs::interruptibility), 0u);
}

TEST_F(VcpuTest, AnInterruptThatWasInterruptedIsNotAcknowledgedTwice) {
    set_rflags(IF);
    interrupt(0x41);
    vcpu().deliver_again(Event::interrupt(0x40));
    EXPECT_EQ(delivered(), 0x8000'0040u);
    EXPECT_EQ(windows(), interrupt_window) << "the other one waits";
    EXPECT_EQ(vcpu().lapic.highest_requested(), 0x41);
}

// ---- windows

TEST_F(VcpuTest, AnInterruptWaitsForIf) {
    set_rflags(0);
    interrupt(0x51);
    EXPECT_EQ(delivered(), 0u);
    EXPECT_EQ(windows(), interrupt_window);
    set_rflags(IF);
    EXPECT_EQ(exit(ExitReason::INTERRUPT_WINDOW), Next::resume);
    EXPECT_EQ(delivered(), 0x8000'0051u);
    EXPECT_EQ(windows(), 0u);
    EXPECT_EQ(vcpu().lapic.read(isa::apic::ISR + 0x20, 4), 1u << 17) << "it is in service";
}

TEST_F(VcpuTest, TheShadowsOfStiAndMovSsHoldAnInterruptBack) {
    set_rflags(IF);
    interrupt(0x51);
    for (const std::uint64_t shadow : {1, 2}) {
        set(vmcs::interruptibility, shadow);
        vcpu().ask_attention();
        EXPECT_EQ(delivered(), 0u) << shadow;
        EXPECT_EQ(windows(), interrupt_window) << shadow;
    }
    set(vmcs::interruptibility, 8);  // in an NMI handler that has set IF
    vcpu().ask_attention();
    EXPECT_EQ(delivered(), 0x8000'0051u);
}

TEST_F(VcpuTest, AnNmiWaitsForTheEndOfTheOneBefore) {
    set(vmcs::interruptibility, 8);
    vcpu().nmi();
    EXPECT_EQ(delivered(), 0u);
    EXPECT_EQ(windows(), nmi_window);
    set(vmcs::interruptibility, 0);
    EXPECT_EQ(exit(ExitReason::NMI_WINDOW), Next::resume);
    EXPECT_EQ(delivered(), 0x8000'0202u);
    EXPECT_EQ(windows(), 0u);
    EXPECT_EQ(delivered(), 0u) << "once";
}

TEST_F(VcpuTest, AnNmiComesBeforeAnInterruptAndAfterAnException) {
    set_rflags(IF);
    interrupt(0x51);
    vcpu().nmi();
    ASSERT_TRUE(vcpu().raise(isa::invalid_opcode));
    EXPECT_EQ(delivered(), ud);
    EXPECT_EQ(windows(), interrupt_window | nmi_window);
    vcpu().ask_attention();
    EXPECT_EQ(delivered(), 0x8000'0202u);
    EXPECT_EQ(windows(), interrupt_window);
    vcpu().ask_attention();
    EXPECT_EQ(delivered(), 0x8000'0051u);
    EXPECT_EQ(windows(), 0u);
}

TEST_F(VcpuTest, AWindowIsClosedWhenWhatWaitedHasGone) {
    set_rflags(0);
    interrupt(0x51);
    EXPECT_EQ(delivered(), 0u);
    vcpu().lapic.set_tpr(0xf0);
    vcpu().ask_attention();
    EXPECT_EQ(delivered(), 0u);
    EXPECT_EQ(windows(), 0u);
}

// ---- the end of an instruction

TEST_F(VcpuTest, AnInstructionEndsTheShadows) {
    for (const std::uint64_t shadow : {1, 2}) {
        set(vmcs::interruptibility, shadow | 8);
        vcpu().skip_instruction(2);
        EXPECT_EQ(get(vmcs::interruptibility), 8u) << shadow;
    }
}

TEST_F(VcpuTest, AnInterruptGoesInRightAfterTheInstructionInTheShadow) {
    set_rflags(IF);
    set(vmcs::interruptibility, 1);
    interrupt(0x51);
    EXPECT_EQ(delivered(), 0u);
    vcpu().skip_instruction(2);
    EXPECT_EQ(delivered(), 0x8000'0051u);
}

TEST_F(VcpuTest, RipWrapsAt4GiBOutside64BitCode) {
    constexpr std::uint64_t L = 1u << 13, LMA = 1u << 10;
    set(vmcs::cs_rights, 0xc09b);
    set(vmcs::guest_efer, 0);
    set(vmcs::guest_rip, 0xffff'ffff);
    vcpu().skip_instruction(2);
    EXPECT_EQ(get(vmcs::guest_rip), 1u);
    set(vmcs::guest_rip, 0xffff'fffc);
    vcpu().skip_instruction(3);
    EXPECT_EQ(get(vmcs::guest_rip), 0xffff'ffffu);
    // Compatibility mode.
    set(vmcs::guest_efer, LMA);
    set(vmcs::guest_rip, 0xffff'fffe);
    vcpu().skip_instruction(2);
    EXPECT_EQ(get(vmcs::guest_rip), 0u);
    // L means nothing outside IA-32e mode (3.4.5), where VM entry refuses a RIP of more than 32 bits (26.3.1.4).
    set(vmcs::cs_rights, 0xc09b | L);
    set(vmcs::guest_efer, 0);
    set(vmcs::guest_rip, 0xffff'fffe);
    vcpu().skip_instruction(3);
    EXPECT_EQ(get(vmcs::guest_rip), 1u);
    set(vmcs::guest_efer, LMA);
    set(vmcs::guest_rip, 0xffff'ffff);
    vcpu().skip_instruction(2);
    EXPECT_EQ(get(vmcs::guest_rip), 0x1'0000'0001u);
    set(vmcs::guest_rip, 0xffff'8000'ffff'fffe);
    vcpu().skip_instruction(2);
    EXPECT_EQ(get(vmcs::guest_rip), 0xffff'8001'0000'0000u);
}

constexpr std::uint64_t BS = 1u << 14, BTF = 1u << 1;

TEST_F(VcpuTest, ASingleStepTrapFollowsTheInstruction) {
    vcpu().skip_instruction(2);
    EXPECT_EQ(get(vmcs::pending_debug), 0u);
    set_rflags(TF);
    vcpu().skip_instruction(2);
    EXPECT_EQ(get(vmcs::pending_debug), BS);
}

// 17.4.3: with BTF, TF traps branches, of which none is emulated.
TEST_F(VcpuTest, BtfLetsOtherInstructionsPass) {
    set_rflags(TF);
    set(vmcs::guest_debugctl, BTF);
    vcpu().skip_instruction(2);
    EXPECT_EQ(get(vmcs::pending_debug), 0u);
}

// A data breakpoint of the MOV SS before is reported after this instruction, together with its step (6.8.3).
TEST_F(VcpuTest, ABreakpointThatMovSsHeldBackStays) {
    constexpr std::uint64_t enabled_breakpoint = 1u << 12, B0 = 1;
    set_rflags(TF);
    set(vmcs::interruptibility, 2);
    set(vmcs::pending_debug, enabled_breakpoint | B0);
    vcpu().skip_instruction(2);
    EXPECT_EQ(get(vmcs::pending_debug), enabled_breakpoint | B0 | BS);
}

}  // namespace
}  // namespace bulkhead::monitor
