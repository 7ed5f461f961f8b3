// SPDX-License-Identifier: Apache-2.0
// String instructions, ports, the stack and branches through memory.
#include "tests/unit/emulate_fixture.hpp"

namespace {

class EmulateString : public EmulateFixture {};
class EmulateStack : public EmulateFixture {};

TEST_F(EmulateString, RepeatedStringsRunInChunks) {
    start(64, {0xf3, 0xaa});  // REP STOSB
    cpu.gprs[Gpr::RDI] = data_at;
    cpu.gprs[Gpr::RAX] = 0x5a;
    cpu.gprs[Gpr::RCX] = repeat_chunk + 10;
    cpu.flags |= isa::rflags::RF;
    EXPECT_EQ(run().outcome, Outcome::restart);
    EXPECT_EQ(cpu.ip, code_at);
    EXPECT_EQ(cpu.gprs[Gpr::RCX], 10u);
    EXPECT_EQ(cpu.gprs[Gpr::RDI], data_at + repeat_chunk);
    EXPECT_TRUE(cpu.flags & isa::rflags::RF);
    expect_done();
    EXPECT_EQ(cpu.gprs[Gpr::RCX], 0u);
    EXPECT_EQ(bus.get<std::uint8_t>(data_at + repeat_chunk + 9), 0x5a);
    EXPECT_FALSE(cpu.flags & isa::rflags::RF);
}

TEST_F(EmulateString, SingleStepTrapsAfterEachIteration) {
    start(64, {0xf3, 0xaa});
    cpu.gprs[Gpr::RDI] = data_at;
    cpu.gprs[Gpr::RCX] = 2;
    cpu.flags |= isa::rflags::TF;
    const Result first = run();
    EXPECT_EQ(first.outcome, Outcome::restart);
    EXPECT_TRUE(first.single_step);
    EXPECT_EQ(cpu.gprs[Gpr::RCX], 1u);
    const Result second = run();
    EXPECT_EQ(second.outcome, Outcome::done);
    EXPECT_TRUE(second.single_step);
}

// SDM volume 3, 17.3.1.2: the trap comes after the iteration that meets the breakpoint.
TEST_F(EmulateString, ABreakpointTrapsAfterItsIteration) {
    start(64, {0xf3, 0xaa});
    cpu.gprs[Gpr::RDI] = data_at;
    cpu.gprs[Gpr::RCX] = 3;
    cpu.breakpoint = data_at + 1;
    EXPECT_EQ(run().breakpoints, 0u);
    const Result second = run();
    EXPECT_EQ(second.outcome, Outcome::restart);
    EXPECT_EQ(second.breakpoints, FakeCpu::met);
    EXPECT_EQ(cpu.gprs[Gpr::RCX], 1u);
    const Result third = run();
    EXPECT_EQ(third.outcome, Outcome::done);
    EXPECT_EQ(third.breakpoints, 0u);
}

// A data breakpoint is a trap: an instruction that faults has not got there.
TEST_F(EmulateString, AnIterationThatFaultsMeetsNoBreakpoint) {
    start(64, {0xa4});  // MOVSB
    cpu.gprs[Gpr::RSI] = data_at;
    cpu.gprs[Gpr::RDI] = other_at;
    cpu.breakpoint = data_at;
    cpu.breakpoint_at_reads = true;
    translate.absent[other_at] = true;
    const Result result = run();
    EXPECT_EQ(result.outcome, Outcome::fault);
    EXPECT_EQ(result.breakpoints, 0u);
    translate.absent.clear();
    EXPECT_EQ(run().breakpoints, FakeCpu::met);
}

TEST_F(EmulateString, AFaultInTheMiddleKeepsWhatIsDone) {
    start(64, {0xf3, 0xa5});  // REP MOVSD
    cpu.gprs[Gpr::RSI] = data_at + 0x100;
    cpu.gprs[Gpr::RDI] = other_at - 8;
    cpu.gprs[Gpr::RCX] = 5;
    translate.read_only[other_at] = true;
    const Result result = run();
    EXPECT_EQ(result.outcome, Outcome::fault);
    EXPECT_EQ(result.fault, (isa::Fault{Exception::PF, 3u, other_at}));
    EXPECT_EQ(cpu.gprs[Gpr::RCX], 3u);
    EXPECT_EQ(cpu.gprs[Gpr::RSI], data_at + 0x108);
    EXPECT_EQ(cpu.gprs[Gpr::RDI], other_at);
    EXPECT_EQ(cpu.ip, code_at);
}

TEST_F(EmulateString, CompareKeepsTheFlagsAtAFault) {
    start(64, {0xf3, 0xa6});  // REPE CMPSB
    cpu.gprs[Gpr::RSI] = data_at;
    cpu.gprs[Gpr::RDI] = other_at - 1;
    cpu.gprs[Gpr::RCX] = 5;
    cpu.flags |= isa::rflags::CF;
    translate.absent[other_at] = true;
    EXPECT_EQ(run().outcome, Outcome::fault);
    EXPECT_EQ(cpu.gprs[Gpr::RCX], 4u);
    EXPECT_EQ(cpu.flags, isa::rflags::FIXED | isa::rflags::CF);
}

TEST_F(EmulateString, SixteenBitStringsKeepTheUpperHalves) {
    start(16, {0xf3, 0xab});  // REP STOSW
    for (auto& s : cpu.segments) s.limit = 0xffff;
    cpu.gprs[Gpr::RDI] = 0xaaaa5000;
    cpu.gprs[Gpr::RCX] = 0xbbbb0002;
    expect_done();
    EXPECT_EQ(cpu.gprs[Gpr::RDI], 0xaaaa5004u);
    EXPECT_EQ(cpu.gprs[Gpr::RCX], 0xbbbb0000u);
}

TEST_F(EmulateString, StringPorts) {
    start(32, {0xf3, 0x66, 0x6f});  // REP OUTSW
    cpu.gprs[Gpr::RSI] = data_at;
    cpu.gprs[Gpr::RDX] = 0xffff03f8;
    cpu.gprs[Gpr::RCX] = 2;
    bus.put<std::uint32_t>(data_at, 0x22221111);
    expect_done();
    ASSERT_EQ(ports.log.size(), 2u);
    EXPECT_EQ(ports.log[0], std::make_tuple('o', std::uint16_t{0x3f8}, 2u, 0x1111u));
    EXPECT_EQ(ports.log[1], std::make_tuple('o', std::uint16_t{0x3f8}, 2u, 0x2222u));
    start(64, {0x48, 0x6d});  // INSD: REX.W does nothing
    ports.log.clear();
    cpu.gprs[Gpr::RDI] = data_at;
    expect_done();
    EXPECT_EQ(ports.log.at(0), std::make_tuple('i', std::uint16_t{0x3f8}, 4u, 0x11223344u));
    EXPECT_EQ(bus.get<std::uint32_t>(data_at), 0x11223344u);
}

// Many iterations at once differ in nothing from one after the other: in a page and over its end, to a limit, over the
// end of 16-bit offsets, backwards, and where a page is absent.
TEST_F(EmulateString, RunsOfPortAccesses) {
    struct Case {
        unsigned mode;
        std::initializer_list<unsigned> code;
        std::uint64_t pointer, count;
        unsigned runs;  // how many there are at least, in the first chunk
    };
    const Case cases[] = {
        {32, {0xf3, 0x66, 0x6d}, data_at, 256, 1},          // REP INSW: a sector
        {32, {0xf3, 0x6d}, data_at + 6, 600, 4},            // REP INSD
        {64, {0xf3, 0x6c}, data_at + 0xff0, 700, 2},        // REP INSB
        {32, {0xf3, 0x66, 0x6f}, data_at + 0x801, 2000, 2}, // REP OUTSW, with an operand over the end of the page
        {16, {0xf3, 0x6d}, 0xaaaafff0, 20, 1},              // over the end of the segment
        {16, {0xf3, 0x6e}, 0xffc0, 100, 1},                 // REP OUTSB
        {32, {0xf3, 0x6d}, 0x7f00, 100, 1},                 // into an absent page
        {32, {0xf3, 0x66, 0x6f}, 0x7f00, 300, 1},
        {32, {0xf3, 0x66, 0x6d}, data_at, 1, 0},
        {32, {0xf3, 0x66, 0x6d}, data_at, 0, 0},
        {32, {0x66, 0x6d}, data_at, 5, 0},                  // not repeated
    };
    translate.absent[0x8000] = true;
    translate.frames[data_at + page_size] = 0x20000;
    for (const Case& c : cases) {
        for (const std::uint64_t flags : {std::uint64_t{isa::rflags::FIXED}, isa::rflags::FIXED | isa::rflags::DF}) {
            const auto execute = [&](bool runs) {
                bus = {};
                bus.runs = runs;
                ports = {};
                cpu = {};
                start(c.mode, c.code);
                for (unsigned i = 0; i < 0x10000; i += 2) bus.put<std::uint16_t>(0x10000 + i, static_cast<std::uint16_t>(i));
                if (c.mode == 16)
                    for (auto& s : cpu.segments) s.limit = 0xffff;
                cpu.flags = flags;
                cpu.gprs[Gpr::RDX] = 0x1f0;
                cpu.gprs[Gpr::RCX] = c.count;
                cpu.gprs[Gpr::RDI] = cpu.gprs[Gpr::RSI] = c.pointer;
                return run();
            };
            const Result one_by_one = execute(false);
            const FakeCpu cpu_before = cpu;
            const auto pages = bus.pages;
            const auto log = ports.log;
            EXPECT_EQ(ports.runs, 0u);
            const Result in_runs = execute(true);
            EXPECT_EQ(in_runs.outcome, one_by_one.outcome);
            EXPECT_EQ(in_runs.fault.address, one_by_one.fault.address);
            EXPECT_EQ(cpu.gprs.gpr, cpu_before.gprs.gpr) << c.pointer;
            EXPECT_EQ(cpu.ip, cpu_before.ip);
            EXPECT_EQ(ports.log, log);
            EXPECT_EQ(bus.pages, pages);
            if (flags & isa::rflags::DF) EXPECT_EQ(ports.runs, 0u);
            else EXPECT_GE(ports.runs, c.runs) << c.pointer;
        }
    }
}

// Each iteration is followed by its trap.
TEST_F(EmulateString, NoRunWhileTracing) {
    start(32, {0xf3, 0x66, 0x6d});
    bus.runs = true;
    cpu.gprs[Gpr::RDI] = data_at;
    cpu.gprs[Gpr::RCX] = 9;
    cpu.flags |= isa::rflags::TF;
    EXPECT_TRUE(run().single_step);
    EXPECT_EQ(cpu.gprs[Gpr::RCX], 8u);
    cpu.flags &= ~std::uint64_t{isa::rflags::TF};
    cpu.breakpoint = data_at + 4;
    EXPECT_EQ(run().breakpoints, 0u);
    EXPECT_EQ(run().breakpoints, FakeCpu::met);
    EXPECT_EQ(ports.log.size(), 3u);
}

TEST_F(EmulateString, InputFaultsBeforeThePortIsRead) {
    start(32, {0x6d});
    cpu.gprs[Gpr::RDI] = data_at;
    translate.absent[data_at] = true;
    expect_fault({Exception::PF, 2u, data_at});
    EXPECT_TRUE(ports.log.empty());
    EXPECT_EQ(emulate(cpu, bus, translate, nullptr).outcome, Outcome::unsupported);
}

// --- the stack and branches ---

TEST_F(EmulateStack, PopToMemoryByTheStackPointerSeesItIncremented) {
    start(32, {0x8f, 0x44, 0x24, 0x04});  // POP DWORD [ESP+4]
    bus.put<std::uint32_t>(stack_at, 0xfeed);
    expect_done();
    EXPECT_EQ(bus.get<std::uint32_t>(stack_at + 8), 0xfeedu);
    EXPECT_EQ(cpu.gprs[Gpr::RSP], stack_at + 4);
}

TEST_F(EmulateStack, SixteenBitStackPointer) {
    start(32, {0xff, 0x33});  // PUSH DWORD [EBX]
    cpu.at(Segment::SS).rights &= ~ar::DB;
    cpu.gprs[Gpr::RBX] = data_at;
    cpu.gprs[Gpr::RSP] = 0x12340002;
    bus.put<std::uint32_t>(data_at, 0xbeef);
    expect_done();
    EXPECT_EQ(cpu.gprs[Gpr::RSP], 0x1234fffeu);
    EXPECT_EQ(bus.get<std::uint32_t>(0xfffe), 0xbeefu);
}

TEST_F(EmulateStack, PushThatFaultsReadsNothing) {
    start(64, {0xff, 0x33});
    cpu.gprs[Gpr::RBX] = data_at;
    translate.absent[stack_at - page_size] = true;
    expect_fault({Exception::PF, 2u, stack_at - 8});
}

TEST_F(EmulateStack, CallAndJumpThroughMemory) {
    start(64, {0xff, 0x13});  // CALL [RBX]
    cpu.gprs[Gpr::RBX] = data_at;
    bus.put<std::uint64_t>(data_at, 0x123456);
    EXPECT_EQ(run().outcome, Outcome::done);
    EXPECT_EQ(cpu.ip, 0x123456u);
    EXPECT_EQ(cpu.gprs[Gpr::RSP], stack_at - 8);
    EXPECT_EQ(bus.get<std::uint64_t>(stack_at - 8), code_at + 2);

    start(32, {0x66, 0xff, 0x23});  // JMP WORD [EBX]
    EXPECT_EQ(run().outcome, Outcome::done);
    EXPECT_EQ(cpu.ip, 0x3456u);
}

TEST_F(EmulateStack, BranchTargetsAreChecked) {
    start(64, {0xff, 0x23});
    cpu.gprs[Gpr::RBX] = data_at;
    bus.put<std::uint64_t>(data_at, 0x8000'0000'0000);
    EXPECT_EQ(run().fault.vector, Exception::GP);
    start(32, {0xff, 0x23});
    bus.put<std::uint32_t>(data_at, 0x200000);
    cpu.at(Segment::CS).limit = 0x1fffff;
    EXPECT_EQ(run().fault.vector, Exception::GP);
    EXPECT_EQ(cpu.ip, code_at);
}

}  // namespace
