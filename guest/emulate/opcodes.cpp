// SPDX-License-Identifier: Apache-2.0
#include "guest/emulate/opcodes.hpp"

#include <array>

namespace bulkhead::guest::emulator {

namespace {

using enum Operation;

constexpr Operation nth(Operation first, unsigned n) {
    return static_cast<Operation>(static_cast<unsigned>(first) + n);
}

// An opcode pair: even for bytes, odd for the operand size.
constexpr void pair(std::array<Row, 256>& table, unsigned opcode, Operation operation, Form form,
                    Group group = Group::none) {
    table[opcode] = {operation, form, Width::b, group};
    table[opcode + 1] = {operation, form, Width::v, group};
}

constexpr auto one_byte = [] {
    std::array<Row, 256> t{};
    for (unsigned n = 0; n < 8; ++n) {
        pair(t, 8 * n, nth(ADD, n), Form::rm_r);
        pair(t, 8 * n + 2, nth(ADD, n), Form::r_rm);
        pair(t, 8 * n + 4, nth(ADD, n), Form::acc_imm);
        t[0x40 + n] = {INC, Form::o};
        t[0x48 + n] = {DEC, Form::o};
        t[0x50 + n] = {PUSH, Form::o, Width::stack};
        t[0x58 + n] = {POP, Form::o, Width::stack};
        if (n < 4) {
            t[8 * n + 6] = {PUSH, Form::seg, Width::stack};
            if (n != 1) t[8 * n + 7] = {POP, Form::seg, Width::stack};
        }
        if (n != 0) t[0x90 + n] = {XCHG, Form::acc_o};  // 90h is NOP and PAUSE
        t[0xb0 + n] = {MOV, Form::o_imm, Width::b};
        t[0xb8 + n] = {MOV, Form::o_imm};
    }
    t[0x60] = {PUSHA, Form::implied};
    t[0x61] = {POPA, Form::implied};
    t[0x62] = {BOUND, Form::bound};
    t[0x63] = {MOVSX, Form::r_rm, Width::from_d};
    t[0x68] = {PUSH, Form::imm, Width::stack};
    t[0x69] = {IMUL_TO, Form::r_rm_imm};
    t[0x6a] = {PUSH, Form::imm8, Width::stack};
    t[0x6b] = {IMUL_TO, Form::r_rm_imm8};
    pair(t, 0x6c, INS, Form::string);
    pair(t, 0x6e, OUTS, Form::string);
    pair(t, 0x80, NONE, Form::rm_imm, Group::g1);
    t[0x83] = {NONE, Form::rm_imm8, Width::v, Group::g1};
    pair(t, 0x84, TEST, Form::rm_r);
    pair(t, 0x86, XCHG, Form::rm_r);
    pair(t, 0x88, MOV, Form::rm_r);
    pair(t, 0x8a, MOV, Form::r_rm);
    t[0x8c] = {MOV, Form::rm_seg};
    t[0x8e] = {MOV, Form::seg_rm};
    t[0x8f] = {NONE, Form::rm, Width::stack, Group::g1a};
    t[0x9c] = {PUSHF, Form::implied, Width::stack};
    t[0x9d] = {POPF, Form::implied, Width::stack};
    pair(t, 0xa0, MOV, Form::acc_moffs);
    pair(t, 0xa2, MOV, Form::moffs_acc);
    pair(t, 0xa4, MOVS, Form::string);
    pair(t, 0xa6, CMPS, Form::string);
    pair(t, 0xa8, TEST, Form::acc_imm);
    pair(t, 0xaa, STOS, Form::string);
    pair(t, 0xac, LODS, Form::string);
    pair(t, 0xae, SCAS, Form::string);
    pair(t, 0xc0, NONE, Form::rm_imm8, Group::g2);
    t[0xc2] = {RET, Form::imm16, Width::near_};
    t[0xc3] = {RET, Form::implied, Width::near_};
    t[0xc4] = t[0xc5] = {LOAD_FAR, Form::r_far};
    pair(t, 0xc6, NONE, Form::rm_imm, Group::g11);
    t[0xc8] = {ENTER, Form::enter, Width::stack};
    t[0xc9] = {LEAVE, Form::implied, Width::stack};
    pair(t, 0xd0, NONE, Form::rm_one, Group::g2);
    pair(t, 0xd2, NONE, Form::rm_cl, Group::g2);
    t[0xd7] = {XLAT, Form::xlat, Width::b};
    t[0xe8] = {CALL, Form::relative, Width::near_};
    pair(t, 0xf6, NONE, Form::rm, Group::g3);
    t[0xfe] = {NONE, Form::rm, Width::b, Group::g4};
    t[0xff] = {NONE, Form::rm, Width::v, Group::g5};
    return t;
}();

constexpr auto two_byte = [] {
    std::array<Row, 256> t{};
    t[0x00] = {NONE, Form::rm_word, Width::v, Group::g6};
    t[0x01] = {NONE, Form::rm_word, Width::v, Group::g7};
    for (unsigned opcode : {0x10, 0x11, 0x12, 0x13, 0x16, 0x17, 0x28, 0x29, 0x2b, 0x6e, 0x6f, 0x7e, 0x7f, 0xd6, 0xe7,
                            0xf0})
        t[opcode] = {NONE, Form::sse};
    for (unsigned n = 0; n < 16; ++n) {
        t[0x40 + n] = {CMOV, Form::r_rm};
        t[0x90 + n] = {SET, Form::rm, Width::b};
    }
    t[0xa0] = t[0xa8] = {PUSH, Form::seg, Width::stack};
    t[0xa1] = t[0xa9] = {POP, Form::seg, Width::stack};
    for (unsigned n = 0; n < 4; ++n) t[0xa3 + 8 * n] = {nth(BT, n), Form::rm_r};
    t[0xa4] = {SHLD, Form::rm_r_imm8};
    t[0xa5] = {SHLD, Form::rm_r_cl};
    t[0xac] = {SHRD, Form::rm_r_imm8};
    t[0xad] = {SHRD, Form::rm_r_cl};
    t[0xae] = {NONE, Form::touch, Width::b, Group::g15};
    t[0xaf] = {IMUL_TO, Form::r_rm};
    pair(t, 0xb0, CMPXCHG, Form::rm_r);
    t[0xb2] = t[0xb4] = t[0xb5] = {LOAD_FAR, Form::r_far};
    t[0xb6] = {MOVZX, Form::r_rm, Width::from_b};
    t[0xb7] = {MOVZX, Form::r_rm, Width::from_w};
    t[0xb8] = {POPCNT, Form::r_rm};
    t[0xba] = {NONE, Form::rm_imm8, Width::v, Group::g8};
    t[0xbc] = {BSF, Form::r_rm};
    t[0xbd] = {BSR, Form::r_rm};
    t[0xbe] = {MOVSX, Form::r_rm, Width::from_b};
    t[0xbf] = {MOVSX, Form::r_rm, Width::from_w};
    pair(t, 0xc0, XADD, Form::rm_r);
    t[0xc3] = {MOV, Form::movnti};
    t[0xc7] = {NONE, Form::rm, Width::v, Group::g9};
    return t;
}();

using Kind = Operand::Kind;
constexpr SseRow sse_rows[] = {
    {SsePrefix::np, 0x10, SSE_LOAD, 16, Kind::xmm, Kind::xmm, false},    // MOVUPS
    {SsePrefix::p66, 0x10, SSE_LOAD, 16, Kind::xmm, Kind::xmm, false},   // MOVUPD
    {SsePrefix::pf3, 0x10, SSE_LOAD, 4, Kind::xmm, Kind::none, false},   // MOVSS
    {SsePrefix::pf2, 0x10, SSE_LOAD, 8, Kind::xmm, Kind::none, false},   // MOVSD
    {SsePrefix::np, 0x11, SSE_STORE, 16, Kind::xmm, Kind::xmm, false},
    {SsePrefix::p66, 0x11, SSE_STORE, 16, Kind::xmm, Kind::xmm, false},
    {SsePrefix::pf3, 0x11, SSE_STORE, 4, Kind::xmm, Kind::none, false},
    {SsePrefix::pf2, 0x11, SSE_STORE, 8, Kind::xmm, Kind::none, false},
    {SsePrefix::np, 0x12, SSE_MERGE, 8, Kind::xmm, Kind::none, false},   // MOVLPS
    {SsePrefix::p66, 0x12, SSE_MERGE, 8, Kind::xmm, Kind::none, false},  // MOVLPD
    {SsePrefix::np, 0x13, SSE_STORE, 8, Kind::xmm, Kind::none, false},
    {SsePrefix::p66, 0x13, SSE_STORE, 8, Kind::xmm, Kind::none, false},
    {SsePrefix::np, 0x16, SSE_MERGE, 8, Kind::xmm_high, Kind::none, false},   // MOVHPS
    {SsePrefix::p66, 0x16, SSE_MERGE, 8, Kind::xmm_high, Kind::none, false},  // MOVHPD
    {SsePrefix::np, 0x17, SSE_STORE, 8, Kind::xmm_high, Kind::none, false},
    {SsePrefix::p66, 0x17, SSE_STORE, 8, Kind::xmm_high, Kind::none, false},
    {SsePrefix::np, 0x28, SSE_LOAD, 16, Kind::xmm, Kind::xmm, true},     // MOVAPS
    {SsePrefix::p66, 0x28, SSE_LOAD, 16, Kind::xmm, Kind::xmm, true},    // MOVAPD
    {SsePrefix::np, 0x29, SSE_STORE, 16, Kind::xmm, Kind::xmm, true},
    {SsePrefix::p66, 0x29, SSE_STORE, 16, Kind::xmm, Kind::xmm, true},
    {SsePrefix::np, 0x2b, SSE_STORE, 16, Kind::xmm, Kind::none, true},   // MOVNTPS
    {SsePrefix::p66, 0x2b, SSE_STORE, 16, Kind::xmm, Kind::none, true},  // MOVNTPD
    {SsePrefix::p66, 0x6e, SSE_LOAD, 0, Kind::xmm, Kind::gpr, false},    // MOVD, MOVQ
    {SsePrefix::p66, 0x7e, SSE_STORE, 0, Kind::xmm, Kind::gpr, false},
    {SsePrefix::pf3, 0x7e, SSE_LOAD, 8, Kind::xmm, Kind::xmm, false},    // MOVQ
    {SsePrefix::p66, 0xd6, SSE_STORE, 8, Kind::xmm, Kind::xmm, false},
    {SsePrefix::p66, 0x6f, SSE_LOAD, 16, Kind::xmm, Kind::xmm, true},    // MOVDQA
    {SsePrefix::pf3, 0x6f, SSE_LOAD, 16, Kind::xmm, Kind::xmm, false},   // MOVDQU
    {SsePrefix::p66, 0x7f, SSE_STORE, 16, Kind::xmm, Kind::xmm, true},
    {SsePrefix::pf3, 0x7f, SSE_STORE, 16, Kind::xmm, Kind::xmm, false},
    {SsePrefix::p66, 0xe7, SSE_STORE, 16, Kind::xmm, Kind::none, true},  // MOVNTDQ
    {SsePrefix::pf2, 0xf0, SSE_LOAD, 16, Kind::xmm, Kind::none, false},  // LDDQU
    {SsePrefix::np, 0x6e, MMX_LOAD, 0, Kind::mm, Kind::gpr, false},      // MOVD, MOVQ
    {SsePrefix::np, 0x7e, MMX_STORE, 0, Kind::mm, Kind::gpr, false},
    {SsePrefix::np, 0x6f, MMX_LOAD, 8, Kind::mm, Kind::mm, false},       // MOVQ
    {SsePrefix::np, 0x7f, MMX_STORE, 8, Kind::mm, Kind::mm, false},
    {SsePrefix::np, 0xe7, MMX_STORE, 8, Kind::mm, Kind::none, false},    // MOVNTQ
};

Row group3(Row row, std::uint8_t reg) {
    constexpr Operation members[8] = {TEST, TEST, NOT, NEG, MUL, IMUL, DIV, IDIV};
    row.operation = members[reg];
    if (row.operation == TEST) row.form = Form::rm_imm;  // the only member with an immediate
    return row;
}

Row group5(Row row, std::uint8_t reg) {
    switch (reg) {
        case 0: return {INC, Form::rm, Width::v};
        case 1: return {DEC, Form::rm, Width::v};
        case 2: return {CALL, Form::rm, Width::near_};
        case 3: return {CALL_FAR, Form::far};
        case 4: return {JMP, Form::rm, Width::near_};
        case 5: return {JMP_FAR, Form::far};
        case 6: return {PUSH, Form::rm, Width::stack};
        default: return row;
    }
}

// Some are another instruction there (VEX, EVEX), the others raise #UD.
bool absent_in_64_bit_mode(std::uint8_t opcode) {
    switch (opcode) {
        case 0x06: case 0x07: case 0x0e: case 0x16: case 0x17: case 0x1e: case 0x1f: case 0x60: case 0x61: case 0x62:
        case 0xc4: case 0xc5: return true;
        default: return false;
    }
}

}  // namespace

Row opcode_row(OpcodeMap map, std::uint8_t opcode, CodeSize code) {
    if (map == OpcodeMap::three_byte_38)
        return opcode == 0xf0 || opcode == 0xf1 ? Row{MOVBE, Form::movbe} : Row{};
    if (map == OpcodeMap::two_byte) return two_byte[opcode];
    if (opcode == 0x63 && code != CodeSize::bits64) return {};  // ARPL
    if (code == CodeSize::bits64 && absent_in_64_bit_mode(opcode)) return {};
    return one_byte[opcode];
}

Row group_row(Row row, std::uint8_t reg) {
    switch (row.group) {
        case Group::none: break;
        case Group::g1: row.operation = nth(ADD, reg); break;
        case Group::g2: row.operation = nth(ROL, reg); break;
        case Group::g1a: row.operation = reg == 0 ? POP : NONE; break;
        case Group::g11: row.operation = reg == 0 ? MOV : NONE; break;
        case Group::g3: return group3(row, reg);
        case Group::g4: row.operation = reg == 0 ? INC : reg == 1 ? DEC : NONE; break;
        case Group::g5: return group5(row, reg);
        case Group::g6: row.operation = reg < 4 ? nth(SLDT, reg) : NONE; break;
        case Group::g7: row.operation = reg == 4 ? SMSW : reg == 6 ? LMSW : NONE; break;
        case Group::g8: row.operation = reg >= 4 ? nth(BT, reg - 4u) : NONE; break;
        case Group::g9: row.operation = reg == 1 ? CMPXCHG8B : NONE; break;
        case Group::g15: row.operation = reg >= 6 ? TOUCH : NONE; break;
    }
    return row;
}

const SseRow* sse_row(SsePrefix prefix, std::uint8_t opcode) {
    for (const SseRow& row : sse_rows)
        if (row.prefix == prefix && row.opcode == opcode) return &row;
    return nullptr;
}

}  // namespace bulkhead::guest::emulator
