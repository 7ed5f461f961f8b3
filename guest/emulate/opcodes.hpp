// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "guest/emulate/instruction.hpp"

namespace bulkhead::guest::emulator {

// Opcodes whose ModRM.reg selects the operation (SDM volume 2, table A-6).
enum class Group : std::uint8_t { none, g1, g1a, g2, g3, g4, g5, g6, g7, g8, g9, g11, g15 };

// Where an opcode's operands are, destination first (SDM volume 2, A.2). rm: ModRM.rm; r: ModRM.reg; acc: AL, AX, EAX
// or RAX; o: the low three bits of the opcode.
enum class Form : std::uint8_t {
    none, rm, rm_r, r_rm, rm_imm, rm_imm8, rm_one, rm_cl, rm_r_imm8, rm_r_cl, rm_seg, acc_imm, acc_moffs, moffs_acc,
    o, o_imm, acc_o, imm, imm8, imm16, relative, enter, r_rm_imm, r_rm_imm8, seg_rm, rm_word, seg, far, r_far, implied,
    xlat, touch, bound, movbe, string, movnti, sse,
};

// The size of the operands.
enum class Width : std::uint8_t {
    v,        // operand size
    b,        // a byte
    from_b,   // source a byte, destination operand size
    from_w,   // source 16 bits
    from_d,   // source 32 bits, or 16 with that operand size
    stack,    // operand size, 64 bits by default in 64-bit mode
    near_,    // a near branch: always 64 bits in 64-bit mode
};

struct Row {
    Operation operation{Operation::NONE};
    Form form{Form::none};
    Width width{Width::v};
    Group group{Group::none};
};

enum class OpcodeMap : std::uint8_t { one_byte, two_byte, three_byte_38 };

Row opcode_row(OpcodeMap map, std::uint8_t opcode, CodeSize code);
// The row for one ModRM.reg of a group.
Row group_row(Row row, std::uint8_t reg);

// Mandatory prefix of an SSE opcode.
enum class SsePrefix : std::uint8_t { np, p66, pf3, pf2 };

struct SseRow {
    SsePrefix prefix{};
    std::uint8_t opcode{};
    Operation operation{Operation::NONE};
    std::uint8_t size{};     // of the memory operand; 0: 4, or 8 with REX.W
    Operand::Kind part{Operand::Kind::xmm};      // of the register that ModRM.reg names
    Operand::Kind register_rm{Operand::Kind::xmm};  // what ModRM.rm names with mod 3; `none`: nothing that is emulated
    bool aligned{};
};

// Null when it is none of the moves.
const SseRow* sse_row(SsePrefix prefix, std::uint8_t opcode);

}  // namespace bulkhead::guest::emulator
