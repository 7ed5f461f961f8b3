// SPDX-License-Identifier: Apache-2.0
// Segment registers and system registers, loaded from memory or stored to it (SDM volume 3, 5.5 to 5.8 and 7.2).
#include <cstring>

#include "arch/isa/msr.hpp"
#include "guest/emulate/execute.hpp"

namespace bulkhead::guest::emulator {

namespace {

using isa::Segment;
using Kind = Operand::Kind;
namespace type = descriptor_type;

Stop fault_of(isa::Exception vector, std::uint16_t selector) {
    return {Outcome::fault, {vector, error_of(selector), 0}};
}
Stop protection(std::uint16_t selector) { return fault_of(isa::Exception::GP, selector); }

}  // namespace

// Real-address mode keeps limit and rights (SDM volume 3, 20.1.1); virtual-8086 mode has fixed ones (20.2.1).
Expected<isa::SegmentRegister> Execution::segment_for(Segment s, std::uint16_t selector) {
    if (protected_mode()) return protected_segment_for(s, selector);
    isa::SegmentRegister value = cpu_.segment(s);
    value.selector = selector;
    value.base = std::uint64_t{selector} << 4;
    value.rights &= ~isa::access_rights::unusable;
    return value;
}

// SDM volume 2, MOV.
Expected<isa::SegmentRegister> Execution::protected_segment_for(Segment s, std::uint16_t selector) {
    const unsigned cpl = cpu_.cpl(), rpl = rpl_of(selector);
    if (is_null(selector)) {
        const bool null_stack = code_ == CodeSize::bits64 && cpl < 3 && rpl == cpl;
        if (s == Segment::SS && !null_stack) return std::unexpected(protection(0));
        // The DPL of SS stays the CPL.
        const std::uint32_t dpl = s == Segment::SS ? cpl << isa::access_rights::dpl_shift : 0;
        return isa::SegmentRegister{selector, isa::access_rights::unusable | dpl, 0, 0};
    }
    auto found = system_.descriptor(selector);
    if (!found) return std::unexpected(found.error());
    if (!*found) return std::unexpected(protection(selector));
    Descriptor& d = **found;
    const bool legal = s == Segment::SS
                           ? rpl == cpl && d.dpl() == cpl && d.is_writable_data()
                           : d.is_readable() && (d.is_conforming() || (rpl <= d.dpl() && cpl <= d.dpl()));
    if (!legal) return std::unexpected(protection(selector));
    if (!d.present())
        return std::unexpected(fault_of(s == Segment::SS ? isa::Exception::SS : isa::Exception::NP, selector));
    if (const auto marked = system_.mark_accessed(selector, d); !marked) return std::unexpected(marked.error());
    return d.segment(selector);
}

Execution::FarPointer Execution::far_pointer(const Bytes& bytes, unsigned offset_size) {
    FarPointer pointer{};
    std::memcpy(&pointer.offset, bytes.data(), offset_size);
    std::memcpy(&pointer.selector, bytes.data() + offset_size, sizeof pointer.selector);
    return pointer;
}

void Execution::load_segment(Segment s, const isa::SegmentRegister& value) {
    cpu_.set_segment(s, value);
    if (s == Segment::SS) loaded_ss_ = true;
}

Expected<void> Execution::move_to_segment() {
    const auto selector = value_of(insn_.source);
    if (!selector) return std::unexpected(selector.error());
    const auto s = static_cast<Segment>(insn_.destination.number);
    const auto loaded = segment_for(s, static_cast<std::uint16_t>(*selector));
    if (!loaded) return std::unexpected(loaded.error());
    load_segment(s, *loaded);
    return {};
}

// LDS and its kind; unlike MOV, LSS holds back no interrupt (SDM volume 3, 6.8.3).
Expected<void> Execution::load_far() {
    const unsigned size = insn_.operand_size;
    const auto located = locate(Access::Kind::read, size + 2, Alignment::pointer);
    if (!located) return std::unexpected(located.error());
    Bytes bytes{};
    if (const auto read = memory_.read(*located, bytes); !read) return read;
    const FarPointer pointer = far_pointer(bytes, size);
    const auto s = static_cast<Segment>(insn_.count.number);
    const auto loaded = segment_for(s, pointer.selector);
    if (!loaded) return std::unexpected(loaded.error());
    cpu_.set_segment(s, *loaded);
    set_register(insn_.destination, pointer.offset);
    return {};
}

// To a code segment of the same privilege; through a gate or to a TSS it is not emulated (SDM volume 3, 5.8.1).
Expected<isa::SegmentRegister> Execution::code_segment_for(std::uint16_t selector) {
    if (!protected_mode()) return segment_for(Segment::CS, selector);
    if (is_null(selector)) return std::unexpected(protection(0));
    auto found = system_.descriptor(selector);
    if (!found) return std::unexpected(found.error());
    if (!*found) return std::unexpected(protection(selector));
    Descriptor& d = **found;
    if (d.is_system()) return unsupported();
    const unsigned cpl = cpu_.cpl();
    const bool legal = d.is_code() && (d.is_conforming() ? d.dpl() <= cpl : rpl_of(selector) <= cpl && d.dpl() == cpl);
    const bool both_sizes = (cpu_.efer() & isa::efer::LMA) && d.long_code() && d.big();
    if (!legal || both_sizes) return std::unexpected(protection(selector));
    if (!d.present()) return std::unexpected(fault_of(isa::Exception::NP, selector));
    if (const auto marked = system_.mark_accessed(selector, d); !marked) return std::unexpected(marked.error());
    return d.segment(static_cast<std::uint16_t>((selector & ~3u) | cpl));
}

Expected<void> Execution::branch_far() {
    const unsigned size = insn_.operand_size;
    const auto located = locate(Access::Kind::read, size + 2, Alignment::pointer);
    if (!located) return std::unexpected(located.error());
    Bytes bytes{};
    if (const auto read = memory_.read(*located, bytes); !read) return read;
    const FarPointer pointer = far_pointer(bytes, size);
    const auto cs = code_segment_for(pointer.selector);
    if (!cs) return std::unexpected(cs.error());
    const bool to_64 = (cpu_.efer() & isa::efer::LMA) && (cs->rights & isa::access_rights::L);
    if (to_64 ? !memory_.canonical(pointer.offset) : pointer.offset > cs->limit)
        return std::unexpected(protection_fault());
    if (insn_.operation == Operation::CALL_FAR) {
        const auto selector_slot = stack_slot(pushed(size), size, Access::Kind::write);
        if (!selector_slot) return std::unexpected(selector_slot.error());
        const auto offset_slot = stack_slot(pushed(2 * size), size, Access::Kind::write);
        if (!offset_slot) return std::unexpected(offset_slot.error());
        const std::uint64_t selector = memory_.segment(Segment::CS).selector;
        if (const auto written = memory_.write(*selector_slot, selector); !written) return written;
        if (const auto written = memory_.write(*offset_slot, next_rip()); !written) return written;
        set_address_register(isa::Gpr::RSP, stack_size(), pushed(2 * size));
    }
    cpu_.set_segment(Segment::CS, *cs);
    target_ = pointer.offset;
    branched_ = true;
    return {};
}

// SLDT, STR, SMSW. The processor has seen to UMIP and to the mode.
Expected<void> Execution::store_system() {
    std::uint64_t value = 0;
    switch (insn_.operation) {
        case Operation::SLDT: value = cpu_.segment(Segment::LDTR).selector; break;
        case Operation::STR: value = cpu_.segment(Segment::TR).selector; break;
        default: value = cpu_.cr0(); break;
    }
    Location location{};
    if (insn_.destination.kind == Kind::memory) {
        const auto located = locate(Access::Kind::write, 2);
        if (!located) return std::unexpected(located.error());
        location = *located;
    }
    return store(insn_.destination, location, value);
}

// SDM volume 2, LLDT.
Expected<void> Execution::load_ldtr() {
    if (cpu_.cpl() != 0) return std::unexpected(protection(0));
    const auto value = value_of(insn_.destination);
    if (!value) return std::unexpected(value.error());
    const auto selector = static_cast<std::uint16_t>(*value);
    if (is_null(selector)) {
        cpu_.set_segment(Segment::LDTR, {selector, isa::access_rights::unusable, 0, 0});
        return {};
    }
    if (selector & 4) return std::unexpected(protection(selector));
    const auto found = system_.descriptor(selector);
    if (!found) return std::unexpected(found.error());
    if (!*found || !(*found)->is_system() || (*found)->type() != type::ldt)
        return std::unexpected(protection(selector));
    if (!(*found)->present()) return std::unexpected(fault_of(isa::Exception::NP, selector));
    cpu_.set_segment(Segment::LDTR, (*found)->segment(selector));
    return {};
}

// SDM volume 2, LTR: the TSS becomes busy.
Expected<void> Execution::load_tr() {
    if (cpu_.cpl() != 0) return std::unexpected(protection(0));
    const auto value = value_of(insn_.destination);
    if (!value) return std::unexpected(value.error());
    const auto selector = static_cast<std::uint16_t>(*value);
    if (is_null(selector) || (selector & 4)) return std::unexpected(protection(selector));
    auto found = system_.descriptor(selector);
    if (!found) return std::unexpected(found.error());
    const bool long_mode = cpu_.efer() & isa::efer::LMA;
    const bool available = *found && (*found)->is_system() &&
                           ((*found)->type() == type::tss32_available ||
                            ((*found)->type() == type::tss16_available && !long_mode));
    if (!available) return std::unexpected(protection(selector));
    if (!(*found)->present()) return std::unexpected(fault_of(isa::Exception::NP, selector));
    if (const auto marked = system_.mark(selector, type::tss_busy); !marked) return marked;
    (*found)->raw |= std::uint64_t{type::tss_busy} << 40;
    cpu_.set_segment(Segment::TR, (*found)->segment(selector));
    return {};
}

// LMSW sets and clears MP, EM and TS; PE it can only set, which is left to the processor's own exit.
Expected<void> Execution::load_machine_status() {
    if ((cpu_.cr0() & isa::cr0::PE) && cpu_.cpl() != 0) return std::unexpected(protection(0));
    const auto value = value_of(insn_.destination);
    if (!value) return std::unexpected(value.error());
    const std::uint64_t old = cpu_.cr0();
    if (*value & ~old & isa::cr0::PE) return unsupported();
    constexpr std::uint64_t changed = isa::cr0::MP | isa::cr0::EM | isa::cr0::TS;
    cpu_.set_cr0((old & ~changed) | (*value & changed));
    return {};
}

}  // namespace bulkhead::guest::emulator
