// SPDX-License-Identifier: Apache-2.0
#include "guest/emulate/alu.hpp"

#include <bit>

namespace bulkhead::guest::emulator {

namespace {

using namespace isa::rflags;

constexpr std::uint64_t with(std::uint64_t rflags, std::uint64_t flag, bool on) {
    return on ? rflags | flag : rflags & ~flag;
}

// SF, ZF and PF from a result.
std::uint64_t result_flags(std::uint64_t rflags, unsigned size, std::uint64_t value) {
    rflags = with(rflags, SF, value & sign_of(size));
    rflags = with(rflags, ZF, value == 0);
    return with(rflags, PF, !__builtin_parity(value & 0xff));
}

AluResult add(unsigned size, std::uint64_t a, std::uint64_t b, std::uint64_t carry, std::uint64_t rflags) {
    const std::uint64_t value = (a + b + carry) & mask_of(size);
    // The carry out of each bit position (SDM volume 1, 3.4.3.1).
    const std::uint64_t carries = (a & b) | ((a | b) & ~value);
    rflags = result_flags(rflags, size, value);
    rflags = with(rflags, CF, carries & sign_of(size));
    rflags = with(rflags, AF, carries & 8);
    rflags = with(rflags, OF, (a ^ value) & (b ^ value) & sign_of(size));
    return {value, rflags};
}

AluResult subtract(unsigned size, std::uint64_t a, std::uint64_t b, std::uint64_t borrow, std::uint64_t rflags) {
    const std::uint64_t value = (a - b - borrow) & mask_of(size);
    const std::uint64_t borrows = (~a & b) | ((~a | b) & value);
    rflags = result_flags(rflags, size, value);
    rflags = with(rflags, CF, borrows & sign_of(size));
    rflags = with(rflags, AF, borrows & 8);
    rflags = with(rflags, OF, (a ^ b) & (a ^ value) & sign_of(size));
    return {value, rflags};
}

AluResult logic(unsigned size, std::uint64_t value, std::uint64_t rflags) {
    return {value, result_flags(rflags & ~(CF | OF | AF), size, value)};
}

AluResult shift_left(unsigned size, std::uint64_t a, unsigned count, std::uint64_t rflags) {
    const unsigned bits = 8 * size;
    const std::uint64_t value = (a << count) & mask_of(size);
    const bool carry = count <= bits && ((a >> (bits - count)) & 1);
    rflags = with(result_flags(rflags, size, value), CF, carry);
    return {value, with(rflags, OF, static_cast<bool>(value & sign_of(size)) != carry)};
}

AluResult shift_right(unsigned size, std::uint64_t a, unsigned count, std::uint64_t rflags) {
    const std::uint64_t value = a >> count;
    rflags = with(result_flags(rflags, size, value), CF, (a >> (count - 1)) & 1);
    // For a count of one: the sign of the operand.
    return {value, with(rflags, OF, ((value << 1) ^ value) & sign_of(size))};
}

AluResult shift_arithmetic(unsigned size, std::uint64_t a, unsigned count, std::uint64_t rflags) {
    const auto extended = static_cast<std::int64_t>(sign_extend(a, size));
    const std::uint64_t value = static_cast<std::uint64_t>(extended >> count) & mask_of(size);
    rflags = with(result_flags(rflags, size, value), CF, (extended >> (count - 1)) & 1);
    return {value, rflags & ~OF};
}

AluResult rotate(bool left, unsigned size, std::uint64_t a, unsigned count, std::uint64_t rflags) {
    const unsigned bits = 8 * size;
    const unsigned by = (left ? count : bits - count % bits) % bits;
    const std::uint64_t value = by ? ((a << by) | (a >> (bits - by))) & mask_of(size) : a;
    const bool top = value & sign_of(size);
    const bool carry = left ? value & 1 : top;
    const bool other = left ? carry : static_cast<bool>(value & (sign_of(size) >> 1));
    return {value, with(with(rflags, CF, carry), OF, top != other)};
}

AluResult rotate_through_carry(bool left, unsigned size, std::uint64_t a, unsigned count, std::uint64_t rflags) {
    const unsigned bits = 8 * size;
    bool carry = rflags & CF;
    std::uint64_t value = a;
    for (unsigned n = count % (bits + 1); n != 0; --n) {
        const bool out = value & (left ? sign_of(size) : 1);
        value = left ? (value << 1 | (carry ? 1 : 0)) & mask_of(size) : value >> 1 | (carry ? sign_of(size) : 0);
        carry = out;
    }
    const bool top = value & sign_of(size);
    const bool other = left ? carry : static_cast<bool>(value & (sign_of(size) >> 1));
    return {value, with(with(rflags, CF, carry), OF, top != other)};
}

unsigned masked_count(unsigned size, std::uint64_t count) {
    return static_cast<unsigned>(count & (size == 8 ? 63 : 31));
}

}  // namespace

AluResult binary(Operation operation, unsigned size, std::uint64_t a, std::uint64_t b, std::uint64_t rflags) {
    a &= mask_of(size);
    b &= mask_of(size);
    const std::uint64_t carry = rflags & CF;
    switch (operation) {
        using enum Operation;
        case ADD: return add(size, a, b, 0, rflags);
        case ADC: return add(size, a, b, carry, rflags);
        case SUB:
        case CMP: return subtract(size, a, b, 0, rflags);
        case SBB: return subtract(size, a, b, carry, rflags);
        case OR: return logic(size, a | b, rflags);
        case XOR: return logic(size, a ^ b, rflags);
        default: return logic(size, a & b, rflags);
    }
}

AluResult unary(Operation operation, unsigned size, std::uint64_t a, std::uint64_t rflags) {
    a &= mask_of(size);
    AluResult result{};
    switch (operation) {
        case Operation::NOT: return {~a & mask_of(size), rflags};
        case Operation::NEG: return subtract(size, 0, a, 0, rflags);
        case Operation::INC: result = add(size, a, 1, 0, rflags); break;
        default: result = subtract(size, a, 1, 0, rflags); break;
    }
    result.rflags = with(result.rflags, CF, rflags & CF);
    return result;
}

AluResult shift(Operation operation, unsigned size, std::uint64_t a, std::uint64_t count, std::uint64_t rflags) {
    a &= mask_of(size);
    const unsigned by = masked_count(size, count);
    if (by == 0) return {a, rflags};
    switch (operation) {
        using enum Operation;
        case ROL: return rotate(true, size, a, by, rflags);
        case ROR: return rotate(false, size, a, by, rflags);
        case RCL: return rotate_through_carry(true, size, a, by, rflags);
        case RCR: return rotate_through_carry(false, size, a, by, rflags);
        case SHR: return shift_right(size, a, by, rflags);
        case SAR: return shift_arithmetic(size, a, by, rflags);
        default: return shift_left(size, a, by, rflags);
    }
}

AluResult double_shift(Operation operation, unsigned size, std::uint64_t a, std::uint64_t b, std::uint64_t count,
                       std::uint64_t rflags) {
    using Wide = unsigned __int128;
    a &= mask_of(size);
    b &= mask_of(size);
    const unsigned bits = 8 * size;
    const unsigned by = masked_count(size, count);
    if (by == 0) return {a, rflags};
    const bool left = operation == Operation::SHLD;
    // A 16-bit operand has room for the bits that a count above 16 brings in again.
    const Wide high = left ? a : (size == 2 ? (Wide{a} << bits) | b : Wide{b});
    const Wide low = left ? (size == 2 ? (Wide{b} << bits) | a : Wide{b}) : a;
    const unsigned low_bits = left && size == 2 ? 2 * bits : bits;
    const Wide joined = (high << low_bits) | low;
    const unsigned drop = left ? low_bits - by : by;
    const std::uint64_t value = static_cast<std::uint64_t>(joined >> drop) & mask_of(size);
    const bool carry = left ? (joined >> (low_bits + bits - by)) & 1 : (joined >> (by - 1)) & 1;
    rflags = with(result_flags(rflags, size, value), CF, carry);
    return {value, with(rflags, OF, (value ^ a) & sign_of(size))};
}

AluResult bit_test(Operation operation, unsigned size, std::uint64_t a, std::uint64_t bit, std::uint64_t rflags) {
    a &= mask_of(size);
    const std::uint64_t mask = 1ull << (bit & (8 * size - 1));
    rflags = with(rflags, CF, a & mask);
    switch (operation) {
        case Operation::BTS: return {a | mask, rflags};
        case Operation::BTR: return {a & ~mask, rflags};
        case Operation::BTC: return {a ^ mask, rflags};
        default: return {a, rflags};
    }
}

Product multiply(bool is_signed, unsigned size, std::uint64_t a, std::uint64_t b, std::uint64_t rflags) {
    using Wide = unsigned __int128;
    const auto widen = [&](std::uint64_t v) {
        return is_signed ? static_cast<Wide>(static_cast<__int128>(static_cast<std::int64_t>(sign_extend(v, size))))
                         : Wide{v & mask_of(size)};
    };
    const Wide product = widen(a) * widen(b);
    const std::uint64_t low = static_cast<std::uint64_t>(product) & mask_of(size);
    const std::uint64_t high = static_cast<std::uint64_t>(product >> (8 * size)) & mask_of(size);
    const std::uint64_t unused = is_signed && (low & sign_of(size)) ? mask_of(size) : 0;
    rflags = result_flags(rflags & ~AF, size, low);
    return {low, high, with(with(rflags, CF, high != unused), OF, high != unused)};
}

namespace {

std::optional<Quotient> divide_unsigned(unsigned size, std::uint64_t high, std::uint64_t low, std::uint64_t divisor) {
    if (high >= divisor) return std::nullopt;  // zero, or a quotient that does not fit
    if (size == 8) {
        Quotient q{low, high};
        asm("divq %2" : "+a"(q.quotient), "+d"(q.remainder) : "r"(divisor) : "cc");
        return q;
    }
    const std::uint64_t dividend = high << (8 * size) | low;
    return Quotient{dividend / divisor, dividend % divisor};
}

}  // namespace

std::optional<Quotient> divide(bool is_signed, unsigned size, std::uint64_t high, std::uint64_t low,
                               std::uint64_t divisor) {
    const std::uint64_t mask = mask_of(size);
    high &= mask;
    low &= mask;
    divisor &= mask;
    if (!is_signed) return divide_unsigned(size, high, low, divisor);
    // By magnitudes; the quotient truncates towards zero and the remainder has the dividend's sign (SDM volume 2,
    // IDIV).
    const bool negative = high & sign_of(size);
    const bool differ = negative != static_cast<bool>(divisor & sign_of(size));
    if (negative) {
        low = (0 - low) & mask;
        high = (~high + (low == 0 ? 1 : 0)) & mask;
    }
    if (divisor & sign_of(size)) divisor = (0 - divisor) & mask;
    auto result = divide_unsigned(size, high, low, divisor);
    if (!result || result->quotient > sign_of(size) - (differ ? 0 : 1)) return std::nullopt;
    if (differ) result->quotient = (0 - result->quotient) & mask;
    if (negative) result->remainder = (0 - result->remainder) & mask;
    return result;
}

AluResult bit_scan(Operation operation, unsigned size, std::uint64_t a, std::uint64_t rflags) {
    a &= mask_of(size);
    if (operation == Operation::POPCNT) {
        const auto count = static_cast<std::uint64_t>(std::popcount(a));
        return {count, with(rflags & ~status_flags, ZF, a == 0)};
    }
    if (a == 0) return {0, rflags | ZF};
    const auto index =
        static_cast<std::uint64_t>(operation == Operation::BSF ? std::countr_zero(a) : 63 - std::countl_zero(a));
    return {index, logic(size, index, rflags).rflags & ~ZF};
}

bool condition_holds(std::uint8_t condition, std::uint64_t rflags) {
    const bool less = static_cast<bool>(rflags & SF) != static_cast<bool>(rflags & OF);
    bool holds = false;
    switch (condition >> 1) {
        case 0: holds = rflags & OF; break;
        case 1: holds = rflags & CF; break;
        case 2: holds = rflags & ZF; break;
        case 3: holds = rflags & (CF | ZF); break;
        case 4: holds = rflags & SF; break;
        case 5: holds = rflags & PF; break;
        case 6: holds = less; break;
        default: holds = less || (rflags & ZF); break;
    }
    return holds != static_cast<bool>(condition & 1);
}

}  // namespace bulkhead::guest::emulator
