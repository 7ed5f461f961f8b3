// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>

#include "arch/isa/control.hpp"
#include "guest/emulate/instruction.hpp"

// Results and flags of the integer instructions, as pure functions. Where the SDM leaves a flag undefined:
// - AND, OR, XOR, TEST clear AF; shifts and double shifts keep AF;
// - the BT family keeps OF, SF, AF and PF;
// - OF after a shift or rotate by more than one is what the rule for one gives on the last step;
// - a double shift of a 16-bit operand by more than 16 shifts the destination, source and destination in turn.
namespace bulkhead::guest::emulator {

inline constexpr std::uint64_t status_flags = isa::rflags::CF | isa::rflags::PF | isa::rflags::AF | isa::rflags::ZF |
                                              isa::rflags::SF | isa::rflags::OF;

struct AluResult {
    std::uint64_t value{};
    std::uint64_t rflags{};
};

// `size` is in bytes. Operands may have bits above it, results have none.
constexpr std::uint64_t mask_of(unsigned size) { return size >= 8 ? ~0ull : (1ull << (8 * size)) - 1; }
constexpr std::uint64_t sign_of(unsigned size) { return 1ull << (8 * size - 1); }
constexpr std::uint64_t reverse_bytes(std::uint64_t value, unsigned size) {
    return __builtin_bswap64(value) >> (64 - 8 * size);
}
constexpr std::uint64_t sign_extend(std::uint64_t value, unsigned size) {
    return ((value & mask_of(size)) ^ sign_of(size)) - sign_of(size);
}

// ADD, OR, ADC, SBB, AND, SUB, XOR, CMP, TEST. CMP and TEST give the value that is not written.
AluResult binary(Operation operation, unsigned size, std::uint64_t a, std::uint64_t b, std::uint64_t rflags);
// NOT, NEG, INC, DEC.
AluResult unary(Operation operation, unsigned size, std::uint64_t a, std::uint64_t rflags);
// ROL, ROR, RCL, RCR, SHL, SAL, SHR, SAR.
AluResult shift(Operation operation, unsigned size, std::uint64_t a, std::uint64_t count, std::uint64_t rflags);
// SHLD, SHRD.
AluResult double_shift(Operation operation, unsigned size, std::uint64_t a, std::uint64_t b, std::uint64_t count,
                       std::uint64_t rflags);
// BT, BTS, BTR, BTC on the bit `bit` modulo the operand's size.
AluResult bit_test(Operation operation, unsigned size, std::uint64_t a, std::uint64_t bit, std::uint64_t rflags);

// MUL and IMUL of `size` bytes: the product in two halves. CF and OF say that the upper half matters; of the undefined
// flags, SF, ZF and PF come from the lower half and AF is clear.
struct Product {
    std::uint64_t low{}, high{}, rflags{};
};
Product multiply(bool is_signed, unsigned size, std::uint64_t a, std::uint64_t b, std::uint64_t rflags);
// DIV and IDIV of a double-width number; none: #DE. The flags, all undefined, stay.
struct Quotient {
    std::uint64_t quotient{}, remainder{};
};
std::optional<Quotient> divide(bool is_signed, unsigned size, std::uint64_t high, std::uint64_t low,
                               std::uint64_t divisor);
// BSF, BSR, POPCNT. Of the first two, with a source of zero the value means nothing; OF, SF, AF, PF and CF, undefined,
// are as after a logical operation.
AluResult bit_scan(Operation operation, unsigned size, std::uint64_t a, std::uint64_t rflags);
// The condition of CMOVcc and SETcc (SDM volume 1, appendix B).
bool condition_holds(std::uint8_t condition, std::uint64_t rflags);

}  // namespace bulkhead::guest::emulator
