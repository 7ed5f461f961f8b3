// SPDX-License-Identifier: Apache-2.0
// The stack, and near branches. RSP and RIP change last.
#include "guest/emulate/execute.hpp"

namespace bulkhead::guest::emulator {

namespace {

using isa::Gpr;
using Kind = Operand::Kind;

}  // namespace

// Real-address mode pushes no error code (SDM volume 3, 20.1.4).
Stop Execution::protection_fault(std::uint32_t error) const {
    Stop result{Outcome::fault, {isa::Exception::GP, error, 0}};
    if (!(cpu_.cr0() & isa::cr0::PE)) result.fault.error_code.reset();
    return result;
}

// The size of the stack pointer: SS.B outside 64-bit mode (SDM volume 1, 6.2.3).
unsigned Execution::stack_size() {
    if (code_ == CodeSize::bits64) return 8;
    return memory_.segment(isa::Segment::SS).rights & isa::access_rights::DB ? 4 : 2;
}

Expected<Location> Execution::stack_slot(std::uint64_t pointer, unsigned size, Access::Kind kind) {
    return memory_.locate(isa::Segment::SS, pointer & mask_of(stack_size()), size, kind);
}

// A segment register takes a slot of the operand size, of which outside 64-bit mode 16 bits are written, as Core and
// Atom processors do (SDM volume 2, PUSH).
Expected<void> Execution::push() {
    const unsigned size = insn_.operand_size;
    const bool from_memory = insn_.destination.kind == Kind::memory;
    const bool narrow = insn_.destination.kind == Kind::segment && code_ != CodeSize::bits64;
    Location source{};
    if (from_memory) {
        const auto located = locate(Access::Kind::read, size);
        if (!located) return std::unexpected(located.error());
        source = *located;
    }
    const std::uint64_t pointer = pushed(size);
    const auto slot = stack_slot(pointer, narrow ? 2 : size, Access::Kind::write);
    if (!slot) return std::unexpected(slot.error());
    const auto value = from_memory ? memory_.read(source) : register_value(insn_.destination);
    if (!value) return std::unexpected(value.error());
    const auto written = memory_.write(*slot, *value);
    if (written) set_address_register(Gpr::RSP, stack_size(), pointer);
    return written;
}

// An address that uses the stack pointer sees it incremented (SDM volume 2, POP).
Expected<void> Execution::pop() {
    const unsigned size = insn_.operand_size;
    const unsigned stack = stack_size();
    const std::uint64_t pointer = address_register(Gpr::RSP, stack);
    const auto slot = stack_slot(pointer, insn_.destination.kind == Kind::segment ? 2 : size, Access::Kind::read);
    if (!slot) return std::unexpected(slot.error());
    Location destination{};
    if (insn_.destination.kind == Kind::memory) {
        base_bias_ = size;
        const auto located = locate(Access::Kind::write, size);
        if (!located) return std::unexpected(located.error());
        destination = *located;
    }
    const auto value = memory_.read(*slot);
    if (!value) return std::unexpected(value.error());
    if (insn_.destination.kind == Kind::segment) {
        const auto name = static_cast<isa::Segment>(insn_.destination.number);
        const auto loaded = segment_for(name, static_cast<std::uint16_t>(*value));
        if (!loaded) return std::unexpected(loaded.error());
        set_address_register(Gpr::RSP, stack, pointer + size);
        load_segment(name, *loaded);
        return {};
    }
    if (insn_.destination.kind == Kind::memory) {
        const auto written = memory_.write(destination, *value);
        if (!written) return written;
    }
    set_address_register(Gpr::RSP, stack, pointer + size);
    if (insn_.destination.kind != Kind::memory) set_register(insn_.destination, *value);  // POP SP keeps the value
    return {};
}

// PUSHA: AX, CX, DX, BX, the SP of before, BP, SI, DI. The whole is located before the first write.
Expected<void> Execution::push_all() {
    const unsigned size = insn_.operand_size;
    std::array<Location, 8> slots{};
    for (unsigned n = 0; n < 8; ++n) {
        const auto slot = stack_slot(pushed((n + 1) * size), size, Access::Kind::write);
        if (!slot) return std::unexpected(slot.error());
        slots[n] = *slot;
    }
    for (unsigned n = 0; n < 8; ++n)
        if (const auto written = memory_.write(slots[n], cpu_.gpr(static_cast<Gpr>(n))); !written) return written;
    set_address_register(Gpr::RSP, stack_size(), pushed(8 * size));
    return {};
}

// POPA passes over the stack pointer's slot.
Expected<void> Execution::pop_all() {
    const unsigned size = insn_.operand_size;
    const std::uint64_t pointer = cpu_.gpr(Gpr::RSP);
    std::array<std::uint64_t, 8> values{};
    for (unsigned n = 0; n < 8; ++n) {
        const auto slot = stack_slot(pointer + n * size, size, Access::Kind::read);
        if (!slot) return std::unexpected(slot.error());
        const auto value = memory_.read(*slot);
        if (!value) return std::unexpected(value.error());
        values[7 - n] = *value;
    }
    for (unsigned n = 0; n < 8; ++n)
        if (static_cast<Gpr>(n) != Gpr::RSP) set_address_register(static_cast<Gpr>(n), size, values[n]);
    set_address_register(Gpr::RSP, stack_size(), pointer + 8 * size);
    return {};
}

// The image has VM and RF clear (SDM volume 2, PUSHF).
Expected<void> Execution::push_flags() {
    const unsigned size = insn_.operand_size;
    const std::uint64_t rflags = cpu_.rflags();
    if ((rflags & isa::rflags::VM) && (rflags & isa::rflags::IOPL) != isa::rflags::IOPL) return unsupported();  // VME
    const std::uint64_t pointer = pushed(size);
    const auto slot = stack_slot(pointer, size, Access::Kind::write);
    if (!slot) return std::unexpected(slot.error());
    const auto written = memory_.write(*slot, rflags & 0xfcffff);
    if (written) set_address_register(Gpr::RSP, stack_size(), pointer);
    return written;
}

// SDM volume 2, table 4-16.
Expected<void> Execution::pop_flags() {
    using namespace isa::rflags;
    const unsigned size = insn_.operand_size;
    const std::uint64_t old = cpu_.rflags();
    const unsigned iopl = static_cast<unsigned>(old & IOPL) >> 12;
    if ((old & VM) && iopl != 3) return unsupported();  // VME
    const std::uint64_t pointer = cpu_.gpr(Gpr::RSP);
    const auto slot = stack_slot(pointer, size, Access::Kind::read);
    if (!slot) return std::unexpected(slot.error());
    const auto value = memory_.read(*slot);
    if (!value) return std::unexpected(value.error());
    const unsigned cpl = cpu_.cr0() & isa::cr0::PE ? cpu_.cpl() : 0;
    std::uint64_t changed = status_flags | TF | DF | NT;
    if (size != 2) changed |= AC | ID;
    if (cpl <= iopl) changed |= IF;
    if (cpl == 0) changed |= IOPL;
    set_address_register(Gpr::RSP, stack_size(), pointer + size);
    const std::uint64_t cleared = size == 2 ? 0 : RF;
    set_flags((old & ~(changed | cleared)) | (*value & changed));
    return {};
}

// SDM volume 2, ENTER: the immediate is the frame's size and, above it, the nesting level.
Expected<void> Execution::enter() {
    const unsigned size = insn_.operand_size, stack = stack_size();
    const auto frame_size = static_cast<std::uint16_t>(insn_.immediate);
    const unsigned level = static_cast<unsigned>(insn_.immediate >> 16) & 31;
    const std::uint64_t rbp = cpu_.gpr(Gpr::RBP);
    std::array<Location, 32> to{}, from{};
    for (unsigned n = 0; n <= level; ++n) {
        const auto slot = stack_slot(pushed((n + 1) * size), size, Access::Kind::write);
        if (!slot) return std::unexpected(slot.error());
        to[n] = *slot;
        if (n == 0 || n == level) continue;
        const auto outer = stack_slot(rbp - n * size, size, Access::Kind::read);
        if (!outer) return std::unexpected(outer.error());
        from[n] = *outer;
    }
    // Where the stack pointer ends up must be writable.
    const std::uint64_t last = pushed((level + 1) * size + frame_size);
    if (const auto end = stack_slot(last, size, Access::Kind::write); !end) return std::unexpected(end.error());
    // RBP, the pointers of the outer frames, and the address of the new one. The frames may overlap.
    const std::uint64_t frame = pushed(size);
    for (unsigned n = 0; n <= level; ++n) {
        Expected<std::uint64_t> value = n == 0 ? rbp : frame;
        if (n != 0 && n != level) value = memory_.read(from[n]);
        if (!value) return std::unexpected(value.error());
        if (const auto written = memory_.write(to[n], *value); !written) return written;
    }
    set_address_register(Gpr::RBP, size, frame);
    set_address_register(Gpr::RSP, stack, last);
    return {};
}

Expected<void> Execution::leave() {
    const unsigned size = insn_.operand_size;
    const std::uint64_t pointer = cpu_.gpr(Gpr::RBP);
    const auto slot = stack_slot(pointer, size, Access::Kind::read);
    if (!slot) return std::unexpected(slot.error());
    const auto value = memory_.read(*slot);
    if (!value) return std::unexpected(value.error());
    set_address_register(Gpr::RSP, stack_size(), pointer + size);
    set_address_register(Gpr::RBP, size, *value);
    return {};
}

// An immediate is relative to the next instruction.
Expected<void> Execution::branch() {
    const unsigned size = insn_.operand_size;
    auto target = value_of(insn_.destination);
    if (!target) return std::unexpected(target.error());
    if (insn_.destination.kind == Kind::immediate) target = (next_rip() + insn_.immediate) & mask_of(size);
    if (!memory_.valid_target(*target)) return std::unexpected(protection_fault());
    if (insn_.operation == Operation::CALL) {
        const std::uint64_t pointer = pushed(size);
        const auto slot = stack_slot(pointer, size, Access::Kind::write);
        if (!slot) return std::unexpected(slot.error());
        const auto written = memory_.write(*slot, next_rip());
        if (!written) return written;
        set_address_register(Gpr::RSP, stack_size(), pointer);
    }
    target_ = *target;
    branched_ = true;
    return {};
}

Expected<void> Execution::return_near() {
    const unsigned size = insn_.operand_size;
    const std::uint64_t pointer = cpu_.gpr(Gpr::RSP);
    const auto slot = stack_slot(pointer, size, Access::Kind::read);
    if (!slot) return std::unexpected(slot.error());
    const auto target = memory_.read(*slot);
    if (!target) return std::unexpected(target.error());
    if (!memory_.valid_target(*target)) return std::unexpected(protection_fault());
    const std::uint64_t released = insn_.source.kind == Kind::immediate ? insn_.immediate : 0;
    set_address_register(Gpr::RSP, stack_size(), pointer + size + released);
    target_ = *target;
    branched_ = true;
    return {};
}

}  // namespace bulkhead::guest::emulator
