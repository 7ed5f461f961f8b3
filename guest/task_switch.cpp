// SPDX-License-Identifier: Apache-2.0
#include "guest/task_switch.hpp"

#include <array>
#include <span>

#include "guest/emulate/descriptor.hpp"
#include "guest/emulate/emulate.hpp"
#include "guest/emulate/operand_memory.hpp"
#include "guest/task_state.hpp"

namespace bulkhead::guest {

namespace {

using namespace emulator;
using isa::Exception;
using isa::Gpr;
using isa::Segment;
namespace type = descriptor_type;
namespace ar = isa::access_rights;

// The flags that a TSS loads; the others are reserved.
constexpr std::uint64_t loadable_flags = 0x3f7fd5;

class Switch {
  public:
    Switch(const TaskSwitch& request, CpuState& cpu, TaskControl& control, Bus& bus, Translate& translate)
        : request_(request),
          cpu_(cpu),
          control_(control),
          memory_(cpu, bus, translate),
          bus_(bus),
          translate_(translate) {}

    TaskSwitchResult run();

  private:
    Expected<void> prepare();
    Expected<void> commit();
    Expected<void> load();
    Expected<void> load_cr3();
    Expected<void> load_ldtr();
    Expected<void> load_protected_segments();
    void load_virtual_8086_segments();
    Expected<isa::SegmentRegister> stack_segment(unsigned cpl);
    Expected<isa::SegmentRegister> data_segment(std::uint16_t selector, unsigned cpl);
    Expected<isa::SegmentRegister> code_segment(unsigned cpl);
    Expected<Descriptor> fetch(std::uint16_t selector);
    Expected<void> push_error_code();

    bool nests() const { return request_.source == TaskSource::call || request_.source == TaskSource::event; }
    bool returns() const { return request_.source == TaskSource::iret; }
    TaskState old_state() const;

    std::unexpected<Stop> fault(Exception vector, std::uint16_t selector) const {
        return stop({vector, error_of(selector) | (request_.external ? 1u : 0u), 0});
    }
    std::unexpected<Stop> invalid(std::uint16_t selector) const { return fault(Exception::TS, selector); }

    const TaskSwitch& request_;
    CpuState& cpu_;
    TaskControl& control_;
    SystemMemory memory_;
    Bus& bus_;
    Translate& translate_;
    Descriptor tss_{};
    TaskFormat old_format_{}, new_format_{};
    GuestVirt old_base_{}, new_base_{};
    TaskState next_{};
};

TaskSwitchResult Switch::run() {
    const auto failed = [](const Stop& why, bool committed) {
        return TaskSwitchResult{why.outcome, why.fault, committed, false};
    };
    if (const auto prepared = prepare(); !prepared) return failed(prepared.error(), false);
    if (const auto committed = commit(); !committed) return failed(committed.error(), false);
    if (const auto loaded = load(); !loaded) return failed(loaded.error(), true);
    if (const auto pushed = push_error_code(); !pushed) return failed(pushed.error(), true);
    return {.committed = true, .debug_trap = next_.trap};
}

// Everything that can fault in the old task: the new TSS (SDM volume 3, table 7-1, the first five rows), and whether
// all that is read and written is there.
Expected<void> Switch::prepare() {
    const std::uint16_t selector = request_.selector;
    const Exception wrong_kind = returns() ? Exception::TS : Exception::GP;
    if (is_null(selector) || (selector & 4)) return fault(wrong_kind, selector);
    const auto found = memory_.descriptor(selector);
    if (!found) return std::unexpected(found.error());
    if (!*found) return fault(wrong_kind, selector);
    tss_ = **found;
    const bool is_tss = tss_.is_system() && (tss_.type() & ~(type::tss_busy | type::tss_32)) == type::tss16_available;
    const bool busy = tss_.type() & type::tss_busy;
    if (!is_tss || busy != returns()) return fault(wrong_kind, selector);
    if (!tss_.present()) return fault(Exception::NP, selector);
    new_format_ = task_format(tss_.type());
    if (tss_.limit() < new_format_.size - 1u) return invalid(selector);

    const isa::SegmentRegister old = cpu_.segment(Segment::TR);
    old_format_ = task_format(old.rights & ar::type);
    old_base_ = GuestVirt{old.base};
    new_base_ = GuestVirt{tss_.base()};
    if (old.limit < old_format_.size - 1u) return invalid(old.selector);
    const unsigned saved = old_format_.saved_end() - old_format_.saved_begin;
    if (const auto ok = memory_.probe(old_base_ + old_format_.saved_begin, saved, Access::Kind::write); !ok) return ok;
    if (const auto ok = memory_.probe(new_base_, new_format_.size, Access::Kind::read); !ok) return ok;
    if (!nests()) return {};
    return memory_.probe(new_base_, 2, Access::Kind::write);
}

TaskState Switch::old_state() const {
    TaskState state{};
    for (unsigned n = 0; n < 8; ++n) state.gpr[n] = static_cast<std::uint32_t>(cpu_.gpr(static_cast<Gpr>(n)));
    for (unsigned n = 0; n < 6; ++n) state.selectors[n] = cpu_.segment(static_cast<Segment>(n)).selector;
    state.ip = static_cast<std::uint32_t>(request_.next_ip);
    // IRET leaves its task for good.
    state.flags = static_cast<std::uint32_t>(cpu_.rflags());
    if (returns()) state.flags &= ~static_cast<std::uint32_t>(isa::rflags::NT);
    return state;
}

// Busy bits, the old task's state and the link to it, in the order of SDM volume 3, 7.3.
Expected<void> Switch::commit() {
    const std::uint16_t old = cpu_.segment(Segment::TR).selector;
    std::array<std::byte, largest_task_state> image{};
    const auto bytes = std::span{image}.first(new_format_.size);
    if (const auto read = memory_.read(new_base_, bytes); !read) return read;
    next_ = read_task_state(new_format_, bytes);
    if (!nests())
        if (const auto marked = memory_.mark(old, 0, type::tss_busy); !marked) return marked;
    if (!returns())
        if (const auto marked = memory_.mark(request_.selector, type::tss_busy); !marked) return marked;
    // Pieces: what lies between the selectors is not the processor's to write.
    const TaskState state = old_state();
    const auto registers = register_image(state);
    const TaskFormat& f = old_format_;
    for (unsigned n = 0; n < f.registers; ++n) {
        const auto value = std::as_bytes(std::span{&registers[n], 1}).first(f.width);
        if (const auto written = memory_.write(old_base_ + (f.saved_begin + n * f.width), value); !written)
            return written;
    }
    for (unsigned n = 0; n < f.selectors; ++n) {
        const auto value = std::as_bytes(std::span{&state.selectors[n], 1});
        if (const auto written = memory_.write(old_base_ + (f.selectors_begin() + n * f.width), value); !written)
            return written;
    }
    if (nests())
        if (const auto written = memory_.write(new_base_, std::as_bytes(std::span{&old, 1})); !written) return written;
    return {};
}

// From here on the new task is the one that runs, and that faults.
Expected<void> Switch::load() {
    tss_.raw |= std::uint64_t{type::tss_busy} << 40;
    cpu_.set_segment(Segment::TR, tss_.segment(request_.selector));
    cpu_.set_cr0(cpu_.cr0() | isa::cr0::TS);
    control_.clear_local_breakpoints();
    cpu_.set_rip(next_.ip);
    for (unsigned n = 0; n < 8; ++n) cpu_.set_gpr(static_cast<Gpr>(n), next_.gpr[n]);
    std::uint64_t flags = (next_.flags & loadable_flags) | isa::rflags::FIXED;
    if (nests()) flags |= isa::rflags::NT;
    // The selectors are there even if their descriptors prove bad.
    for (unsigned n = 0; n < 6; ++n) {
        isa::SegmentRegister s = cpu_.segment(static_cast<Segment>(n));
        s.selector = next_.selectors[n];
        // A code segment of virtual-8086 mode looks like data: no protected-mode task could even fault in it.
        if (static_cast<Segment>(n) == Segment::CS && (cpu_.rflags() & isa::rflags::VM)) s.rights |= type::code;
        cpu_.set_segment(static_cast<Segment>(n), s);
    }
    cpu_.set_segment(Segment::LDTR, {next_.ldt, ar::unusable, 0, 0});
    const bool virtual_8086 = flags & isa::rflags::VM;
    if (virtual_8086) load_virtual_8086_segments();
    cpu_.set_rflags(flags);
    if (const auto loaded = load_cr3(); !loaded) return loaded;
    if (const auto loaded = load_ldtr(); !loaded) return loaded;
    if (!virtual_8086)
        if (const auto loaded = load_protected_segments(); !loaded) return loaded;
    if (next_.ip > cpu_.segment(Segment::CS).limit) return fault(Exception::GP, 0);
    return {};
}

Expected<void> Switch::load_cr3() {
    if (!new_format_.wide() || !(cpu_.cr0() & isa::cr0::PG)) return {};
    if (!control_.load_cr3(next_.cr3)) return invalid(0);
    return {};
}

Expected<void> Switch::load_ldtr() {
    const std::uint16_t selector = next_.ldt;
    if (is_null(selector)) return {};
    if (selector & 4) return invalid(selector);
    const auto found = memory_.descriptor(selector);
    if (!found) return std::unexpected(found.error());
    if (!*found || !(*found)->is_system() || (*found)->type() != type::ldt || !(*found)->present())
        return invalid(selector);
    cpu_.set_segment(Segment::LDTR, (*found)->segment(selector));
    return {};
}

// SDM volume 3, 20.2.1.
void Switch::load_virtual_8086_segments() {
    for (unsigned n = 0; n < 6; ++n) {
        const std::uint16_t selector = next_.selectors[n];
        cpu_.set_segment(static_cast<Segment>(n), {selector, 0xf3, 0xffff, std::uint64_t{selector} << 4});
    }
}

Expected<Descriptor> Switch::fetch(std::uint16_t selector) {
    const auto found = memory_.descriptor(selector);
    if (!found) return std::unexpected(found.error());
    if (!*found) return invalid(selector);
    return **found;
}

// SDM volume 3, table 7-1. CS and SS, whose privilege levels belong together, are loaded together.
Expected<void> Switch::load_protected_segments() {
    const unsigned cpl = rpl_of(next_.selectors[static_cast<unsigned>(Segment::CS)]);
    for (const Segment s : {Segment::DS, Segment::ES, Segment::FS, Segment::GS})
        cpu_.set_segment(s, {next_.selectors[static_cast<unsigned>(s)], ar::unusable, 0, 0});
    const auto ss = stack_segment(cpl);
    if (!ss) return std::unexpected(ss.error());
    const auto cs = code_segment(cpl);
    if (!cs) return std::unexpected(cs.error());
    cpu_.set_segment(Segment::CS, *cs);
    cpu_.set_segment(Segment::SS, *ss);
    for (const Segment s : {Segment::DS, Segment::ES, Segment::FS, Segment::GS}) {
        const std::uint16_t selector = next_.selectors[static_cast<unsigned>(s)];
        if (is_null(selector)) continue;
        const auto loaded = data_segment(selector, cpl);
        if (!loaded) return std::unexpected(loaded.error());
        cpu_.set_segment(s, *loaded);
    }
    return {};
}

Expected<isa::SegmentRegister> Switch::stack_segment(unsigned cpl) {
    const std::uint16_t selector = next_.selectors[static_cast<unsigned>(Segment::SS)];
    if (is_null(selector)) return invalid(selector);
    auto d = fetch(selector);
    if (!d) return std::unexpected(d.error());
    if (!d->is_writable_data()) return invalid(selector);
    if (!d->present()) return fault(Exception::SS, selector);
    if (d->dpl() != cpl || d->dpl() != rpl_of(selector)) return invalid(selector);
    if (const auto marked = memory_.mark_accessed(selector, *d); !marked) return std::unexpected(marked.error());
    return d->segment(selector);
}

Expected<isa::SegmentRegister> Switch::code_segment(unsigned cpl) {
    const std::uint16_t selector = next_.selectors[static_cast<unsigned>(Segment::CS)];
    if (is_null(selector)) return invalid(selector);
    auto d = fetch(selector);
    if (!d) return std::unexpected(d.error());
    const bool legal = d->is_code() && (d->is_conforming() ? d->dpl() <= cpl : d->dpl() == cpl);
    if (!legal) return invalid(selector);
    if (!d->present()) return fault(Exception::NP, selector);
    if (const auto marked = memory_.mark_accessed(selector, *d); !marked) return std::unexpected(marked.error());
    return d->segment(selector);
}

Expected<isa::SegmentRegister> Switch::data_segment(std::uint16_t selector, unsigned cpl) {
    auto d = fetch(selector);
    if (!d) return std::unexpected(d.error());
    const bool legal = d->is_readable() && (d->is_conforming() || (d->dpl() >= cpl && d->dpl() >= rpl_of(selector)));
    if (!legal) return invalid(selector);
    if (!d->present()) return fault(Exception::NP, selector);
    if (const auto marked = memory_.mark_accessed(selector, *d); !marked) return std::unexpected(marked.error());
    return d->segment(selector);
}

// On the new task's stack, in the size of its TSS (SDM volume 3, 6.14.4 and 7.3).
Expected<void> Switch::push_error_code() {
    if (!request_.error_code) return {};
    const unsigned width = new_format_.width;
    OperandMemory stack{cpu_, bus_, translate_, emulator::code_size(cpu_)};
    const bool big = cpu_.segment(Segment::SS).rights & ar::DB;
    const std::uint64_t mask = big ? 0xffffffff : 0xffff;
    const std::uint64_t rsp = cpu_.gpr(Gpr::RSP);
    const std::uint64_t pointer = (rsp - width) & mask;
    const auto slot = stack.locate(Segment::SS, pointer, width, Access::Kind::write);
    if (!slot) {
        Stop why = slot.error();
        if (why.fault.error_code && why.fault.vector != Exception::PF && request_.external) *why.fault.error_code |= 1;
        return std::unexpected(why);
    }
    if (const auto written = stack.write(*slot, std::uint64_t{*request_.error_code}); !written) return written;
    cpu_.set_gpr(Gpr::RSP, (rsp & ~mask) | pointer);
    return {};
}

}  // namespace

TaskSwitchResult switch_task(const TaskSwitch& request, CpuState& cpu, TaskControl& control, emulator::Bus& bus,
                             emulator::Translate& translate) {
    return Switch{request, cpu, control, bus, translate}.run();
}

}  // namespace bulkhead::guest
