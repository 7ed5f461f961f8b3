// SPDX-License-Identifier: Apache-2.0
#include "guest/emulate/decode.hpp"

#include <utility>

#include "guest/emulate/opcodes.hpp"

namespace bulkhead::guest::emulator {

namespace {

using isa::Gpr;
using isa::Segment;
using Kind = Operand::Kind;

class Decoder {
  public:
    Decoder(std::span<const std::byte> bytes, CodeSize code) : bytes_(bytes), code_(code) {}

    std::expected<Instruction, DecodeError> run();

  private:
    struct ModRm {
        std::uint8_t mod{}, reg{}, rm{};  // as encoded, without REX
    };

    std::uint8_t byte();
    std::uint64_t little_endian(unsigned size);
    std::int64_t signed_bytes(unsigned size);
    void fail(DecodeError error) {
        if (!error_) error_ = error;
    }

    void prefixes();
    bool prefix(std::uint8_t value);
    void sizes();
    void table(OpcodeMap map, std::uint8_t opcode);
    void sse(std::uint8_t opcode);
    void widths(const Row& row);
    void operands(const Row& row, std::uint8_t opcode);
    void string_operands();
    void move_segment();
    void far_pointer(std::uint8_t opcode);
    void touch();
    void move_big_endian(std::uint8_t opcode);
    void check_prefix();
    Segment segment_in(std::uint8_t opcode) const { return static_cast<Segment>((opcode >> 3) & 7); }
    void check_lock();

    void modrm();
    void address16();
    void address32();
    void sib();
    void base(std::uint8_t encoded);
    void displace(unsigned size) { insn_.memory.displacement = signed_bytes(size); }

    bool long64() const { return code_ == CodeSize::bits64; }
    bool rex(unsigned bit) const { return (rex_ >> bit) & 1; }  // 3: W, 2: R, 1: X, 0: B
    std::uint8_t extend(std::uint8_t low, unsigned bit) const {
        return static_cast<std::uint8_t>(low | (rex(bit) ? 8 : 0));
    }
    Operand general(std::uint8_t number, unsigned size) const;
    Operand rm_operand(unsigned size) const;
    Operand reg_operand(unsigned size) const { return general(extend(modrm_.reg, 2), size); }
    Operand immediate(unsigned size, unsigned encoded);

    std::span<const std::byte> bytes_;
    CodeSize code_;
    std::size_t position_{};
    Instruction insn_{};
    ModRm modrm_{};
    bool have_modrm_{};
    std::uint8_t rex_{};
    bool operand_override_{}, address_override_{};
    std::uint8_t repeat_prefix_{};
    std::optional<Segment> override_{};
    unsigned size_{}, source_size_{};
    std::optional<DecodeError> error_{};
};

std::uint8_t Decoder::byte() {
    if (position_ == longest_instruction) fail(DecodeError::too_long);
    else if (position_ == bytes_.size()) fail(DecodeError::truncated);
    if (error_) return 0;
    return std::to_integer<std::uint8_t>(bytes_[position_++]);
}

std::uint64_t Decoder::little_endian(unsigned size) {
    std::uint64_t value = 0;
    for (unsigned i = 0; i < size; ++i) value |= static_cast<std::uint64_t>(byte()) << (8 * i);
    return value;
}

std::int64_t Decoder::signed_bytes(unsigned size) {
    const unsigned unused = 64 - 8 * size;
    return static_cast<std::int64_t>(little_endian(size) << unused) >> unused;
}

std::expected<Instruction, DecodeError> Decoder::run() {
    prefixes();
    sizes();
    std::uint8_t opcode = byte();
    OpcodeMap map = OpcodeMap::one_byte;
    if (opcode == 0x0f) {
        map = OpcodeMap::two_byte;
        opcode = byte();
    }
    if (map == OpcodeMap::two_byte && opcode == 0x38) {
        map = OpcodeMap::three_byte_38;
        opcode = byte();
    }
    if (!error_) table(map, opcode);
    if (!error_) check_prefix();
    if (!error_) check_lock();
    if (error_) return std::unexpected(*error_);
    insn_.length = static_cast<std::uint8_t>(position_);
    return insn_;
}

void Decoder::prefixes() {
    while (!error_ && position_ < bytes_.size()) {
        const auto value = std::to_integer<std::uint8_t>(bytes_[position_]);
        if (prefix(value)) rex_ = 0;  // a REX prefix counts only right before the opcode (SDM volume 2, 2.2.1)
        else if (long64() && (value & 0xf0) == 0x40) rex_ = value;
        else return;
        byte();
    }
}

bool Decoder::prefix(std::uint8_t value) {
    switch (value) {
        // In 64-bit mode the overrides of CS, DS, ES and SS are ignored (SDM volume 1, 3.7.4).
        case 0x26: if (!long64()) override_ = Segment::ES; return true;
        case 0x2e: if (!long64()) override_ = Segment::CS; return true;
        case 0x36: if (!long64()) override_ = Segment::SS; return true;
        case 0x3e: if (!long64()) override_ = Segment::DS; return true;
        case 0x64: override_ = Segment::FS; return true;
        case 0x65: override_ = Segment::GS; return true;
        case 0x66: operand_override_ = true; return true;
        case 0x67: address_override_ = true; return true;
        case 0xf0: insn_.lock = true; return true;
        case 0xf2:
        case 0xf3: repeat_prefix_ = value; return true;
        default: return false;
    }
}

void Decoder::sizes() {
    unsigned operand = code_ == CodeSize::bits16 ? 2 : 4;
    if (operand_override_) operand ^= 2 ^ 4;
    if (rex(3)) operand = 8;
    unsigned address = static_cast<unsigned>(code_);
    if (address_override_) address = address == 4 ? 2 : 4;
    insn_.operand_size = static_cast<std::uint8_t>(operand);
    insn_.address_size = static_cast<std::uint8_t>(address);
}

void Decoder::table(OpcodeMap map, std::uint8_t opcode) {
    Row row = opcode_row(map, opcode, code_);
    if (row.form == Form::none) return fail(DecodeError::unsupported);
    if (row.form == Form::sse) return sse(opcode);
    if (row.group != Group::none) {
        modrm();
        if (error_) return;
        row = group_row(row, modrm_.reg);
        if (row.operation == Operation::NONE) return fail(DecodeError::unsupported);
    }
    insn_.operation = row.operation;
    if (row.operation == Operation::CMOV || row.operation == Operation::SET) insn_.condition = opcode & 0xf;
    widths(row);
    operands(row, opcode);
}

void Decoder::widths(const Row& row) {
    size_ = source_size_ = insn_.operand_size;
    switch (row.width) {
        case Width::v: break;
        case Width::b: size_ = source_size_ = 1; break;
        case Width::from_b: source_size_ = 1; break;
        case Width::from_w: source_size_ = 2; break;
        case Width::from_d: source_size_ = size_ == 2 ? 2 : 4; break;
        case Width::stack:
            if (long64() && size_ == 4) size_ = source_size_ = 8;
            break;
        case Width::near_:
            if (long64()) size_ = source_size_ = 8;
            break;
    }
    insn_.operand_size = static_cast<std::uint8_t>(size_);
}

void Decoder::operands(const Row& row, std::uint8_t opcode) {
    Operand& to = insn_.destination;
    Operand& from = insn_.source;
    const auto low = static_cast<std::uint8_t>(opcode & 7);
    const unsigned full = size_ < 4 ? size_ : 4;  // an immediate has 32 bits at most (SDM volume 2, 2.2.1.5)
    const Operand cl{Kind::gpr, static_cast<std::uint8_t>(Gpr::RCX), 1};
    switch (row.form) {
        case Form::rm: modrm(); to = rm_operand(size_); break;
        case Form::rm_r: modrm(); to = rm_operand(size_); from = reg_operand(size_); break;
        case Form::r_rm: modrm(); to = reg_operand(size_); from = rm_operand(source_size_); break;
        case Form::rm_imm: modrm(); to = rm_operand(size_); from = immediate(size_, full); break;
        case Form::rm_imm8: modrm(); to = rm_operand(size_); from = immediate(size_, 1); break;
        case Form::rm_one: modrm(); to = rm_operand(size_); from = {Kind::immediate, 0, 1}; insn_.immediate = 1; break;
        case Form::rm_cl: modrm(); to = rm_operand(size_); from = cl; break;
        case Form::rm_r_imm8:
            modrm();
            to = rm_operand(size_);
            from = reg_operand(size_);
            insn_.count = immediate(1, 1);
            break;
        case Form::rm_r_cl: modrm(); to = rm_operand(size_); from = reg_operand(size_); insn_.count = cl; break;
        case Form::rm_seg:
            modrm();
            if (modrm_.reg > 5) fail(DecodeError::undefined);
            to = rm_operand(modrm_.mod == 3 ? size_ : 2);
            from = {Kind::segment, modrm_.reg, 2};
            break;
        case Form::acc_imm: to = general(0, size_); from = immediate(size_, full); break;
        case Form::acc_moffs:
        case Form::moffs_acc:
            insn_.memory.displacement = static_cast<std::int64_t>(little_endian(insn_.address_size));
            insn_.memory.segment = override_.value_or(Segment::DS);
            to = general(0, size_);
            from = {Kind::memory, 0, static_cast<std::uint8_t>(size_)};
            if (row.form == Form::moffs_acc) std::swap(to, from);
            break;
        case Form::o: to = general(extend(low, 0), size_); break;
        case Form::o_imm: to = general(extend(low, 0), size_); from = immediate(size_, size_); break;
        case Form::acc_o: to = general(0, size_); from = general(extend(low, 0), size_); break;
        case Form::imm: to = immediate(size_, full); break;
        case Form::imm8: to = immediate(size_, 1); break;
        case Form::imm16: from = {Kind::immediate, 0, 2}; insn_.immediate = little_endian(2); break;
        case Form::relative: to = immediate(size_, size_ == 2 ? 2 : 4); break;
        case Form::enter:  // the number of bytes, and above it the nesting level
            from = {Kind::immediate, 0, 4};
            insn_.immediate = little_endian(3);
            break;
        case Form::r_rm_imm:
            modrm();
            to = reg_operand(size_);
            from = rm_operand(size_);
            insn_.count = immediate(size_, full);
            break;
        case Form::r_rm_imm8:
            modrm();
            to = reg_operand(size_);
            from = rm_operand(size_);
            insn_.count = immediate(size_, 1);
            break;
        case Form::seg: to = {Kind::segment, static_cast<std::uint8_t>(segment_in(opcode)), 2}; break;
        case Form::seg_rm: move_segment(); break;
        case Form::rm_word: modrm(); to = rm_operand(modrm_.mod == 3 ? size_ : 2); break;
        case Form::far:
        case Form::r_far: far_pointer(opcode); break;
        case Form::implied: break;
        case Form::xlat:
            insn_.memory.base = Gpr::RBX;
            insn_.memory.segment = override_.value_or(Segment::DS);
            from = {Kind::memory, 0, 1};
            break;
        case Form::touch: touch(); break;
        case Form::bound:
            modrm();
            if (modrm_.mod == 3) return fail(DecodeError::unsupported);  // EVEX
            to = reg_operand(size_);
            from = {Kind::memory, 0, static_cast<std::uint8_t>(2 * size_)};
            break;
        case Form::movbe: move_big_endian(opcode); break;
        case Form::movnti:
            modrm();
            if (modrm_.mod == 3 || operand_override_ || repeat_prefix_) fail(DecodeError::undefined);
            size_ = insn_.operand_size = rex(3) ? 8 : 4;
            to = rm_operand(size_);
            from = reg_operand(size_);
            break;
        case Form::string: string_operands(); break;
        case Form::none:
        case Form::sse: break;
    }
    if (insn_.operation == Operation::CMPXCHG8B) {
        if (modrm_.mod == 3) fail(DecodeError::undefined);
        insn_.operand_size = to.size = rex(3) ? 16 : 8;
    }
}

void Decoder::move_segment() {
    modrm();
    if (modrm_.reg > 5 || modrm_.reg == 1) return fail(DecodeError::undefined);
    insn_.destination = {Kind::segment, modrm_.reg, 2};
    insn_.source = rm_operand(2);
}

// An offset and above it a selector in memory (SDM volume 2, JMP and LDS).
void Decoder::far_pointer(std::uint8_t opcode) {
    modrm();
    const bool loads = insn_.operation == Operation::LOAD_FAR;
    // With mod 3, C4h and C5h begin a VEX prefix.
    if (modrm_.mod == 3)
        return fail(loads && opcode >= 0xc0 ? DecodeError::unsupported : DecodeError::undefined);
    insn_.source = {Kind::memory, 0, static_cast<std::uint8_t>(size_ + 2)};
    if (!loads) return;
    insn_.destination = reg_operand(size_);
    const Segment segment = opcode == 0xc4   ? Segment::ES
                            : opcode == 0xc5 ? Segment::DS
                                             : static_cast<Segment>(opcode & 7);
    insn_.count = {Kind::segment, static_cast<std::uint8_t>(segment), 2};
}

// CLFLUSH, CLFLUSHOPT, CLWB; the other prefixes make other instructions.
void Decoder::touch() {
    const bool known = modrm_.mod != 3 && !repeat_prefix_ && (modrm_.reg == 7 || operand_override_);
    if (!known) return fail(DecodeError::unsupported);
    insn_.source = {Kind::memory, 0, 1};
}

void Decoder::move_big_endian(std::uint8_t opcode) {
    if (repeat_prefix_) return fail(DecodeError::unsupported);  // CRC32
    modrm();
    if (modrm_.mod == 3) return fail(DecodeError::undefined);
    const bool store = opcode & 1;
    insn_.destination = store ? rm_operand(size_) : reg_operand(size_);
    insn_.source = store ? reg_operand(size_) : rm_operand(size_);
}

// Where a prefix makes another instruction of an opcode.
void Decoder::check_prefix() {
    switch (insn_.operation) {
        using enum Operation;
        case BSF: case BSR:  // TZCNT, LZCNT
            if (repeat_prefix_ == 0xf3) fail(DecodeError::unsupported);
            break;
        case POPCNT:
            if (repeat_prefix_ != 0xf3) fail(DecodeError::undefined);
            break;
        case SMSW: case LMSW:  // F3 with register forms: shadow stacks and others
            if (repeat_prefix_ && modrm_.mod == 3) fail(DecodeError::unsupported);
            break;
        default: break;
    }
}

void Decoder::string_operands() {
    insn_.memory.segment = override_.value_or(Segment::DS);
    if (repeat_prefix_ == 0xf3) insn_.repeat = Repeat::equal;
    if (repeat_prefix_ == 0xf2) insn_.repeat = Repeat::not_equal;
    const bool port = insn_.operation == Operation::INS || insn_.operation == Operation::OUTS;
    if (port && size_ == 8) insn_.operand_size = 4;  // there is no 64-bit port access
}

void Decoder::sse(std::uint8_t opcode) {
    const SsePrefix prefix = repeat_prefix_ == 0xf3   ? SsePrefix::pf3
                             : repeat_prefix_ == 0xf2 ? SsePrefix::pf2
                             : operand_override_      ? SsePrefix::p66
                                                      : SsePrefix::np;
    const SseRow* row = sse_row(prefix, opcode);
    if (!row) return fail(DecodeError::unsupported);
    modrm();
    const bool direct = modrm_.mod == 3;
    if (direct && row->register_rm == Kind::none) return fail(DecodeError::unsupported);
    const unsigned size = row->size ? row->size : rex(3) ? 8 : 4;
    insn_.operation = row->operation;
    insn_.operand_size = static_cast<std::uint8_t>(size);
    insn_.aligned = row->aligned;
    const Operand reg{row->part, extend(modrm_.reg, 2), static_cast<std::uint8_t>(size)};
    const Operand rm{direct ? row->register_rm : Kind::memory, extend(modrm_.rm, 0), static_cast<std::uint8_t>(size)};
    const bool store = row->operation == Operation::SSE_STORE || row->operation == Operation::MMX_STORE;
    insn_.destination = store ? rm : reg;
    insn_.source = store ? reg : rm;
}

void Decoder::check_lock() {
    if (!insn_.lock) return;
    bool lockable = false;
    switch (insn_.operation) {
        using enum Operation;
        case ADD: case OR: case ADC: case SBB: case AND: case SUB: case XOR: case NOT: case NEG: case INC: case DEC:
        case BTS: case BTR: case BTC: case XCHG: case CMPXCHG: case CMPXCHG8B: case XADD: lockable = true; break;
        default: break;
    }
    if (!lockable || insn_.destination.kind != Kind::memory) fail(DecodeError::undefined);
}

Operand Decoder::general(std::uint8_t number, unsigned size) const {
    // Without REX, the byte registers 4 to 7 are AH, CH, DH and BH (SDM volume 2, table 2-2 and 3.1.1.1).
    if (size == 1 && !rex_ && number >= 4) return {Kind::high_byte, static_cast<std::uint8_t>(number - 4), 1};
    return {Kind::gpr, number, static_cast<std::uint8_t>(size)};
}

Operand Decoder::rm_operand(unsigned size) const {
    if (modrm_.mod == 3) return general(extend(modrm_.rm, 0), size);
    return {Kind::memory, 0, static_cast<std::uint8_t>(size)};
}

Operand Decoder::immediate(unsigned size, unsigned encoded) {
    insn_.immediate = static_cast<std::uint64_t>(signed_bytes(encoded));
    return {Kind::immediate, 0, static_cast<std::uint8_t>(size)};
}

void Decoder::modrm() {
    if (have_modrm_) return;
    have_modrm_ = true;
    const std::uint8_t value = byte();
    modrm_ = {static_cast<std::uint8_t>(value >> 6), static_cast<std::uint8_t>((value >> 3) & 7),
              static_cast<std::uint8_t>(value & 7)};
    if (modrm_.mod == 3) return;
    if (insn_.address_size == 2) address16();
    else address32();
    if (override_) insn_.memory.segment = *override_;
}

// SDM volume 2, table 2-1.
void Decoder::address16() {
    MemoryOperand& m = insn_.memory;
    constexpr Gpr bases[8] = {Gpr::RBX, Gpr::RBX, Gpr::RBP, Gpr::RBP, Gpr::RSI, Gpr::RDI, Gpr::RBP, Gpr::RBX};
    if (modrm_.mod == 0 && modrm_.rm == 6) return displace(2);
    m.base = bases[modrm_.rm];
    if (modrm_.rm < 4) m.index = modrm_.rm & 1 ? Gpr::RDI : Gpr::RSI;
    if (m.base == Gpr::RBP) m.segment = Segment::SS;
    if (modrm_.mod != 0) displace(modrm_.mod);
}

// SDM volume 2, tables 2-2 and 2-7.
void Decoder::address32() {
    MemoryOperand& m = insn_.memory;
    if (modrm_.rm == 4) sib();
    else if (modrm_.rm == 5 && modrm_.mod == 0) {
        m.rip_relative = long64();
        displace(4);
    } else base(modrm_.rm);
    if (modrm_.mod == 1) displace(1);
    if (modrm_.mod == 2) displace(4);
}

void Decoder::sib() {
    MemoryOperand& m = insn_.memory;
    const std::uint8_t value = byte();
    const std::uint8_t index = extend((value >> 3) & 7, 1);
    m.shift = value >> 6;
    if (index != 4) m.index = static_cast<Gpr>(index);
    if ((value & 7) == 5 && modrm_.mod == 0) displace(4);
    else base(value & 7);
}

void Decoder::base(std::uint8_t encoded) {
    MemoryOperand& m = insn_.memory;
    m.base = static_cast<Gpr>(extend(encoded, 0));
    if (m.base == Gpr::RSP || m.base == Gpr::RBP) m.segment = Segment::SS;
}

}  // namespace

std::expected<Instruction, DecodeError> decode(std::span<const std::byte> bytes, CodeSize code) {
    return Decoder{bytes, code}.run();
}

}  // namespace bulkhead::guest::emulator
