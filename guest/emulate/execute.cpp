// SPDX-License-Identifier: Apache-2.0
#include "guest/emulate/execute.hpp"

namespace bulkhead::guest::emulator {

namespace {

using isa::Gpr;
using Kind = Operand::Kind;

}  // namespace

Expected<Outcome> Execution::run() {
    switch (insn_.operation) {
        using enum Operation;
        case MOVS: case CMPS: case STOS: case LODS: case SCAS: case INS: case OUTS: {
            const auto outcome = string();
            if (outcome && *outcome == Outcome::done) cpu_.set_rip(next_rip());
            return outcome;
        }
        default: break;
    }
    const auto done = dispatch();
    if (!done) return std::unexpected(done.error());
    cpu_.set_rip(branched_ ? target_ : next_rip());
    return Outcome::done;
}

Expected<void> Execution::dispatch() {
    switch (insn_.operation) {
        using enum Operation;
        case ADD: case OR: case ADC: case SBB: case AND: case SUB: case XOR: case CMP: case TEST:
            return binary_operation();
        case NOT: case NEG: case INC: case DEC: return unary_operation();
        case ROL: case ROR: case RCL: case RCR: case SHL: case SHR: case SAL: case SAR: return shift_operation();
        case SHLD: case SHRD: return double_shift_operation();
        case MUL: case IMUL: return multiply_accumulator();
        case IMUL_TO: return multiply_to();
        case DIV: case IDIV: return divide_accumulator();
        case BSF: case BSR: case POPCNT: return scan_bits();
        case BT: case BTS: case BTR: case BTC: return bit_operation();
        case MOV:
            if (insn_.destination.kind == Kind::segment) return move_to_segment();
            return move();
        case MOVBE: case MOVZX: case MOVSX: return move();
        case CMOV: return conditional_move();
        case SET: return set_condition();
        case XCHG: return exchange();
        case XADD: return exchange_add();
        case CMPXCHG: return compare_exchange();
        case CMPXCHG8B: return compare_exchange_wide();
        case XLAT: return table_lookup();
        case BOUND: return bound();
        case PUSH: return push();
        case POP: return pop();
        case PUSHA: return push_all();
        case POPA: return pop_all();
        case PUSHF: return push_flags();
        case POPF: return pop_flags();
        case ENTER: return enter();
        case LEAVE: return leave();
        case CALL: case JMP: return branch();
        case RET: return return_near();
        case CALL_FAR: case JMP_FAR: return branch_far();
        case LOAD_FAR: return load_far();
        case SLDT: case STR: case SMSW: return store_system();
        case LLDT: return load_ldtr();
        case LTR: return load_tr();
        case LMSW: return load_machine_status();
        case TOUCH: {
            const auto located = locate(Access::Kind::read, 1);
            if (!located) return std::unexpected(located.error());
            return {};
        }
        case MMX_LOAD: case MMX_STORE: return mmx_move();
        case SSE_LOAD: case SSE_MERGE: case SSE_STORE: return sse_move();
        default: return unsupported();
    }
}

std::uint64_t Execution::next_rip() const {
    const std::uint64_t next = cpu_.rip() + insn_.length;
    return code_ == CodeSize::bits64 ? next : next & 0xffffffff;
}

void Execution::set_flags(std::uint64_t rflags) {
    if (rflags != cpu_.rflags()) cpu_.set_rflags(rflags);
}

std::uint64_t Execution::effective_address() const {
    const MemoryOperand& m = insn_.memory;
    auto address = static_cast<std::uint64_t>(m.displacement);
    if (m.rip_relative) address += next_rip();
    if (m.base) address += cpu_.gpr(*m.base);
    if (m.base == Gpr::RSP) address += base_bias_;
    if (m.index) address += cpu_.gpr(*m.index) << m.shift;
    return address & mask_of(insn_.address_size);
}

Expected<Location> Execution::locate(Access::Kind kind, unsigned size, Alignment alignment) {
    return memory_.locate(insn_.memory.segment, effective_address(), size, kind,
                          insn_.aligned ? Alignment::required : alignment);
}

std::uint64_t Execution::register_value(const Operand& operand) const {
    switch (operand.kind) {
        case Kind::gpr: return cpu_.gpr(static_cast<Gpr>(operand.number)) & mask_of(operand.size);
        case Kind::high_byte: return (cpu_.gpr(static_cast<Gpr>(operand.number)) >> 8) & 0xff;
        case Kind::segment: return memory_.segment(static_cast<isa::Segment>(operand.number)).selector;
        default: return insn_.immediate & mask_of(operand.size);
    }
}

void Execution::set_register(const Operand& operand, std::uint64_t value) {
    const auto r = static_cast<Gpr>(operand.number);
    if (operand.kind == Kind::high_byte)
        return cpu_.set_gpr(r, (cpu_.gpr(r) & ~0xff00ull) | (value & 0xff) << 8);
    set_address_register(r, operand.size, value);
}

// A 32-bit result clears the upper half, a smaller one keeps the rest (SDM volume 1, 3.4.1.1).
void Execution::set_address_register(Gpr r, unsigned size, std::uint64_t value) {
    const std::uint64_t mask = mask_of(size);
    cpu_.set_gpr(r, size >= 4 ? value & mask : (cpu_.gpr(r) & ~mask) | (value & mask));
}

Expected<std::uint64_t> Execution::value_of(const Operand& operand) {
    if (operand.kind != Kind::memory) return register_value(operand);
    const auto location = locate(Access::Kind::read, operand.size);
    if (!location) return std::unexpected(location.error());
    return memory_.read(*location);
}

Expected<std::uint64_t> Execution::destination_for_update(Location& location) {
    const Operand& to = insn_.destination;
    if (to.kind != Kind::memory) return register_value(to);
    const auto located = locate(Access::Kind::write, to.size);
    if (!located) return std::unexpected(located.error());
    location = *located;
    return memory_.read(location);
}

Expected<void> Execution::store(const Operand& operand, const Location& location, std::uint64_t value) {
    if (operand.kind == Kind::memory) return memory_.write(location, value);
    set_register(operand, value);
    return {};
}

Expected<void> Execution::modify(const AluResult& result, const Location& location) {
    const auto stored = store(insn_.destination, location, result.value);
    if (stored) set_flags(result.rflags);
    return stored;
}

Expected<void> Execution::binary_operation() {
    const bool compares = insn_.operation == Operation::CMP || insn_.operation == Operation::TEST;
    Location location{};
    const auto a = compares ? value_of(insn_.destination) : destination_for_update(location);
    if (!a) return std::unexpected(a.error());
    const auto b = value_of(insn_.source);
    if (!b) return std::unexpected(b.error());
    const AluResult result = binary(insn_.operation, insn_.operand_size, *a, *b, cpu_.rflags());
    if (!compares) return modify(result, location);
    set_flags(result.rflags);
    return {};
}

Expected<void> Execution::unary_operation() {
    Location location{};
    const auto a = destination_for_update(location);
    if (!a) return std::unexpected(a.error());
    return modify(unary(insn_.operation, insn_.operand_size, *a, cpu_.rflags()), location);
}

Expected<void> Execution::shift_operation() {
    Location location{};
    const auto a = destination_for_update(location);
    if (!a) return std::unexpected(a.error());
    const std::uint64_t count = register_value(insn_.source);
    return modify(shift(insn_.operation, insn_.operand_size, *a, count, cpu_.rflags()), location);
}

Expected<void> Execution::double_shift_operation() {
    Location location{};
    const auto a = destination_for_update(location);
    if (!a) return std::unexpected(a.error());
    return modify(double_shift(insn_.operation, insn_.operand_size, *a, register_value(insn_.source),
                               register_value(insn_.count), cpu_.rflags()),
                  location);
}

// With a register as the offset, memory is a string of bits around the address (SDM volume 2, 3.1.1.9 and BT).
Expected<void> Execution::bit_operation() {
    const unsigned size = insn_.operand_size;
    const Operand& to = insn_.destination;
    const std::uint64_t bit = register_value(insn_.source);
    const bool writes = insn_.operation != Operation::BT;
    Location location{};
    std::uint64_t value = 0;
    if (to.kind == Kind::memory) {
        std::uint64_t address = effective_address();
        if (insn_.source.kind == Kind::gpr) {
            const auto offset = static_cast<std::int64_t>(sign_extend(bit, size));
            const int width = size == 8 ? 6 : size == 4 ? 5 : 4;
            address = (address + static_cast<std::uint64_t>(offset >> width) * size) & mask_of(insn_.address_size);
        }
        const auto located = memory_.locate(insn_.memory.segment, address, size,
                                            writes ? Access::Kind::write : Access::Kind::read);
        if (!located) return std::unexpected(located.error());
        location = *located;
        const auto read = memory_.read(location);
        if (!read) return std::unexpected(read.error());
        value = *read;
    } else {
        value = register_value(to);
    }
    const AluResult result = bit_test(insn_.operation, size, value, bit, cpu_.rflags());
    if (writes) return modify(result, location);
    set_flags(result.rflags);
    return {};
}

}  // namespace bulkhead::guest::emulator
