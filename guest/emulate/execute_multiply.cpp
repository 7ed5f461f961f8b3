// SPDX-License-Identifier: Apache-2.0
// Multiplication, division, bit counts, and what else reads memory and writes registers.
#include "guest/emulate/execute.hpp"

namespace bulkhead::guest::emulator {

namespace {

using isa::Gpr;
using Kind = Operand::Kind;

}  // namespace

// The double-width register is DX:AX and its kind, or AX for bytes.
Expected<void> Execution::multiply_accumulator() {
    const unsigned size = insn_.operand_size;
    const auto factor = value_of(insn_.destination);
    if (!factor) return std::unexpected(factor.error());
    const Product product =
        multiply(insn_.operation == Operation::IMUL, size, cpu_.gpr(Gpr::RAX), *factor, cpu_.rflags());
    if (size == 1) {
        set_address_register(Gpr::RAX, 2, product.high << 8 | product.low);
    } else {
        set_address_register(Gpr::RAX, size, product.low);
        set_address_register(Gpr::RDX, size, product.high);
    }
    set_flags(product.rflags);
    return {};
}

Expected<void> Execution::multiply_to() {
    const auto factor = value_of(insn_.source);
    if (!factor) return std::unexpected(factor.error());
    const std::uint64_t other = register_value(insn_.count.kind == Kind::none ? insn_.destination : insn_.count);
    const Product product = multiply(true, insn_.operand_size, *factor, other, cpu_.rflags());
    set_register(insn_.destination, product.low);
    set_flags(product.rflags);
    return {};
}

Expected<void> Execution::divide_accumulator() {
    const unsigned size = insn_.operand_size;
    const auto divisor = value_of(insn_.destination);
    if (!divisor) return std::unexpected(divisor.error());
    const std::uint64_t rax = cpu_.gpr(Gpr::RAX);
    const std::uint64_t high = size == 1 ? rax >> 8 : cpu_.gpr(Gpr::RDX);
    const auto result = divide(insn_.operation == Operation::IDIV, size, high, rax, *divisor);
    if (!result) return stop({isa::Exception::DE, std::nullopt, 0});
    if (size == 1) {
        set_address_register(Gpr::RAX, 2, result->remainder << 8 | result->quotient);
    } else {
        set_address_register(Gpr::RAX, size, result->quotient);
        set_address_register(Gpr::RDX, size, result->remainder);
    }
    return {};
}

// With a source of zero, BSF and BSR leave the destination alone, as processors do.
Expected<void> Execution::scan_bits() {
    const auto value = value_of(insn_.source);
    if (!value) return std::unexpected(value.error());
    const AluResult result = bit_scan(insn_.operation, insn_.operand_size, *value, cpu_.rflags());
    if (insn_.operation == Operation::POPCNT || *value != 0) set_register(insn_.destination, result.value);
    set_flags(result.rflags);
    return {};
}

// Both bounds are signed and inclusive.
Expected<void> Execution::bound() {
    const unsigned size = insn_.operand_size;
    const auto signed_part = [size](std::uint64_t v) { return static_cast<std::int64_t>(sign_extend(v, size)); };
    std::array<Location, 2> places{};
    for (unsigned n = 0; n < 2; ++n) {
        const std::uint64_t at = (effective_address() + n * size) & mask_of(insn_.address_size);
        const auto located = memory_.locate(insn_.memory.segment, at, size, Access::Kind::read);
        if (!located) return std::unexpected(located.error());
        places[n] = *located;
    }
    const auto lower = memory_.read(places[0]);
    if (!lower) return std::unexpected(lower.error());
    const auto upper = memory_.read(places[1]);
    if (!upper) return std::unexpected(upper.error());
    const std::int64_t index = signed_part(register_value(insn_.destination));
    if (index < signed_part(*lower) || index > signed_part(*upper))
        return stop({isa::Exception::BR, std::nullopt, 0});
    return {};
}

// XLAT.
Expected<void> Execution::table_lookup() {
    const std::uint64_t rax = cpu_.gpr(Gpr::RAX);
    const std::uint64_t address = (effective_address() + (rax & 0xff)) & mask_of(insn_.address_size);
    const auto located = memory_.locate(insn_.memory.segment, address, 1, Access::Kind::read);
    if (!located) return std::unexpected(located.error());
    const auto value = memory_.read(*located);
    if (!value) return std::unexpected(value.error());
    set_address_register(Gpr::RAX, 1, *value);
    return {};
}

}  // namespace bulkhead::guest::emulator
