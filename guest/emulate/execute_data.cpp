// SPDX-License-Identifier: Apache-2.0
// Data transfer: MOV and its relatives, exchanges, the stack, branches through memory.
#include "guest/emulate/execute.hpp"

namespace bulkhead::guest::emulator {

namespace {

using isa::Gpr;
using Kind = Operand::Kind;

constexpr Operand accumulator(unsigned size) {
    return {Kind::gpr, static_cast<std::uint8_t>(Gpr::RAX), static_cast<std::uint8_t>(size)};
}

}  // namespace

Expected<void> Execution::move() {
    Location location{};
    if (insn_.destination.kind == Kind::memory) {
        const auto located = locate(Access::Kind::write, insn_.destination.size);
        if (!located) return std::unexpected(located.error());
        location = *located;
    }
    const auto value = value_of(insn_.source);
    if (!value) return std::unexpected(value.error());
    const bool extends = insn_.operation == Operation::MOVSX;
    return store(insn_.destination, location, extends ? sign_extend(*value, insn_.source.size) : *value);
}

// The source is read, and the upper half of a 32-bit destination cleared, whatever the condition
// (SDM volume 2, CMOVcc).
Expected<void> Execution::conditional_move() {
    const auto value = value_of(insn_.source);
    if (!value) return std::unexpected(value.error());
    const bool moves = condition_holds(insn_.condition, cpu_.rflags());
    set_register(insn_.destination, moves ? *value : register_value(insn_.destination));
    return {};
}

Expected<void> Execution::set_condition() {
    Location location{};
    if (insn_.destination.kind == Kind::memory) {
        const auto located = locate(Access::Kind::write, 1);
        if (!located) return std::unexpected(located.error());
        location = *located;
    }
    return store(insn_.destination, location, condition_holds(insn_.condition, cpu_.rflags()) ? 1 : 0);
}

Expected<void> Execution::exchange() {
    Location location{};
    const auto old = destination_for_update(location);
    if (!old) return std::unexpected(old.error());
    const auto stored = store(insn_.destination, location, register_value(insn_.source));
    if (stored) set_register(insn_.source, *old);
    return stored;
}

Expected<void> Execution::exchange_add() {
    Location location{};
    const auto old = destination_for_update(location);
    if (!old) return std::unexpected(old.error());
    const AluResult sum =
        binary(Operation::ADD, insn_.operand_size, *old, register_value(insn_.source), cpu_.rflags());
    if (insn_.destination.kind != Kind::memory) set_register(insn_.source, *old);
    const auto stored = modify(sum, location);
    if (stored && insn_.destination.kind == Kind::memory) set_register(insn_.source, *old);
    return stored;
}

// Memory is written in either case (SDM volume 2, CMPXCHG); a register only when equal, as processors do.
Expected<void> Execution::compare_exchange() {
    Location location{};
    const auto old = destination_for_update(location);
    if (!old) return std::unexpected(old.error());
    const Operand acc = accumulator(insn_.operand_size);
    const AluResult compared =
        binary(Operation::CMP, insn_.operand_size, register_value(acc), *old, cpu_.rflags());
    const bool equal = compared.rflags & isa::rflags::ZF;
    if (equal || insn_.destination.kind == Kind::memory) {
        const auto stored = store(insn_.destination, location, equal ? register_value(insn_.source) : *old);
        if (!stored) return stored;
    }
    if (!equal) set_register(acc, *old);
    set_flags(compared.rflags);
    return {};
}

// CMPXCHG8B and CMPXCHG16B; the latter wants 16-byte alignment.
Expected<void> Execution::compare_exchange_wide() {
    const unsigned half = insn_.operand_size / 2u;
    const auto located = memory_.locate(insn_.memory.segment, effective_address(), insn_.operand_size,
                                        Access::Kind::write, half == 8 ? Alignment::required : Alignment::checked);
    if (!located) return std::unexpected(located.error());
    std::array<std::uint64_t, 2> pair{};
    const std::span<std::byte> bytes = std::as_writable_bytes(std::span{pair});
    const auto read = memory_.read(*located, bytes);
    if (!read) return read;
    const std::uint64_t low = half == 8 ? pair[0] : pair[0] & mask_of(4);
    const std::uint64_t high = half == 8 ? pair[1] : pair[0] >> 32;
    const bool equal = low == address_register(Gpr::RAX, half) && high == address_register(Gpr::RDX, half);
    if (equal) {
        const std::uint64_t rbx = address_register(Gpr::RBX, half);
        const std::uint64_t rcx = address_register(Gpr::RCX, half);
        pair = half == 8 ? std::array{rbx, rcx} : std::array<std::uint64_t, 2>{rbx | rcx << 32, 0};
    }
    const auto written = memory_.write(*located, bytes);
    if (!written) return written;
    if (!equal) {
        set_address_register(Gpr::RAX, half, low);
        set_address_register(Gpr::RDX, half, high);
    }
    const std::uint64_t zero_clear = cpu_.rflags() & ~isa::rflags::ZF;
    set_flags(equal ? zero_clear | isa::rflags::ZF : zero_clear);
    return {};
}

// The size of the stack pointer: SS.B outside 64-bit mode (SDM volume 1, 6.2.3).
unsigned Execution::stack_size() {
    if (code_ == CodeSize::bits64) return 8;
    return memory_.segment(isa::Segment::SS).rights & isa::access_rights::DB ? 4 : 2;
}

Expected<void> Execution::push() {
    const unsigned size = insn_.operand_size;
    const unsigned stack = stack_size();
    const bool from_memory = insn_.destination.kind == Kind::memory;
    Location source{};
    if (from_memory) {
        const auto located = locate(Access::Kind::read, size);
        if (!located) return std::unexpected(located.error());
        source = *located;
    }
    const std::uint64_t pointer = (cpu_.gpr(Gpr::RSP) - size) & mask_of(stack);
    const auto slot = memory_.locate(isa::Segment::SS, pointer, size, Access::Kind::write);
    if (!slot) return std::unexpected(slot.error());
    const auto value = from_memory ? memory_.read(source) : register_value(insn_.destination);
    if (!value) return std::unexpected(value.error());
    const auto written = memory_.write(*slot, *value);
    if (written) set_address_register(Gpr::RSP, stack, pointer);
    return written;
}

// An address that uses the stack pointer sees it incremented (SDM volume 2, POP).
Expected<void> Execution::pop() {
    const unsigned size = insn_.operand_size;
    const unsigned stack = stack_size();
    const std::uint64_t pointer = address_register(Gpr::RSP, stack);
    const auto slot = memory_.locate(isa::Segment::SS, pointer, size, Access::Kind::read);
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
    if (insn_.destination.kind == Kind::memory) {
        const auto written = memory_.write(destination, *value);
        if (!written) return written;
    }
    set_address_register(Gpr::RSP, stack, pointer + size);
    if (insn_.destination.kind != Kind::memory) set_register(insn_.destination, *value);  // POP SP keeps the value
    return {};
}

Expected<void> Execution::branch() {
    const unsigned size = insn_.operand_size;
    const auto target = value_of(insn_.destination);
    if (!target) return std::unexpected(target.error());
    if (!memory_.valid_target(*target)) {
        isa::Fault fault = isa::general_protection;
        if (!(cpu_.cr0() & isa::cr0::PE)) fault.error_code.reset();
        return stop(fault);
    }
    if (insn_.operation == Operation::CALL) {
        const unsigned stack = stack_size();
        const std::uint64_t pointer = (cpu_.gpr(Gpr::RSP) - size) & mask_of(stack);
        const auto slot = memory_.locate(isa::Segment::SS, pointer, size, Access::Kind::write);
        if (!slot) return std::unexpected(slot.error());
        const auto written = memory_.write(*slot, next_rip());
        if (!written) return written;
        set_address_register(Gpr::RSP, stack, pointer);
    }
    target_ = *target;
    branched_ = true;
    return {};
}

}  // namespace bulkhead::guest::emulator
