// SPDX-License-Identifier: Apache-2.0
#include "tests/differential/case.hpp"

#include <algorithm>
#include <cstring>

#include "arch/isa/control.hpp"
#include "guest/emulate/alu.hpp"

namespace bulkhead::differential {

namespace {

using namespace guest::emulator;
using isa::Gpr;
using isa::Segment;
using Kind = Operand::Kind;

constexpr std::uint64_t random_flags = isa::rflags::CF | isa::rflags::PF | isa::rflags::AF | isa::rflags::ZF |
                                       isa::rflags::SF | isa::rflags::OF | isa::rflags::DF;

bool uses_stack(Operation o) {
    switch (o) {
        using enum Operation;
        case PUSH: case POP: case PUSHA: case POPA: case PUSHF: case POPF: case ENTER: case LEAVE: case CALL: case RET:
            return true;
        default: return false;
    }
}
bool needs_alignment(const Instruction& insn) {
    return insn.aligned || (insn.operation == Operation::CMPXCHG8B && insn.operand_size == 16);
}

}  // namespace

bool is_string(Operation o) { return o >= Operation::MOVS && o <= Operation::OUTS; }
bool is_bit_string(const Instruction& insn) {
    const bool family = insn.operation >= Operation::BT && insn.operation <= Operation::BTC;
    return family && insn.source.kind == Kind::gpr;
}

// Values near the edges are as likely as others.
std::uint64_t Generator::value() {
    switch (below(4)) {
        case 0: return below(4) - 2;
        case 1: return (1ull << below(64)) - below(2);
        default: return random_();
    }
}

void Generator::put(Case& c, std::uint64_t value, unsigned size) {
    for (unsigned i = 0; i < size; ++i) c.bytes.push_back(static_cast<std::byte>(value >> (8 * i)));
}

// Prefixes, opcode, ModRM, SIB, displacement and immediate at random.
void Generator::encode(Case& c, OpcodeMap map, std::uint8_t opcode) {
    for (const unsigned prefix : {0x66, 0x3e, 0x26, 0x36, 0x2e, 0xf2, 0xf3, 0xf0}) {
        const bool overrides = prefix == 0x36 || prefix == 0x2e;
        if (chance(prefix == 0x66 ? 30 : overrides ? 4 : 10)) put(c, prefix, 1);
    }
    if (chance(15)) put(c, 0x67, 1);
    if (mode_ == Mode::long64 && chance(60)) put(c, 0x40 + below(16), 1);
    if (map != OpcodeMap::one_byte) put(c, 0x0f, 1);
    if (map == OpcodeMap::three_byte_38) put(c, 0x38, 1);
    put(c, opcode, 1);
    modrm_at_ = c.bytes.size();
    put(c, below(256), 1);
    if (std::to_integer<unsigned>(c.bytes.back()) >= 0xc0 && chance(70)) c.bytes.back() &= std::byte{0x3f};
    while (c.bytes.size() < modrm_at_ + 13) put(c, below(256), 1);
}

std::optional<Case> Generator::next(OpcodeMap map, std::uint8_t opcode) {
    Case c;
    encode(c, map, opcode);
    c.bytes.resize(std::min<std::size_t>(c.bytes.size(), longest_instruction));
    for (auto& r : c.state.gpr.gpr) r = value();
    for (auto& x : c.state.xmm) x = {random_(), random_()};
    for (auto& m : c.state.mm) m = random_();
    c.state.rflags = (random_() & random_flags) | isa::rflags::FIXED | isa::rflags::IF;
    if (chance(3)) c.state.rflags |= isa::rflags::AC;
    const auto insn = decode(c.bytes, code_size(mode_));
    if (!insn) {
        c.illegal = insn.error() == DecodeError::undefined && chance(5);
        if (!c.illegal) return std::nullopt;
    } else {
        c.insn = *insn;
        c.bytes.resize(insn->length);
        if (!runnable(c) || !choose_addresses(c)) return std::nullopt;
        choose_operands(c);
        choose_branch(c);
    }
    if (mode_ != Mode::long64)
        for (auto& r : c.state.gpr.gpr) r &= 0xffffffff;
    return c;
}

// Left out: ports, system registers, and what a process may not do to its own segments. A 16-bit branch from 64-bit or
// flat code would leave the memory of the test.
bool Generator::runnable(const Case& c) const {
    const Instruction& insn = c.insn;
    switch (insn.operation) {
        using enum Operation;
        case INS: case OUTS: case CALL_FAR: case JMP_FAR: case LOAD_FAR: case SLDT: case STR: case LLDT: case LTR:
        case SMSW: case LMSW: return false;
        case CALL: case JMP: case RET:
            if (insn.destination.kind == Kind::gpr && static_cast<Gpr>(insn.destination.number) == Gpr::RSP)
                return false;
            // Intel's processors ignore the operand-size prefix in 64-bit mode, AMD's do not.
            if (mode_ == Mode::long64 && std::ranges::find(c.bytes, std::byte{0x66}) != c.bytes.end()) return false;
            return insn.operand_size != 2 || has_own_segments(mode_);
        // MOVSXD to 16 bits reads 16 of them, but 32 on AMD's processors.
        case MOVSX: return insn.operand_size != insn.source.size;
        case PUSH: return insn.destination.kind != Kind::segment || mode_ == Mode::long64;
        case MOV: case POP: return insn.destination.kind != Kind::segment;
        default: return true;
    }
}

std::uint64_t Generator::base_of(Segment s) const {
    return has_own_segments(mode_) ? segment_of(s).base : 0;
}
const isa::SegmentRegister& Generator::segment_of(Segment s) const {
    switch (s) {
        case Segment::CS: return segments_.cs;
        case Segment::ES: return segments_.es;
        case Segment::SS: return segments_.ss;
        default: return segments_.ds;
    }
}

// An address in the data with `room` bytes on either side that belong to the test.
std::uint64_t Generator::linear_target(unsigned room) {
    const std::uint64_t first = native_.data_address();
    if (chance(25)) {  // around an edge: of the two pages, of what can be written, of what is there
        const std::uint64_t edge = chance(70) ? 1 : 1 + below(3);
        return first + edge * NativeCpu::page - below(24);
    }
    return first + room + below(NativeCpu::writable_pages * NativeCpu::page - 2 * room);
}
std::uint64_t Generator::offset_target(Segment s, unsigned room) {
    if (has_own_segments(mode_) && chance(10)) {  // around the segment's own edge
        const isa::SegmentRegister& segment = segment_of(s);
        const std::uint64_t edge = std::uint64_t{segment.limit} + 1 - below(20);
        if (segment.base + edge - native_.data_address() < NativeCpu::data_size) return edge;
    }
    return linear_target(room) - base_of(s);
}

// The part of a register that an address of this size uses.
void Generator::set(Case& c, Gpr r, std::uint64_t value, unsigned size) {
    std::uint64_t& reg = c.state.gpr[r];
    const std::uint64_t mask = mask_of(size);
    reg = (reg & ~mask) | (value & mask);
}

bool Generator::choose_addresses(Case& c) {
    const Instruction& insn = c.insn;
    if (uses_stack(insn.operation)) {
        set(c, Gpr::RSP, offset_target(Segment::SS, 300), 8);
        if (insn.operation == Operation::ENTER || insn.operation == Operation::LEAVE)
            set(c, Gpr::RBP, offset_target(Segment::SS, 300), 8);
    }
    // Flat code reaches nothing of the test with 16 bits.
    if (mode_ == Mode::flat32 && insn.address_size == 2) return false;
    if (is_string(insn.operation)) {
        set(c, Gpr::RSI, offset_target(insn.memory.segment, 300), insn.address_size);
        set(c, Gpr::RDI, offset_target(Segment::ES, 300), insn.address_size);
        if (insn.repeat != Repeat::none) set(c, Gpr::RCX, below(20), insn.address_size);
        return true;
    }
    if (!insn.has_memory()) return true;
    // A process has FS for its own, and in flat code CS and ES are like DS.
    if (insn.memory.segment == Segment::FS || insn.memory.segment == Segment::GS) return false;
    return solve(c);
}

std::uint64_t Generator::effective(const Case& c) const {
    const MemoryOperand& m = c.insn.memory;
    auto address = static_cast<std::uint64_t>(m.displacement);
    if (m.rip_relative) address += native_.code_address() + c.insn.length;
    if (m.base) address += c.state.gpr[*m.base];
    if (m.index) address += c.state.gpr[*m.index] << m.shift;
    if (c.insn.operation == Operation::XLAT) address += c.state.gpr[Gpr::RAX] & 0xff;
    return address & mask_of(c.insn.address_size);
}

// Makes the effective address one in the data. The stack pointer, where it is used as such, stays.
bool Generator::solve(Case& c) {
    const Instruction& insn = c.insn;
    const MemoryOperand& m = insn.memory;
    const unsigned size = insn.address_size;
    std::uint64_t wanted = offset_target(m.segment, 300);
    if (needs_alignment(insn) && !chance(3)) wanted = ((wanted + base_of(m.segment)) & ~15ull) - base_of(m.segment);
    if (is_bit_string(insn)) {
        const auto offset = static_cast<Gpr>(insn.source.number);
        if (offset == m.base || offset == m.index) return false;
        c.state.gpr[offset] = below(4000) - 2000;
    }
    const bool stack = uses_stack(insn.operation);
    if (m.base && !(stack && (m.base == Gpr::RSP))) {
        if (m.base == m.index) return false;
        set(c, *m.base, c.state.gpr[*m.base] + wanted - effective(c), size);
    } else if (m.index && !m.base) {
        const std::uint64_t rest = wanted - static_cast<std::uint64_t>(m.displacement);
        if ((rest & ((1ull << m.shift) - 1)) != 0 && needs_alignment(insn)) return false;
        if ((rest & mask_of(size)) != rest) return false;
        set(c, *m.index, rest >> m.shift, size);
    } else if (!m.base) {
        const bool moffs = insn.operation == Operation::MOV &&
                           (static_cast<unsigned>(c.bytes[modrm_at_ - 1]) & 0xfc) == 0xa0 &&
                           (modrm_at_ < 2 || c.bytes[modrm_at_ - 2] != std::byte{0x0f});
        const bool sib = size != 2 && (std::to_integer<unsigned>(c.bytes[modrm_at_]) & 7) == 4;
        const std::uint64_t value = m.rip_relative ? wanted - native_.code_address() - insn.length : wanted;
        const std::size_t at = moffs ? modrm_at_ : modrm_at_ + (sib ? 2 : 1);
        std::memcpy(c.bytes.data() + at, &value, moffs || size == 2 ? size : 4u);
        c.insn = *decode(c.bytes, code_size(mode_));
    } else if (m.index || static_cast<std::uint64_t>(m.displacement + 128) > 255) {
        return false;
    }
    // What came out may still be elsewhere, where registers are shared: then it is another instruction's turn.
    const std::uint64_t linear = effective(c) + base_of(m.segment) - native_.data_address();
    return linear + 300 < NativeCpu::data_size + 400;
}

void Generator::choose_operands(Case& c) {
    using enum Operation;
    const Instruction& insn = c.insn;
    switch (insn.operation) {
        // Half find what they compare with.
        case CMPXCHG: case CMPXCHG8B: {
            if (insn.destination.kind != Kind::memory || chance(50)) return;
            const auto uses = [&](Gpr r) { return insn.memory.base == r || insn.memory.index == r; };
            if (uses(Gpr::RAX) || uses(Gpr::RDX)) return;
            const std::uint64_t offset = effective(c) + base_of(insn.memory.segment) - native_.data_address();
            if (offset + 16 > NativeCpu::data_size) return;
            const unsigned half = insn.operation == CMPXCHG ? insn.operand_size : insn.operand_size / 2u;
            const auto* at = reinterpret_cast<const std::byte*>(native_.data_address() + offset);
            std::memcpy(&c.state.gpr[Gpr::RAX], at, half);
            if (insn.operation == CMPXCHG8B) std::memcpy(&c.state.gpr[Gpr::RDX], at + half, half);
            return;
        }
        // A quotient that fits, often enough.
        case DIV: case IDIV:
            if (chance(30) && choose_dividend(c)) return;
            if (insn.memory.base == Gpr::RDX || insn.memory.index == Gpr::RDX || chance(10)) return;
            if (insn.operand_size == 1 && insn.memory.base != Gpr::RAX && insn.memory.index != Gpr::RAX)
                c.state.gpr[Gpr::RAX] &= ~0xff80ull;
            if (insn.operand_size != 1) c.state.gpr[Gpr::RDX] = below(2);
            if (insn.operation == IDIV && c.state.gpr[Gpr::RDX] == 1) c.state.gpr[Gpr::RDX] = ~0ull;
            return;
        // A frame of a size that leaves the stack in the data.
        case ENTER: {
            const std::uint64_t frame = below(40) | below(32) << 16;
            std::memcpy(&c.bytes[modrm_at_], &frame, 3);
            c.insn = *decode(c.bytes, code_size(mode_));
            return;
        }
        case POPF:
            c.preset = Case::Preset{
                (c.state.gpr[Gpr::RSP] & mask_of(mode_ == Mode::segments16 ? 2 : 8)) + base_of(Segment::SS),
                (random_() & random_flags) | isa::rflags::FIXED, insn.operand_size};
            return;
        default: return;
    }
}

// A dividend whose quotient is the greatest, the least, or just beyond. False: the divisor is not known.
bool Generator::choose_dividend(Case& c) {
    const Instruction& insn = c.insn;
    const unsigned size = insn.operand_size, bits = 8 * size;
    const auto uses = [&](Gpr r) {
        return insn.memory.base == r || insn.memory.index == r ||
               (insn.destination.kind != Kind::memory && insn.destination.number == static_cast<unsigned>(r));
    };
    if (uses(Gpr::RAX) || uses(Gpr::RDX) || insn.destination.kind == Kind::high_byte) return false;
    std::uint64_t divisor = c.state.gpr.gpr[insn.destination.number];
    if (insn.destination.kind == Kind::memory) {
        const std::uint64_t offset = effective(c) + base_of(insn.memory.segment) - native_.data_address();
        if (offset + size > NativeCpu::data_size) return false;
        std::memcpy(&divisor, reinterpret_cast<const std::byte*>(native_.data_address() + offset), size);
    }
    const bool is_signed = insn.operation == Operation::IDIV;
    const auto wide = is_signed ? static_cast<__int128>(static_cast<std::int64_t>(sign_extend(divisor, size)))
                                : static_cast<__int128>(divisor & mask_of(size));
    const __int128 edge = is_signed ? (chance(50) ? -(__int128{1} << (bits - 1))
                                                  : (__int128{1} << (bits - 1)) - static_cast<int>(below(2)))
                                    : (__int128{1} << bits) - 1;
    const auto dividend = static_cast<unsigned __int128>(edge) * static_cast<unsigned __int128>(wide) + below(5) - 2;
    const auto low = static_cast<std::uint64_t>(dividend),
               high = static_cast<std::uint64_t>(dividend >> (bits == 64 ? 64 : bits));
    if (size == 1) {
        set(c, Gpr::RAX, dividend & 0xffff, 2);
        return true;
    }
    set(c, Gpr::RAX, low, size);
    set(c, Gpr::RDX, high, size);
    return true;
}

// Branches go to the place behind the instruction.
void Generator::choose_branch(Case& c) {
    using enum Operation;
    const Instruction& insn = c.insn;
    if (insn.operation != CALL && insn.operation != JMP && insn.operation != RET) return;
    const std::uint64_t landing = native_.landing_address() - base_of(Segment::CS);
    const std::uint64_t here = native_.code_address() - base_of(Segment::CS);
    if (insn.operation == RET) {
        c.preset =
            Case::Preset{(c.state.gpr[Gpr::RSP] & mask_of(mode_ == Mode::segments16 ? 2 : 8)) + base_of(Segment::SS),
                         landing, insn.operand_size};
    } else if (insn.destination.kind == Kind::memory) {
        c.preset = Case::Preset{effective(c) + base_of(insn.memory.segment), landing, insn.operand_size};
    } else if (insn.destination.kind == Kind::immediate) {
        const std::uint64_t distance = landing - here - insn.length;
        std::memcpy(&c.bytes[modrm_at_], &distance, insn.operand_size == 2 ? 2 : 4);
        c.insn = *decode(c.bytes, code_size(mode_));
    } else {
        c.state.gpr.gpr[insn.destination.number] = landing;
    }
}

}  // namespace bulkhead::differential
