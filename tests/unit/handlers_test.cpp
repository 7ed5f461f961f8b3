// SPDX-License-Identifier: Apache-2.0
// The exit handlers, each reached through the exit table as an exit reaches it.
#include "monitor_fixture.hpp"

namespace bulkhead::monitor {
namespace {

using isa::Gpr;
using isa::Msr;

class HandlerTest : public MonitorTest {
  protected:
    void SetUp() override {
        MonitorTest::SetUp();
        start(one());
        static_cast<void>(delivered());
        rip = get(vmcs::guest_rip);
    }

    std::uint64_t moved() { return get(vmcs::guest_rip) - rip; }
    // The instruction raises this exception: it is delivered, and RIP is still at the instruction.
    void expect_fault(std::uint64_t entry) {
        EXPECT_EQ(delivered(), entry);
        EXPECT_EQ(moved(), 0u);
        EXPECT_FALSE(one().is_ending());
    }
    void expect_done(std::uint64_t length = 2) {
        EXPECT_EQ(delivered(), 0u);
        EXPECT_EQ(moved(), length);
        rip = get(vmcs::guest_rip);
    }

    Next cpuid(std::uint32_t leaf, std::uint32_t subleaf = 0) {
        gpr(Gpr::RAX) = 0xffff'ffff'0000'0000 | leaf;
        gpr(Gpr::RCX) = 0xffff'ffff'0000'0000 | subleaf;
        return exit(ExitReason::CPUID);
    }
    Next rdmsr(std::uint32_t msr) {
        gpr(Gpr::RCX) = 0xffff'ffff'0000'0000 | msr;
        return exit(ExitReason::RDMSR);
    }
    Next wrmsr(std::uint32_t msr, std::uint64_t value) {
        gpr(Gpr::RCX) = 0xffff'ffff'0000'0000 | msr;
        gpr(Gpr::RAX) = 0xffff'ffff'0000'0000 | (value & 0xffff'ffff);
        gpr(Gpr::RDX) = 0xffff'ffff'0000'0000 | value >> 32;
        return exit(ExitReason::WRMSR);
    }
    std::uint64_t edx_eax() { return gpr(Gpr::RDX) << 32 | gpr(Gpr::RAX); }
    // MOV to or from a control register by way of RBX.
    Next mov_to_cr(unsigned number, std::uint64_t value) {
        gpr(Gpr::RBX) = value;
        return exit(ExitReason::CR_ACCESS, number | 3u << 8, 3);
    }
    Next mov_from_cr(unsigned number) { return exit(ExitReason::CR_ACCESS, number | 1u << 4 | 3u << 8, 3); }
    Next out(std::uint16_t port, std::uint32_t value, unsigned size = 1) {
        gpr(Gpr::RAX) = value;
        return exit(ExitReason::IO_INSTRUCTION, (size - 1) | std::uint64_t{port} << 16, 1);
    }
    Next in(std::uint16_t port, unsigned size = 1) {
        return exit(ExitReason::IO_INSTRUCTION, (size - 1) | 1u << 3 | std::uint64_t{port} << 16, 1);
    }
    Next exception(unsigned vector, unsigned type, std::uint64_t qualification = 0,
                   std::optional<std::uint32_t> error_code = {}, std::uint32_t more = 0) {
        set(vmcs::exit_interruption, 0x8000'0000 | vector | type << 8 | (error_code ? 1u << 11 : 0u) | more);
        set(vmcs::exit_error_code, error_code.value_or(0));
        return exit(ExitReason::EXCEPTION_OR_NMI, qualification, 1);
    }
    void code(std::initializer_list<unsigned> bytes) {
        std::vector<std::byte> image;
        for (const unsigned b : bytes) image.push_back(static_cast<std::byte>(b));
        ASSERT_TRUE(one().memory().write(GuestPhys{rip}, image));
    }

    static constexpr unsigned hardware = 3, nmi = 2, privileged_software = 5;
    std::uint64_t rip{};
};

// ---- CPUID

TEST_F(HandlerTest, CpuidAnswersFromTheTable) {
    EXPECT_EQ(cpuid(0), Next::resume);
    expect_done();
    EXPECT_EQ(gpr(Gpr::RBX), 0x756e6547u) << "upper halves are cleared";
    EXPECT_EQ(gpr(Gpr::RDX), 0x49656e69u);
    EXPECT_EQ(gpr(Gpr::RCX), 0x6c65746eu);
    cpuid(1);
    EXPECT_EQ(gpr(Gpr::RCX) >> 5 & 1, 0u) << "VMX is hidden";
    EXPECT_EQ(gpr(Gpr::RCX) >> 31, 1u) << "a hypervisor is there";
}

TEST_F(HandlerTest, CpuidFollowsTheStateOfTheProcessor) {
    constexpr std::uint32_t osxsave = 1u << 27, cr4_osxsave = 1u << 18;
    cpuid(1);
    EXPECT_EQ(gpr(Gpr::RCX) & osxsave, 0u);
    set(vmcs::guest_cr4, get(vmcs::guest_cr4) | cr4_osxsave);
    cpuid(1);
    EXPECT_EQ(gpr(Gpr::RCX) & osxsave, osxsave);
    cpuid(0xd);
    EXPECT_EQ(gpr(Gpr::RBX), 576u) << "x87 alone, as after a reset";
    gpr(Gpr::RCX) = 0, gpr(Gpr::RDX) = 0, gpr(Gpr::RAX) = 7;
    exit(ExitReason::XSETBV, 0, 3);
    cpuid(0xd);
    EXPECT_EQ(gpr(Gpr::RBX), 832u);
}

// ---- MSRs

TEST_F(HandlerTest, AnMsrThatIsNotListedFaults) {
    for (const std::uint32_t msr : {0x12345u, 0x480u, 0xc001'0010u, 0xffff'ffffu}) {
        rdmsr(msr);
        expect_fault(gp);
        wrmsr(msr, 0);
        expect_fault(gp);
    }
}

TEST_F(HandlerTest, WhatAnMsrDoesNotTakeFaults) {
    wrmsr(0xfe, 0);  // IA32_MTRRCAP is read-only
    expect_fault(gp);
    wrmsr(0xc000'0080, 1ull << 63);  // IA32_EFER: reserved
    expect_fault(gp);
    wrmsr(0x277, 2);  // IA32_PAT: no such memory type
    expect_fault(gp);
    wrmsr(0x1b, 1);  // IA32_APIC_BASE: reserved
    expect_fault(gp);
    rdmsr(0xfe);
    expect_done();
}

TEST_F(HandlerTest, AnMsrInTheVmcsIsReadAndWrittenThere) {
    rdmsr(0x277);
    expect_done();
    EXPECT_EQ(edx_eax(), 0x0007'0406'0007'0406u);
    EXPECT_EQ(gpr(Gpr::RAX) >> 32, 0u);
    wrmsr(0x277, 0x0006'0606'0606'0606);
    expect_done();
    EXPECT_EQ(get(0x2804), 0x0006'0606'0606'0606u);
}

// SDM volume 3, 17.17.3: what is written to the TSC is added to IA32_TSC_ADJUST as well.
TEST_F(HandlerTest, TheTscIsWrittenByItsOffset) {
    const std::uint64_t before = get(vmcs::tsc_offset);
    wrmsr(0x3b, 5'000);
    EXPECT_EQ(get(vmcs::tsc_offset), before + 5'000);
    rdmsr(0x10);
    const std::uint64_t now = edx_eax();
    wrmsr(0x10, now + 1'000'000);
    EXPECT_EQ(get(vmcs::tsc_offset), before + 1'005'000);
    rdmsr(0x3b);
    EXPECT_EQ(edx_eax(), 1'005'000u);
}

TEST_F(HandlerTest, LongModeIsSwitchedOnBeforePagingOnly) {
    constexpr std::uint64_t LME = 1u << 8, PG = 1ull << 31;
    vcpu().vpid.invalidated(loop->index());
    EXPECT_EQ(wrmsr(0xc000'0080, LME), Next::pick) << "translations are dropped on the way back";
    expect_done();
    EXPECT_EQ(get(vmcs::guest_efer), LME);
    set(vmcs::guest_cr0, get(vmcs::guest_cr0) | PG);
    wrmsr(0xc000'0080, 0);
    expect_fault(gp);
    EXPECT_EQ(get(vmcs::guest_efer), LME);
}

// ---- control registers

constexpr std::uint64_t PE = 1, NE = 1u << 5, NW = 1u << 29, CD = 1u << 30, PG = 1u << 31;
constexpr std::uint64_t PAE = 1u << 5, MCE = 1u << 6, VMXE = 1u << 13;

TEST_F(HandlerTest, AnIllegalCr0Faults) {
    const std::uint64_t before = get(vmcs::guest_cr0);
    for (const std::uint64_t value : {PG | CD, PE | NW}) {
        mov_to_cr(0, value);
        expect_fault(gp);
        EXPECT_EQ(get(vmcs::guest_cr0), before) << std::hex << value;
    }
}

// SDM volume 2, MOV to control registers: 64 bits in 64-bit mode, else 32.
TEST_F(HandlerTest, TheUpperHalfOfAnOperandCountsIn64BitCodeOnly) {
    mov_to_cr(0, PE | CD | 1ull << 32);
    expect_done(3);
    EXPECT_EQ(get(vmcs::cr0_shadow) >> 32, 0u);
    constexpr std::uint64_t LMA = 1u << 10, LME = 1u << 8;
    set(vmcs::guest_efer, LMA | LME);
    set(vmcs::cs_rights, get(vmcs::cs_rights) | 1u << 13);
    mov_to_cr(0, PE | 1ull << 32);
    expect_fault(gp);
    mov_to_cr(4, PAE | 1ull << 32);
    expect_fault(gp);
}

TEST_F(HandlerTest, CacheControlIsSeenAndNotReal) {
    EXPECT_EQ(mov_to_cr(0, PE | CD | NW), Next::resume);
    expect_done(3);
    EXPECT_EQ(get(vmcs::guest_cr0) & (CD | NW | NE), NE);
    EXPECT_EQ(get(vmcs::cr0_shadow) & (CD | NW | NE), CD | NW);
}

TEST_F(HandlerTest, VmxeIsNotOffered) {
    mov_to_cr(4, VMXE);
    expect_fault(gp);
}

TEST_F(HandlerTest, MceIsRealWhateverTheGuestSees) {
    mov_to_cr(4, MCE);
    expect_done(3);
    EXPECT_EQ(get(vmcs::cr4_shadow) & (MCE | VMXE), MCE);
    mov_to_cr(4, 0);
    expect_done(3);
    EXPECT_EQ(get(vmcs::cr4_shadow) & (MCE | VMXE), 0u);
    EXPECT_EQ(get(vmcs::guest_cr4) & (MCE | VMXE), MCE | VMXE);
}

TEST_F(HandlerTest, PaePagingLoadsItsPdptes) {
    const std::uint64_t pdptes[4] = {0x3001, 0x4001, 0, 0x5019};
    ASSERT_TRUE(one().memory().store(GuestPhys{0x2000}, pdptes));
    set(vmcs::guest_cr3, 0x2000);
    set(vmcs::guest_cr4, get(vmcs::guest_cr4) | PAE);
    EXPECT_EQ(mov_to_cr(0, PE | PG | CD), Next::pick);
    expect_done(3);
    EXPECT_EQ(get(0x280a), 0x3001u);
    EXPECT_EQ(get(0x2810), 0x5019u);
    EXPECT_EQ(get(vmcs::entry_controls) >> 9 & 1, 0u) << "not long mode";
}

TEST_F(HandlerTest, AReservedBitInAPdpteFaultsAndChangesNothing) {
    const std::uint64_t pdptes[4] = {0x3001, 0x4003, 0, 0};
    ASSERT_TRUE(one().memory().store(GuestPhys{0x2000}, pdptes));
    set(vmcs::guest_cr3, 0x2000);
    set(vmcs::guest_cr4, get(vmcs::guest_cr4) | PAE);
    const std::uint64_t before = get(vmcs::guest_cr0);
    mov_to_cr(0, PE | PG | CD);
    expect_fault(gp);
    EXPECT_EQ(get(vmcs::guest_cr0), before);
}

TEST_F(HandlerTest, Cr8IsTheTaskPriority) {
    mov_to_cr(8, 5);
    expect_done(3);
    EXPECT_EQ(vcpu().lapic.tpr(), 0x50);
    gpr(Gpr::RBX) = 0;
    mov_from_cr(8);
    expect_done(3);
    EXPECT_EQ(gpr(Gpr::RBX), 5u);
    mov_to_cr(8, 0x10);
    expect_fault(gp);
}

// ---- XSETBV

TEST_F(HandlerTest, XsetbvFaultsAsTheProcessorDoes) {
    const auto xsetbv = [&](std::uint32_t index, std::uint64_t value) {
        gpr(Gpr::RCX) = index;
        gpr(Gpr::RAX) = value & 0xffff'ffff;
        gpr(Gpr::RDX) = value >> 32;
        return exit(ExitReason::XSETBV, 0, 3);
    };
    // Without x87; AVX without SSE; a component that is not offered; the high half; another register.
    for (const std::uint64_t value : {0ull, 6ull, 5ull, 0xfull, 0x207ull, 1ull << 32 | 7}) {
        xsetbv(0, value);
        expect_fault(gp);
    }
    xsetbv(1, 7);
    expect_fault(gp);
    EXPECT_EQ(cpu_state().xcr0, 1u);
    xsetbv(0, 7);
    expect_done(3);
    EXPECT_EQ(cpu_state().xcr0, 7u);
}

// ---- HLT

TEST_F(HandlerTest, HltWaitsForAnInterrupt) {
    set_rflags(IF);
    EXPECT_EQ(exit(ExitReason::HLT, 0, 1), Next::pick);
    EXPECT_EQ(vcpu().wait, Vcpu::Wait::interrupt);
    EXPECT_EQ(moved(), 1u) << "it goes on after the HLT";
    EXPECT_FALSE(vcpu().has_wake_event());
    interrupt(0x41);
    EXPECT_TRUE(vcpu().has_wake_event());
}

TEST_F(HandlerTest, HltWithAnInterruptDueGoesOn) {
    set_rflags(IF);
    set(vmcs::interruptibility, 1);  // STI; HLT
    interrupt(0x41);
    EXPECT_EQ(delivered(), 0u);
    EXPECT_EQ(exit(ExitReason::HLT, 0, 1), Next::resume);
    EXPECT_EQ(vcpu().wait, Vcpu::Wait::none);
    EXPECT_EQ(delivered(), 0x8000'0041u);
}

TEST_F(HandlerTest, HltWithInterruptsMaskedWaitsForAnNmi) {
    set_rflags(0);
    EXPECT_EQ(exit(ExitReason::HLT, 0, 1), Next::pick);
    EXPECT_EQ(vcpu().wait, Vcpu::Wait::nmi);
    interrupt(0x41);
    EXPECT_FALSE(vcpu().has_wake_event());
    vcpu().nmi();
    EXPECT_TRUE(vcpu().has_wake_event());
}

TEST_F(HandlerTest, ABlockedNmiDoesNotEndHlt) {
    set_rflags(0);
    set(vmcs::interruptibility, 8);
    vcpu().nmi();
    EXPECT_EQ(exit(ExitReason::HLT, 0, 1), Next::pick);
    EXPECT_FALSE(vcpu().has_wake_event());
}

// ---- ports

TEST_F(HandlerTest, InWritesAsMuchAsItReads) {
    gpr(Gpr::RAX) = 0x1122'3344'5566'7788;
    EXPECT_EQ(in(0x1234), Next::resume);
    expect_done(1);
    EXPECT_EQ(gpr(Gpr::RAX), 0x1122'3344'5566'77ffu);
    in(0x1234, 2);
    EXPECT_EQ(gpr(Gpr::RAX), 0x1122'3344'5566'ffffu);
    in(0x1234, 4);
    EXPECT_EQ(gpr(Gpr::RAX), 0xffff'ffffu);
}

TEST_F(HandlerTest, OutReachesTheDevice) {
    EXPECT_EQ(out(0x3f8 + 7, 0x5a), Next::resume);  // the UART's scratch register
    gpr(Gpr::RAX) = 0;
    in(0x3f8 + 7);
    EXPECT_EQ(gpr(Gpr::RAX), 0x5au);
}

TEST_F(HandlerTest, AResetTakesEffectAtOnce) {
    EXPECT_EQ(out(0x92, 1), Next::pick);
    EXPECT_TRUE(one().is_ending());
}

TEST_F(HandlerTest, StringIoIsEmulated) {
    code({0xf3, 0x6e});  // REP OUTSB
    const char text[] = "hi";
    ASSERT_TRUE(one().memory().write(GuestPhys{0x8000}, std::as_bytes(std::span{text, 2})));
    gpr(Gpr::RSI) = 0x8000;
    gpr(Gpr::RCX) = 2;
    gpr(Gpr::RDX) = 0x3ff;
    for (int i = 0; i < 4 && moved() == 0; ++i)
        EXPECT_EQ(exit(ExitReason::IO_INSTRUCTION, 1u << 4 | 1u << 5 | 0x3ffull << 16), Next::resume);
    EXPECT_EQ(gpr(Gpr::RCX), 0u);
    EXPECT_EQ(gpr(Gpr::RSI), 0x8002u);
    EXPECT_EQ(moved(), 2u);
    in(0x3ff);
    EXPECT_EQ(gpr(Gpr::RAX) & 0xff, unsigned{'i'});
}

// ---- memory that is none

TEST_F(HandlerTest, ADeviceIsReadByEmulation) {
    code({0xa1, 0x30, 0x00, 0xe0, 0xfe});  // MOV EAX, [FEE00030h]: the local APIC's version
    set(vmcs::guest_physical, 0xfee0'0030);
    EXPECT_EQ(exit(ExitReason::EPT_VIOLATION, 1), Next::resume);
    expect_done(5);
    EXPECT_EQ(gpr(Gpr::RAX), vcpu().lapic.read(isa::apic::VERSION, 4));
}

TEST_F(HandlerTest, ThePageThatTheProcessorTranslatedIsNotWalkedFor) {
    constexpr std::uint64_t read = 1, linear_address_valid = 1 << 7, final_access = 1 << 8;
    set(vmcs::guest_linear, 0x5000'0030);
    set(vmcs::guest_physical, 0xfee0'0030);
    const auto read_there = [&](std::uint64_t qualification) {
        set(vmcs::guest_rip, rip);
        code({0xa1, 0x30, 0x00, 0x00, 0x50});  // MOV EAX, [50000030h]
        EXPECT_EQ(exit(ExitReason::EPT_VIOLATION, qualification), Next::resume);
        return gpr(Gpr::RAX);
    };
    EXPECT_EQ(read_there(read | linear_address_valid | final_access), vcpu().lapic.read(isa::apic::VERSION, 4));
    EXPECT_EQ(read_there(read | linear_address_valid), 0xffff'ffffu) << "it was a page table that was reached";
    EXPECT_EQ(read_there(2 | linear_address_valid | final_access), 0xffff'ffffu) << "a write was, and not this read";
}

TEST_F(HandlerTest, AnEventThroughNoMemoryStopsTheGuest) {
    set(vmcs::guest_physical, 0x8000'0000);
    set(vmcs::vectoring, 0x8000'0030);
    EXPECT_EQ(exit(ExitReason::EPT_VIOLATION, 1), Next::pick);
    EXPECT_TRUE(one().is_ending());
    EXPECT_TRUE(log.has("an event was to be delivered through"));
}

TEST_F(HandlerTest, AnIretThatFaultsOnADeviceKeepsNmisBlocked) {
    code({0xa1, 0x30, 0x00, 0xe0, 0xfe});
    set(vmcs::guest_physical, 0xfee0'0030);
    exit(ExitReason::EPT_VIOLATION, 1 | 1u << 12);
    EXPECT_EQ(get(vmcs::interruptibility) & 8, 8u);
}

// ---- exceptions

TEST_F(HandlerTest, AnAlignmentCheckIsGivenBack) {
    EXPECT_EQ(exception(17, hardware, 0, 0), Next::resume);
    EXPECT_EQ(delivered(), 0x8000'0b11u);
    EXPECT_EQ(get(vmcs::entry_error_code), 0u);
}

TEST_F(HandlerTest, ADebugExceptionIsGivenBackWithDr6) {
    exception(1, hardware, 1u << 14);
    EXPECT_EQ(delivered(), 0x8000'0301u);
    EXPECT_EQ(cpu_state().dr[6] >> 14 & 1, 1u);
}

TEST_F(HandlerTest, AnExceptionInADeliveryCombinesWithIt) {
    set(vmcs::vectoring, 0x8000'0b0e);  // a page fault was being delivered
    exception(17, hardware, 0, 0);
    EXPECT_EQ(delivered(), 0x8000'0b11u) << "#AC is benign";
    set(vmcs::vectoring, 0);
}

TEST_F(HandlerTest, Int1IsDeliveredAgainWithItsLength) {
    exception(1, privileged_software);
    EXPECT_EQ(delivered(), 0x8000'0501u);
    EXPECT_EQ(get(vmcs::entry_length), 1u);
}

TEST_F(HandlerTest, AnIretThatFaultsKeepsNmisBlocked) {
    exception(17, hardware, 0, 0, 1u << 12);
    EXPECT_EQ(get(vmcs::interruptibility) & 8, 8u);
}

TEST_F(HandlerTest, AnNmiOfTheHostIsTheHosts) {
    EXPECT_EQ(exception(2, nmi), Next::pick);
    EXPECT_EQ(cpu_state().nmis_dispatched, 1u);
    EXPECT_EQ(cpu_state().nmis_unblocked, 1u);
    EXPECT_EQ(delivered(), 0u);
}

TEST_F(HandlerTest, AMachineCheckStopsTheMachine) {
    set_panic_handler([](std::string_view reason) { throw std::runtime_error(std::string{reason}); });
    EXPECT_THROW(exception(18, hardware), std::runtime_error);
    set_panic_handler(nullptr);
}

TEST_F(HandlerTest, AnInterruptOfTheHostIsEnded) {
    set(vmcs::exit_interruption, 0x8000'0000 | vector::kick);
    EXPECT_EQ(exit(ExitReason::EXTERNAL_INTERRUPT), Next::resume) << "the doorbell says whether others are concerned";
    EXPECT_EQ(cpu_state().eois, 1u);
    EXPECT_EQ(delivered(), 0u);
}

// ---- the rows of the table

TEST_F(HandlerTest, InstructionsThatCpuidHidesAreUndefined) {
    for (const unsigned reason : {11, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 36, 39, 50, 53, 59, 60, 63, 64, 65, 67,
                                  68, 69, 70, 76, 77, 78, 79}) {
        EXPECT_EQ(exit(static_cast<ExitReason>(reason)), Next::resume);
        expect_fault(ud);
    }
    exit(ExitReason::RDPMC);
    expect_fault(gp);
}

TEST_F(HandlerTest, CacheInstructionsArePassed) {
    for (const ExitReason reason : {ExitReason::INVD, ExitReason::WBINVD}) {
        EXPECT_EQ(exit(reason), Next::resume);
        expect_done();
    }
}

TEST_F(HandlerTest, APauseLoopLetsOthersRun) {
    EXPECT_EQ(exit(ExitReason::PAUSE), Next::pick);
    expect_done();
}

TEST_F(HandlerTest, AnInitOfTheHostIsNotTheGuests) {
    EXPECT_EQ(exit(ExitReason::INIT_SIGNAL), Next::resume);
    EXPECT_EQ(moved(), 0u);
    EXPECT_EQ(delivered(), 0u);
}

class UnexpectedExit : public HandlerTest, public testing::WithParamInterface<unsigned> {};

// Reasons for which no control of ours asks, and those that nobody defines (SDM appendix C).
INSTANTIATE_TEST_SUITE_P(Reasons, UnexpectedExit,
                         testing::Values(4, 5, 6, 14, 16, 29, 35, 37, 38, 42, 43, 44, 46, 47, 49, 51, 56, 57, 58,
                                         61, 62, 66, 71, 72, 73, 74, 75));

TEST_P(UnexpectedExit, StopsThatGuestAlone) {
    start(two());
    loop->load(vcpu());
    EXPECT_EQ(exit(static_cast<ExitReason>(GetParam()), 0xabc), Next::pick);
    ASSERT_TRUE(one().is_ending());
    end(one());
    EXPECT_EQ(one().state(), Vm::State::off);
    EXPECT_TRUE(log.has("exit for a reason that is not handled")) << log.text_;
    EXPECT_TRUE(log.has("qualification abc"));
    EXPECT_NE(one().report().find("rip 0000000000100000"), std::string_view::npos) << one().report();
    EXPECT_EQ(two().state(), Vm::State::running);
    EXPECT_FALSE(two().is_ending());
}

TEST_F(HandlerTest, AnEntryThatFailsStopsTheGuest) {
    set(vmcs::guest_rflags, 0);
    EXPECT_EQ(exit(ExitReason::ENTRY_FAILURE_GUEST_STATE), Next::pick);
    EXPECT_TRUE(one().is_ending());
    EXPECT_TRUE(log.has("RFLAGS")) << log.text_;
}

TEST_F(HandlerTest, ATripleFaultEndsTheGuestWithAReport) {
    EXPECT_EQ(exit(ExitReason::TRIPLE_FAULT), Next::pick);
    ASSERT_TRUE(one().is_ending());
    EXPECT_NE(one().report().find("triple fault"), std::string_view::npos);
}

TEST_F(HandlerTest, AFaultInADoubleFaultIsATripleFault) {
    vcpu().deliver_again(vmx::Event::exception({isa::Exception::DF, 0u, 0}));
    EXPECT_EQ(exit(ExitReason::RDPMC), Next::pick);
    EXPECT_TRUE(one().is_ending());
    EXPECT_NE(one().report().find("triple fault"), std::string_view::npos);
}

}  // namespace
}  // namespace bulkhead::monitor
