// SPDX-License-Identifier: Apache-2.0
// What the differential test cannot ask the processor: faults, other modes, the order of bus accesses.
#include "tests/unit/emulate_fixture.hpp"

namespace {

class EmulateExecute : public EmulateFixture {};

TEST_F(EmulateExecute, ReadModifyWriteReachesADeviceOnceEachWay) {
    start(64, {0x01, 0x03});  // ADD [RBX], EAX
    cpu.gprs[Gpr::RBX] = data_at;
    cpu.gprs[Gpr::RAX] = 5;
    bus.put<std::uint32_t>(data_at, 7);
    expect_done();
    EXPECT_EQ(accesses(), (std::vector<FakeBus::Entry>{{false, data_at, 4}, {true, data_at, 4}}));
    EXPECT_EQ(bus.get<std::uint32_t>(data_at), 12u);
}

TEST_F(EmulateExecute, CompareDoesNotWrite) {
    start(64, {0x39, 0x03});  // CMP [RBX], EAX
    cpu.gprs[Gpr::RBX] = data_at;
    expect_done();
    EXPECT_EQ(accesses().size(), 1u);
    EXPECT_TRUE(cpu.flags & isa::rflags::ZF);
}

TEST_F(EmulateExecute, PageCrossingIsTwoAccesses) {
    start(64, {0x48, 0x89, 0x03});  // MOV [RBX], RAX
    cpu.gprs[Gpr::RBX] = other_at - 3;
    cpu.gprs[Gpr::RAX] = 0x1122334455667788;
    translate.frames[other_at] = 0x40000;
    expect_done();
    EXPECT_EQ(accesses(), (std::vector<FakeBus::Entry>{{true, other_at - 3, 3}, {true, 0x40000, 5}}));
    EXPECT_EQ(bus.get<std::uint8_t>(0x40000), 0x55);
}

// For breakpoints, which are on linear addresses and meet an operand as a whole.
TEST_F(EmulateExecute, TellsOfItsOperandsInMemory) {
    start(64, {0x48, 0x89, 0x03});  // MOV [RBX], RAX
    cpu.gprs[Gpr::RBX] = other_at - 3;
    cpu.breakpoint = other_at + 4;
    translate.frames[other_at] = 0x40000;
    EXPECT_EQ(run().breakpoints, FakeCpu::met);
    start(64, {0x8b, 0x03});  // MOV EAX, [RBX]
    cpu.breakpoint_at_reads = true;
    EXPECT_EQ(run().breakpoints, 0u) << "its four bytes end before";
    start(64, {0x8b, 0x03});
    cpu.breakpoint = other_at;
    EXPECT_EQ(run().breakpoints, FakeCpu::met);
    cpu.breakpoint_at_reads = false;
    start(64, {0x8b, 0x03});
    EXPECT_EQ(run().breakpoints, 0u) << "of writes alone";
}

TEST_F(EmulateExecute, PageFaultOnTheSecondPageWritesNothing) {
    start(64, {0x48, 0x89, 0x03});
    cpu.gprs[Gpr::RBX] = other_at - 3;
    translate.absent[other_at] = true;
    expect_fault({Exception::PF, 2u, other_at});
    cpu.privilege = 3;
    expect_fault({Exception::PF, 6u, other_at});
}

TEST_F(EmulateExecute, ReadModifyWriteOfAReadOnlyPageFaultsAsAWriteBeforeTheRead) {
    start(64, {0x01, 0x03});
    cpu.gprs[Gpr::RBX] = data_at + 8;
    translate.read_only[data_at] = true;
    expect_fault({Exception::PF, 3u, data_at + 8});
}

TEST_F(EmulateExecute, FetchStopsAtTheInstructionsEnd) {
    start(64, {});
    cpu.ip = 0x1ffe;
    bus.code(0x1ffe, {0x89, 0x03});
    cpu.gprs[Gpr::RBX] = data_at;
    translate.absent[0x2000] = true;
    EXPECT_EQ(run().outcome, Outcome::done);
    EXPECT_EQ(cpu.ip, 0x2000u);
    cpu.ip = 0x1fff;
    bus.code(0x1fff, {0x89});
    expect_fault({Exception::PF, 0u, 0x2000});
}

TEST_F(EmulateExecute, CodeSegmentLimitEndsTheFetch) {
    start(32, {0x89, 0x03});
    cpu.gprs[Gpr::RBX] = data_at;
    cpu.at(Segment::CS).limit = code_at + 1;
    expect_done();
    cpu.ip = code_at;
    cpu.at(Segment::CS).limit = code_at;
    expect_fault(gp);
}

TEST_F(EmulateExecute, SegmentLimitsAndRights) {
    start(32, {0x89, 0x03});  // MOV [EBX], EAX
    cpu.gprs[Gpr::RBX] = data_at;
    auto& ds = cpu.at(Segment::DS);
    ds.limit = data_at + 3;
    expect_done();
    cpu.ip = code_at;
    ds.limit = data_at + 2;
    expect_fault(gp);
    ds.limit = 0xffffffff;
    ds.rights &= ~2u;  // read-only data
    expect_fault(gp);
    ds.rights = ar::unusable;
    expect_fault(gp);
}

TEST_F(EmulateExecute, ReadsOfCodeSegments) {
    start(32, {0x2e, 0x8b, 0x03});  // MOV EAX, CS:[EBX]
    cpu.gprs[Gpr::RBX] = data_at;
    expect_done();
    cpu.ip = code_at;
    cpu.at(Segment::CS).rights &= ~2u;  // execute-only
    expect_fault(gp);
}

TEST_F(EmulateExecute, ExpandDownSegments) {
    start(32, {0x89, 0x03});
    auto& ds = cpu.at(Segment::DS);
    ds.rights |= 4;
    ds.limit = data_at - 1;
    cpu.gprs[Gpr::RBX] = data_at;
    expect_done();
    cpu.ip = code_at;
    cpu.gprs[Gpr::RBX] = data_at - 1;
    expect_fault(gp);
    ds.rights &= ~ar::DB;
    cpu.gprs[Gpr::RBX] = 0xfffe;
    expect_fault(gp);
}

TEST_F(EmulateExecute, StackSegmentFaults) {
    start(32, {0x89, 0x45, 0x00});  // MOV [EBP], EAX
    cpu.gprs[Gpr::RBP] = data_at;
    cpu.at(Segment::SS).limit = 0x100;
    expect_fault(ss);
    cpu.at(Segment::SS).limit = 0xffffffff;
    cpu.at(Segment::SS).base = 0x100;
    cpu.gprs[Gpr::RAX] = 0x99;
    expect_done();
    EXPECT_EQ(bus.get<std::uint32_t>(data_at + 0x100), 0x99u);
}

TEST_F(EmulateExecute, RealModeHasNoErrorCodeAndWrapsAtSixteenBits) {
    start(16, {0x89, 0x07});  // MOV [BX], AX
    cpu.control0 = isa::cr0::ET;
    for (auto& s : cpu.segments) s.limit = 0xffff;
    cpu.at(Segment::DS).base = 0x20000;
    cpu.gprs[Gpr::RBX] = 0xabcd0010;
    cpu.gprs[Gpr::RAX] = 0x1234;
    expect_done();
    EXPECT_EQ(bus.get<std::uint16_t>(0x20010), 0x1234);
    cpu.ip = code_at;
    cpu.gprs[Gpr::RBX] = 0xffff;
    expect_fault({Exception::GP, std::nullopt, 0});
}

TEST_F(EmulateExecute, SixteenBitAddressing) {
    start(16, {0x66, 0x8b, 0x42, 0xfe});  // MOV EAX, [BP+SI-2]
    cpu.gprs[Gpr::RBP] = 0xf000;
    cpu.gprs[Gpr::RSI] = 0x6002;
    cpu.at(Segment::SS).base = 0x10000;
    bus.put<std::uint32_t>(0x15000, 0xcafef00d);
    expect_done();
    EXPECT_EQ(cpu.gprs[Gpr::RAX], 0xcafef00du);
}

TEST_F(EmulateExecute, CanonicalAddresses) {
    start(64, {0x8b, 0x03});
    cpu.gprs[Gpr::RBX] = 0x8000'0000'0000;
    expect_fault(gp);
    cpu.gprs[Gpr::RBX] = 0x7fff'ffff'fffe;  // ends beyond
    expect_fault(gp);
    cpu.control4 |= isa::cr4::LA57;
    expect_done();
    start(64, {0x8b, 0x45, 0x00});  // by RBP: the stack segment's
    cpu.control4 &= ~isa::cr4::LA57;
    cpu.gprs[Gpr::RBP] = 0x8000'0000'0000;
    expect_fault(ss);
}

TEST_F(EmulateExecute, FsBaseIn64BitModeAndNoOtherBase) {
    start(64, {0x64, 0x8b, 0x03});
    cpu.at(Segment::FS).base = 0x100;
    cpu.at(Segment::DS).base = 0x200;
    cpu.gprs[Gpr::RBX] = data_at;
    bus.put<std::uint32_t>(data_at + 0x100, 0x77);
    bus.put<std::uint32_t>(data_at, 0x55);
    expect_done();
    EXPECT_EQ(cpu.gprs[Gpr::RAX], 0x77u);
    start(64, {0x8b, 0x03});
    cpu.at(Segment::DS).base = 0x200;
    expect_done();
    EXPECT_EQ(cpu.gprs[Gpr::RAX], 0x55u);
}

TEST_F(EmulateExecute, LinearAddressesWrapAt4GiBOutside64BitMode) {
    start(32, {0x8b, 0x03});
    cpu.at(Segment::DS).base = 0xffffffff;
    cpu.gprs[Gpr::RBX] = data_at + 1;
    bus.put<std::uint32_t>(data_at, 0x1234);
    expect_done();
    EXPECT_EQ(cpu.gprs[Gpr::RAX], 0x1234u);
}

TEST_F(EmulateExecute, AlignmentCheck) {
    start(32, {0x8b, 0x03});
    cpu.gprs[Gpr::RBX] = data_at + 2;
    cpu.control0 |= isa::cr0::AM;
    cpu.flags |= isa::rflags::AC;
    expect_done();
    cpu.ip = code_at;
    cpu.privilege = 3;
    expect_fault({Exception::AC, 0u, 0});
    translate.absent[data_at] = true;
    expect_fault({Exception::PF, 4u, data_at + 2});  // has priority
}

// SDM volume 3, table 6-7: two bytes for 16:16, four for 16:32.
TEST_F(EmulateExecute, AFarPointerIsAlignedToItsOffset) {
    const auto at = [this](unsigned code, std::uint64_t address) {
        start(code, {0x0f, 0xb4, 0x1f});  // LFS BX, [BX] and LFS EBX, [EDI]
        cpu.control0 |= isa::cr0::AM;
        cpu.flags |= isa::rflags::AC;
        cpu.privilege = 3;
        cpu.gprs[Gpr::RBX] = cpu.gprs[Gpr::RDI] = address;
    };
    at(16, data_at + 2);
    expect_done();  // the selector is null
    at(16, data_at + 3);
    expect_fault({Exception::AC, 0u, 0});
    at(32, data_at + 4);
    expect_done();
    at(32, data_at + 2);
    expect_fault({Exception::AC, 0u, 0});
}

TEST_F(EmulateExecute, SseNeedsItsControlBitsAndAlignment) {
    start(64, {0x0f, 0x28, 0x0b});  // MOVAPS XMM1, [RBX]
    cpu.gprs[Gpr::RBX] = data_at;
    bus.put<std::uint64_t>(data_at + 8, 42);
    expect_done();
    EXPECT_EQ(cpu.xmms[1], (std::array<std::uint64_t, 2>{0, 42}));
    EXPECT_EQ(accesses(), (std::vector<FakeBus::Entry>{{false, data_at, 16}}));
    cpu.ip = code_at;
    cpu.gprs[Gpr::RBX] = data_at + 8;
    expect_fault(gp);
    cpu.control0 |= isa::cr0::TS;
    expect_fault({Exception::NM, std::nullopt, 0});
    cpu.control4 &= ~isa::cr4::OSFXSR;
    expect_fault(isa::invalid_opcode);
}

TEST_F(EmulateExecute, InvalidAndUnknownInstructions) {
    start(64, {0xf0, 0x89, 0x03});  // LOCK MOV
    expect_fault(isa::invalid_opcode);
    start(64, {0xc5, 0xfe, 0x6f, 0x03});  // VMOVDQU
    const FakeCpu before = cpu;
    EXPECT_EQ(run().outcome, Outcome::unsupported);
    EXPECT_EQ(cpu.ip, before.ip);
    start(64, {0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x89, 0x03});
    expect_fault(gp);
}

TEST_F(EmulateExecute, ABusThatRefusesIsUnsupported) {
    start(64, {0x8b, 0x03});
    cpu.gprs[Gpr::RBX] = data_at;
    bus.refused = data_at;
    EXPECT_EQ(run().outcome, Outcome::unsupported);
    EXPECT_EQ(cpu.ip, code_at);
}

TEST_F(EmulateExecute, TrapAndResumeFlags) {
    start(64, {0x89, 0x03});
    cpu.gprs[Gpr::RBX] = data_at;
    cpu.flags |= isa::rflags::RF;
    EXPECT_FALSE(run().single_step);
    EXPECT_FALSE(cpu.flags & isa::rflags::RF);
    cpu.ip = code_at;
    cpu.flags |= isa::rflags::TF;
    EXPECT_TRUE(run().single_step);
}

TEST_F(EmulateExecute, CompareExchangeWritesBackWhatItFound) {
    start(64, {0xf0, 0x0f, 0xb1, 0x0b});  // LOCK CMPXCHG [RBX], ECX
    cpu.gprs[Gpr::RBX] = data_at;
    cpu.gprs[Gpr::RAX] = 1;
    bus.put<std::uint32_t>(data_at, 2);
    expect_done();
    EXPECT_EQ(accesses(), (std::vector<FakeBus::Entry>{{false, data_at, 4}, {true, data_at, 4}}));
    EXPECT_EQ(cpu.gprs[Gpr::RAX], 2u);
    EXPECT_FALSE(cpu.flags & isa::rflags::ZF);
}

TEST_F(EmulateExecute, CodeSizeFollowsTheCodeSegment) {
    cpu.set_flat(64);
    EXPECT_EQ(code_size(cpu), CodeSize::bits64);
    cpu.efer_value = 0;  // CS.L means nothing outside IA-32e mode
    EXPECT_EQ(code_size(cpu), CodeSize::bits16);
    cpu.set_flat(32);
    cpu.efer_value = isa::efer::LMA;
    EXPECT_EQ(code_size(cpu), CodeSize::bits32);
}

}  // namespace
