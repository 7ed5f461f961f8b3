// SPDX-License-Identifier: Apache-2.0
// Data transfer: MOV and its relatives, exchanges.
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
    switch (insn_.operation) {
        case Operation::MOVSX: return store(insn_.destination, location, sign_extend(*value, insn_.source.size));
        case Operation::MOVBE: return store(insn_.destination, location, reverse_bytes(*value, insn_.source.size));
        default: return store(insn_.destination, location, *value);
    }
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

}  // namespace bulkhead::guest::emulator
