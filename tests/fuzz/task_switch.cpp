// SPDX-License-Identifier: Apache-2.0
// Hardware task switches with any descriptors and any task states.
#include "guest/task_switch.hpp"

#include "tests/fuzz/fuzz.hpp"
#include "tests/unit/emulate_fakes.hpp"

using fuzz::require;
using namespace bulkhead::guest;
using emulator::Outcome;
namespace ar = isa::access_rights;

namespace {

constexpr std::uint64_t gdt_at = 0x1000, old_tss = 0x2000, new_tss = 0x3000, ldt_at = 0x4000;
constexpr std::uint16_t old_selector = 0x28, new_selector = 0x30;

struct Control final : TaskControl {
    bool load_cr3(std::uint64_t) override { return valid; }
    void clear_local_breakpoints() override {}
    bool valid{true};
};

std::uint64_t descriptor(std::uint64_t base, std::uint64_t limit, unsigned type) {
    return (limit & 0xffff) | (base & 0xffffff) << 16 | std::uint64_t{type} << 40 | 1ull << 47;
}

// Good ones, of which the input takes some away.
void fill_tables(fuzz::Input& in, FakeBus& bus, unsigned old_type, unsigned new_type) {
    const std::uint64_t flat_code = 0x00cf9a000000ffff, flat_data = 0x00cf92000000ffff, user = 3ull << 45;
    const std::uint64_t good[] = {0,
                                  flat_code,
                                  flat_data,
                                  flat_code | user,
                                  flat_data | user,
                                  descriptor(old_tss, 0x67, old_type),
                                  descriptor(new_tss, 0x67, new_type),
                                  descriptor(ldt_at, 0x1f, 2)};
    for (unsigned n = 0; n < std::size(good); ++n) bus.put(gdt_at + 8 * n, good[n]);
    for (unsigned n = in.below(4); n != 0; --n)
        bus.put(gdt_at + 8 * in.below(8) + 4 + in.below(4), in.any<std::uint8_t>());
}

void fill_task(fuzz::Input& in, FakeBus& bus, bool wide) {
    for (unsigned at = 0; at < 0x68; ++at) bus.byte(new_tss + at) = std::byte{};
    const unsigned selectors = wide ? 0x48 : 0x22, width = wide ? 4 : 2;
    for (unsigned n = 0; n < (wide ? 6u : 4u); ++n)
        bus.put(new_tss + selectors + n * width, std::uint16_t(n == 1 ? 0x08 : 0x10));
    bus.put(new_tss + (wide ? 0x38 : 0x1a), std::uint16_t{0x9000});  // the stack pointer
    for (unsigned n = in.below(12); n != 0; --n) {
        const unsigned at = in.chance() ? selectors + in.below(7) * width : in.below(0x66);
        bus.put(new_tss + at,
                in.chance() ? static_cast<std::uint16_t>(in.below(16) * 8 + in.below(8)) : in.any<std::uint16_t>());
    }
}

void check(const TaskSwitchResult& result, const FakeCpu& before, const FakeCpu& after) {
    const auto& task = after.segments[static_cast<std::size_t>(isa::Segment::TR)];
    if (!result.committed) {
        require(result.outcome != Outcome::done, "a switch that is done is committed");
        require(after.ip == before.ip && after.flags == before.flags && after.gprs.gpr == before.gprs.gpr &&
                    task.selector == old_selector,
                "before the new task nothing changes");
        return;
    }
    require(task.selector == new_selector && (task.rights & 0xf) == (task.rights & 8 ? 11u : 3u),
            "TR is the new task's, busy");
    if (result.outcome != Outcome::done) return;
    const auto& code = after.segments[static_cast<std::size_t>(isa::Segment::CS)];
    const auto& stack = after.segments[static_cast<std::size_t>(isa::Segment::SS)];
    if (after.flags & isa::rflags::VM) return;
    require((code.rights & (ar::P | ar::S | 8)) == (ar::P | ar::S | 8), "CS is a code segment that is there");
    require((code.selector & 3u) == (stack.selector & 3u) && (stack.rights & ar::P), "SS is of the same privilege");
}

}  // namespace

FUZZ_TARGET(in) {
    FakeCpu cpu;
    FakeBus bus;
    FakeTranslate translate;
    Control control;
    control.valid = in.below(8) != 0;
    const auto source = static_cast<TaskSource>(in.below(4));
    const bool old_wide = in.chance(), new_wide = in.chance(), back = source == TaskSource::iret;
    cpu.set_flat(32);
    cpu.gdt = {gdt_at, static_cast<std::uint16_t>(in.below(8) ? 0x3f : in.below(0x40))};
    cpu.ip = 0x7000;
    cpu.flags = isa::rflags::FIXED | (in.any<std::uint16_t>() & 0x4dd5u);
    cpu.control0 |= in.chance() ? isa::cr0::PG : 0;
    fill_tables(in, bus, old_wide ? 11 : 3, (new_wide ? 9 : 1) | (back ? 2 : 0));
    fill_task(in, bus, new_wide);
    cpu.at(isa::Segment::TR) = {old_selector, (old_wide ? 11u : 3u) | ar::P, old_wide ? 0x67u : 0x2bu, old_tss};
    if (in.below(4) == 0) translate.absent[(1 + in.below(9)) * page_size] = true;
    if (in.below(4) == 0) translate.read_only[(1 + in.below(9)) * page_size] = true;

    TaskSwitch request{.source = source, .selector = new_selector, .next_ip = 0x7002, .external = in.chance()};
    if (source == TaskSource::event && in.chance()) request.error_code = in.any<std::uint16_t>();
    const FakeCpu before = cpu;
    check(switch_task(request, cpu, control, bus, translate), before, cpu);
}
