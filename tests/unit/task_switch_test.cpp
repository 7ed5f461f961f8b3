// SPDX-License-Identifier: Apache-2.0
// Hardware task switches against SDM volume 3, chapter 7 (table 7-1: their checks; table 7-2: busy, NT and the link).
#include "guest/task_switch.hpp"

#include <gtest/gtest.h>

#include "guest/emulate/descriptor.hpp"
#include "guest/task_state.hpp"
#include "tests/unit/emulate_fakes.hpp"

namespace {

using namespace bulkhead;
using namespace bulkhead::guest;
using isa::Exception;
using isa::Gpr;
using isa::Segment;
namespace ar = isa::access_rights;
namespace emulator = guest::emulator;

constexpr std::uint64_t gdt_at = 0x1000, old_tss = 0x2000, new_tss = 0x3000, ldt_at = 0x4000, stack_top = 0x9000;
constexpr std::uint16_t code = 0x08, data = 0x10, code3 = 0x1b, data3 = 0x23, old_selector = 0x28, new_selector = 0x30,
                        ldt_selector = 0x38, spare = 0x40;
constexpr std::uint64_t flat_code = 0x00cf9a000000ffff, flat_data = 0x00cf92000000ffff, present = 1ull << 47;

constexpr std::uint64_t system_descriptor(std::uint64_t base, std::uint64_t limit, unsigned type) {
    return (limit & 0xffff) | (base & 0xffffff) << 16 | std::uint64_t{type} << 40 | present;
}

struct FakeControl final : TaskControl {
    std::optional<std::uint64_t> cr3;
    bool valid{true};
    unsigned cleared{};
    bool load_cr3(std::uint64_t value) override {
        cr3 = value;
        return valid;
    }
    void clear_local_breakpoints() override { ++cleared; }
};

class TaskSwitchTest : public testing::Test {
  protected:
    TaskSwitchTest() {
        cpu.set_flat(32);
        cpu.gdt = {gdt_at, 0x7f};
        descriptor(code, flat_code);
        descriptor(data, flat_data);
        descriptor(code3, flat_code | 3ull << 45);
        descriptor(data3, flat_data | 3ull << 45);
        descriptor(ldt_selector, system_descriptor(ldt_at, 0x1f, 2));
        set_tasks(11, 9);
        cpu.ip = 0x7000;
        for (unsigned n = 0; n < 8; ++n) cpu.gprs.gpr[n] = 0x11111111 * n;
        cpu.flags = isa::rflags::FIXED | isa::rflags::IF | isa::rflags::CF;
        for (unsigned n = 0; n < 6; ++n) cpu.segments[n].selector = static_cast<std::uint16_t>(n == 1 ? code : data);
    }

    void descriptor(std::uint16_t selector, std::uint64_t value) { bus.put(gdt_at + (selector & ~7u), value); }
    std::uint64_t descriptor(std::uint16_t selector) { return bus.get<std::uint64_t>(gdt_at + (selector & ~7u)); }
    bool busy(std::uint16_t selector) { return descriptor(selector) >> 41 & 1; }

    void set_tasks(unsigned old_type, unsigned new_type) {
        descriptor(old_selector, system_descriptor(old_tss, old_type & 8 ? 0x67 : 0x2b, old_type));
        descriptor(new_selector, system_descriptor(new_tss, new_type & 8 ? 0x67 : 0x2b, new_type));
        cpu.at(Segment::TR) = {old_selector, old_type | ar::P, old_type & 8 ? 0x67u : 0x2bu, old_tss};
        const bool wide = new_type & 8;
        width = wide ? 4 : 2;
        first = wide ? 0x20 : 0x0e;
        field(0, 0x5000);
        field(1, 2);
        for (unsigned n = 0; n < 8; ++n) field(2 + n, 0x1000u + n);
        field(6, stack_top);
        for (const Segment s : {Segment::ES, Segment::SS, Segment::DS}) selector(s, data);
        selector(Segment::CS, code);
        if (wide) selector(Segment::FS, 0), selector(Segment::GS, 0);
        ldt(0);
        if (wide) bus.put(new_tss + 0x1c, std::uint32_t{0xabc000});
    }
    // A slot of the new TSS after IP.
    void field(unsigned n, std::uint32_t value) {
        if (width == 4) bus.put(new_tss + first + 4 * n, value);
        else bus.put(new_tss + first + 2 * n, static_cast<std::uint16_t>(value));
    }
    void selector(Segment s, std::uint16_t value) {
        bus.put(new_tss + first + width * (10 + static_cast<unsigned>(s)), value);
    }
    void ldt(std::uint16_t value) { bus.put(new_tss + (width == 4 ? 0x60 : 0x2a), value); }

    TaskSwitchResult go(TaskSwitch request) {
        if (request.selector == 0) request.selector = new_selector;
        return switch_task(request, cpu, control, bus, translate);
    }
    TaskSwitchResult go(TaskSource source) { return go({.source = source, .next_ip = 0x7007}); }
    void expect_done(TaskSource source) {
        const auto result = go(source);
        EXPECT_EQ(result.outcome, emulator::Outcome::done);
        EXPECT_TRUE(result.committed);
    }
    void expect_fault(const TaskSwitchResult& result, Exception vector, std::uint32_t error, bool committed) {
        EXPECT_EQ(result.outcome, emulator::Outcome::fault);
        EXPECT_EQ(result.fault.vector, vector);
        EXPECT_EQ(result.fault.error_code, error);
        EXPECT_EQ(result.committed, committed);
        if (committed) {
            EXPECT_EQ(cpu.segment(Segment::TR).selector, new_selector);
            EXPECT_EQ(cpu.ip, 0x5000u) << "the fault is the new task's";
        } else {
            EXPECT_EQ(cpu.segment(Segment::TR).selector, old_selector);
            EXPECT_EQ(cpu.ip, 0x7000u);
            EXPECT_TRUE(busy(old_selector));
        }
    }

    FakeCpu cpu;
    FakeBus bus;
    FakeTranslate translate;
    FakeControl control;
    unsigned width{}, first{};
};

// Table 7-2, one row for each source.
TEST_F(TaskSwitchTest, JumpLeavesTheOldTaskForGood) {
    expect_done(TaskSource::jump);
    EXPECT_FALSE(busy(old_selector));
    EXPECT_TRUE(busy(new_selector));
    EXPECT_FALSE(cpu.flags & isa::rflags::NT);
    EXPECT_EQ(bus.get<std::uint16_t>(new_tss), 0) << "no link";
    EXPECT_EQ(bus.get<std::uint32_t>(old_tss + 0x24), isa::rflags::FIXED | isa::rflags::IF | isa::rflags::CF);
}

TEST_F(TaskSwitchTest, CallAndEventNestTheNewTask) {
    for (const TaskSource source : {TaskSource::call, TaskSource::event}) {
        set_tasks(11, 9);
        expect_done(source);
        EXPECT_TRUE(busy(old_selector));
        EXPECT_TRUE(busy(new_selector));
        EXPECT_TRUE(cpu.flags & isa::rflags::NT);
        EXPECT_EQ(bus.get<std::uint16_t>(new_tss), old_selector);
    }
}

TEST_F(TaskSwitchTest, ReturnFreesTheOldTaskAndItsNt) {
    set_tasks(11, 11);
    cpu.flags |= isa::rflags::NT;
    expect_done(TaskSource::iret);
    EXPECT_FALSE(busy(old_selector));
    EXPECT_TRUE(busy(new_selector));
    EXPECT_EQ(bus.get<std::uint32_t>(old_tss + 0x24) & isa::rflags::NT, 0u);
    EXPECT_FALSE(cpu.flags & isa::rflags::NT);
}

TEST_F(TaskSwitchTest, ReturnTakesNtFromTheNewTask) {
    set_tasks(11, 11);
    field(1, 0x4002);
    expect_done(TaskSource::iret);
    EXPECT_TRUE(cpu.flags & isa::rflags::NT);
}

TEST_F(TaskSwitchTest, TheOldStateIsSaved) {
    bus.put(old_tss + 0x1c, std::uint32_t{0x12345678});
    bus.put(old_tss + 0x60, std::uint32_t{0x87654321});
    bus.put(old_tss + 0x4a, std::uint16_t{0xbeef});
    expect_done(TaskSource::jump);
    EXPECT_EQ(bus.get<std::uint32_t>(old_tss + 0x20), 0x7007u);
    for (unsigned n = 0; n < 8; ++n) EXPECT_EQ(bus.get<std::uint32_t>(old_tss + 0x28 + 4 * n), 0x11111111 * n);
    EXPECT_EQ(bus.get<std::uint16_t>(old_tss + 0x4c), code);
    EXPECT_EQ(bus.get<std::uint16_t>(old_tss + 0x50), data);
    EXPECT_EQ(bus.get<std::uint32_t>(old_tss + 0x1c), 0x12345678u) << "CR3 is not saved";
    EXPECT_EQ(bus.get<std::uint32_t>(old_tss + 0x60), 0x87654321u) << "nor is LDTR";
    EXPECT_EQ(bus.get<std::uint16_t>(old_tss + 0x4a), 0xbeef) << "nor what lies above a selector";
}

TEST_F(TaskSwitchTest, TheNewStateIsLoaded) {
    selector(Segment::FS, data3);
    ldt(ldt_selector);
    expect_done(TaskSource::jump);
    EXPECT_EQ(cpu.ip, 0x5000u);
    for (unsigned n = 0; n < 8; ++n) {
        if (static_cast<Gpr>(n) != Gpr::RSP) {
            EXPECT_EQ(cpu.gprs.gpr[n], 0x1000u + n);
        }
    }
    EXPECT_EQ(cpu.gprs[Gpr::RSP], stack_top);
    EXPECT_EQ(cpu.segment(Segment::CS).limit, 0xffffffffu);
    EXPECT_EQ(cpu.segment(Segment::FS).selector, data3);
    EXPECT_TRUE(cpu.segment(Segment::GS).rights & ar::unusable);
    EXPECT_EQ(cpu.segment(Segment::LDTR).base, ldt_at);
    EXPECT_TRUE(cpu.control0 & isa::cr0::TS);
    EXPECT_EQ(control.cleared, 1u);
    EXPECT_EQ(cpu.segment(Segment::TR).rights & ar::type, 11u);
    EXPECT_EQ(descriptor(code) >> 40 & 1, 1u) << "accessed";
    EXPECT_FALSE(control.cr3) << "paging is off";
}

TEST_F(TaskSwitchTest, Cr3IsLoadedUnderPagingAlone) {
    cpu.control0 |= isa::cr0::PG;
    expect_done(TaskSource::jump);
    EXPECT_EQ(control.cr3, 0xabc000u);
}

TEST_F(TaskSwitchTest, Cr3WithBadPdptes) {
    cpu.control0 |= isa::cr0::PG;
    control.valid = false;
    expect_fault(go(TaskSource::jump), Exception::TS, 0, true);
}

TEST_F(TaskSwitchTest, SixteenBitTasks) {
    set_tasks(3, 1);
    expect_done(TaskSource::call);
    EXPECT_EQ(bus.get<std::uint16_t>(old_tss + 0x0e), 0x7007);
    EXPECT_EQ(bus.get<std::uint16_t>(old_tss + 0x10), 0x0203);
    EXPECT_EQ(bus.get<std::uint16_t>(old_tss + 0x12 + 2 * 3), 0x3333);
    EXPECT_EQ(bus.get<std::uint16_t>(old_tss + 0x24), code);
    EXPECT_EQ(bus.get<std::uint16_t>(new_tss), old_selector);
    EXPECT_EQ(cpu.ip, 0x5000u);
    EXPECT_EQ(cpu.gprs[Gpr::RAX] & 0xffff, 0x1000u);
    EXPECT_EQ(cpu.gprs[Gpr::RSP] & 0xffff, stack_top);
    EXPECT_TRUE(cpu.flags & isa::rflags::NT);
    EXPECT_TRUE(cpu.segment(Segment::FS).rights & ar::unusable);
    EXPECT_FALSE(control.cr3);
}

TEST_F(TaskSwitchTest, FromSixteenBitsToThirtyTwo) {
    set_tasks(3, 9);
    expect_done(TaskSource::jump);
    EXPECT_EQ(bus.get<std::uint16_t>(old_tss + 0x0e), 0x7007);
    EXPECT_EQ(cpu.gprs[Gpr::RBX], 0x1003u);
}

TEST_F(TaskSwitchTest, Virtual8086) {
    field(1, static_cast<std::uint32_t>(isa::rflags::VM | 2));
    selector(Segment::CS, 0x1234);
    expect_done(TaskSource::jump);
    EXPECT_EQ(cpu.segment(Segment::CS).base, 0x12340u);
    EXPECT_EQ(cpu.segment(Segment::CS).rights, 0xf3u);
    EXPECT_EQ(cpu.segment(Segment::DS).limit, 0xffffu);
    EXPECT_EQ(cpu.cpl(), 3u);
}

TEST_F(TaskSwitchTest, ToRingThree) {
    selector(Segment::CS, code3);
    selector(Segment::SS, data3);
    selector(Segment::DS, data3);
    selector(Segment::ES, 0);
    expect_done(TaskSource::jump);
    EXPECT_EQ(cpu.cpl(), 3u);
}

TEST_F(TaskSwitchTest, TheTrapFlagOfTheTss) {
    bus.put(new_tss + 0x64, std::uint16_t{1});
    EXPECT_TRUE(go(TaskSource::jump).debug_trap);
}

TEST_F(TaskSwitchTest, ErrorCodesArePushedInTheSizeOfTheNewTask) {
    const auto wide = go({.source = TaskSource::event, .next_ip = 0x7000, .external = true, .error_code = 0x1234});
    EXPECT_EQ(wide.outcome, emulator::Outcome::done);
    EXPECT_EQ(cpu.gprs[Gpr::RSP], stack_top - 4);
    EXPECT_EQ(bus.get<std::uint32_t>(stack_top - 4), 0x1234u);
    set_tasks(11, 1);
    const auto narrow = go({.source = TaskSource::event, .next_ip = 0x7000, .external = true, .error_code = 0x1234});
    EXPECT_EQ(narrow.outcome, emulator::Outcome::done);
    EXPECT_EQ(cpu.gprs[Gpr::RSP] & 0xffff, stack_top - 2);
}

TEST_F(TaskSwitchTest, AnErrorCodeThatDoesNotFitIsTheNewTasksFault) {
    descriptor(spare, 0x00409200000000ff);  // 256 bytes
    selector(Segment::SS, spare);
    const auto result = go({.source = TaskSource::event, .next_ip = 0x7000, .external = true, .error_code = 0});
    expect_fault(result, Exception::SS, 1, true);
}

// ---- table 7-1: before the commit, in the old task

TEST_F(TaskSwitchTest, TheNewTssMustBeAvailable) {
    set_tasks(11, 11);
    expect_fault(go(TaskSource::call), Exception::GP, new_selector, false);
    expect_fault(go(TaskSource::jump), Exception::GP, new_selector, false);
    expect_fault(go({.source = TaskSource::event, .external = true}), Exception::GP, new_selector | 1, false);
}

TEST_F(TaskSwitchTest, AReturnNeedsABusyTss) { expect_fault(go(TaskSource::iret), Exception::TS, new_selector, false); }

TEST_F(TaskSwitchTest, TheNewTssMustBePresent) {
    descriptor(new_selector, descriptor(new_selector) & ~present);
    expect_fault(go(TaskSource::call), Exception::NP, new_selector, false);
}

TEST_F(TaskSwitchTest, TheNewTssMustBeLargeEnough) {
    descriptor(new_selector, system_descriptor(new_tss, 0x66, 9));
    expect_fault(go(TaskSource::call), Exception::TS, new_selector, false);
    descriptor(new_selector, system_descriptor(new_tss, 0x2a, 1));
    expect_fault(go(TaskSource::call), Exception::TS, new_selector, false);
}

TEST_F(TaskSwitchTest, TheSelectorMustNameATssInTheGdt) {
    expect_fault(go({.source = TaskSource::call, .selector = 0x80}), Exception::GP, 0x80, false);
    expect_fault(go({.source = TaskSource::iret, .selector = 0x80}), Exception::TS, 0x80, false);
    expect_fault(go({.source = TaskSource::jump, .selector = new_selector | 4}), Exception::GP, new_selector | 4,
                 false);
    expect_fault(go({.source = TaskSource::jump, .selector = data}), Exception::GP, data, false);
}

TEST_F(TaskSwitchTest, PagesAreThereBeforeAnythingChanges) {
    translate.absent[new_tss] = true;
    const auto reading = go(TaskSource::call);
    EXPECT_EQ(reading.fault.vector, Exception::PF);
    EXPECT_FALSE(reading.committed);
    EXPECT_FALSE(busy(new_selector));
    translate.absent.clear();
    translate.read_only[old_tss] = true;
    const auto saving = go(TaskSource::call);
    EXPECT_EQ(saving.fault.vector, Exception::PF);
    EXPECT_EQ(saving.fault.error_code, 3u) << "a supervisor's write";
    EXPECT_FALSE(busy(new_selector));
    translate.read_only.clear();
    translate.read_only[new_tss] = true;
    EXPECT_EQ(go(TaskSource::call).fault.vector, Exception::PF) << "the link is written";
    EXPECT_EQ(go(TaskSource::jump).outcome, emulator::Outcome::done) << "and is not here";
}

// ---- after the commit, in the new task

TEST_F(TaskSwitchTest, BadLdts) {
    for (const std::uint16_t bad : {data, std::uint16_t{ldt_selector | 4}, std::uint16_t{0x80}}) {
        set_tasks(11, 9);
        cpu.ip = 0x7000;
        ldt(bad);
        expect_fault(go(TaskSource::jump), Exception::TS, bad, true);
    }
    set_tasks(11, 9);
    descriptor(ldt_selector, descriptor(ldt_selector) & ~present);
    ldt(ldt_selector);
    expect_fault(go(TaskSource::jump), Exception::TS, ldt_selector, true);
}

TEST_F(TaskSwitchTest, BadStacks) {
    const auto with = [&](std::uint16_t ss) {
        set_tasks(11, 9);
        selector(Segment::SS, ss);
        return go(TaskSource::jump);
    };
    expect_fault(with(0), Exception::TS, 0, true);
    expect_fault(with(code), Exception::TS, code, true);
    expect_fault(with(data3), Exception::TS, data3 & ~3u, true);       // DPL is not the CPL
    expect_fault(with(data | 3), Exception::TS, data, true);           // RPL is not the DPL
    descriptor(spare, flat_data & ~present);
    expect_fault(with(spare), Exception::SS, spare, true);
    descriptor(spare, flat_data & ~(2ull << 40));                      // read-only
    expect_fault(with(spare), Exception::TS, spare, true);
}

TEST_F(TaskSwitchTest, BadCode) {
    const auto with = [&](std::uint16_t cs) {
        set_tasks(11, 9);
        selector(Segment::CS, cs);
        return go(TaskSource::jump);
    };
    expect_fault(with(0), Exception::TS, 0, true);
    expect_fault(with(data), Exception::TS, data, true);
    expect_fault(with(code3 & ~3u), Exception::TS, code3 & ~3u, true);  // DPL 3, RPL 0
    descriptor(spare, flat_code & ~present);
    expect_fault(with(spare), Exception::NP, spare, true);
    descriptor(spare, flat_code | 4ull << 40);                          // conforming
    EXPECT_EQ(with(spare).outcome, emulator::Outcome::done);
}

TEST_F(TaskSwitchTest, BadData) {
    const auto with = [&](std::uint16_t ds) {
        set_tasks(11, 9);
        selector(Segment::DS, ds);
        return go(TaskSource::jump);
    };
    expect_fault(with(0x78), Exception::TS, 0x78, true);                // a descriptor of zeros
    expect_fault(with(new_selector), Exception::TS, new_selector, true);
    expect_fault(with(data | 3), Exception::TS, data, true);            // RPL above the DPL
    descriptor(spare, flat_data & ~present);
    expect_fault(with(spare), Exception::NP, spare, true);
    descriptor(spare, flat_code & ~(2ull << 40));                       // code that cannot be read
    expect_fault(with(spare), Exception::TS, spare, true);
}

TEST_F(TaskSwitchTest, AnInstructionPointerBeyondTheCode) {
    descriptor(spare, 0x00409a0000000fff);
    selector(Segment::CS, spare);
    expect_fault(go(TaskSource::jump), Exception::GP, 0, true);
}

TEST_F(TaskSwitchTest, FaultsOfAnExternalEventSayExt) {
    selector(Segment::DS, 0x78);
    expect_fault(go({.source = TaskSource::event, .next_ip = 0x7000, .external = true}), Exception::TS, 0x79, true);
}

}  // namespace
