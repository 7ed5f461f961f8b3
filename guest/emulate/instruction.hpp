// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>

#include "arch/isa/segment.hpp"

namespace bulkhead::guest::emulator {

// The default operand size of the code segment, in bytes: CS.L and CS.D (SDM volume 3, 3.4.5).
enum class CodeSize : std::uint8_t { bits16 = 2, bits32 = 4, bits64 = 8 };

enum class Operation : std::uint8_t {
    NONE,  // not emulated
    ADD, OR, ADC, SBB, AND, SUB, XOR, CMP,  // in the order of the encoding
    ROL, ROR, RCL, RCR, SHL, SHR, SAL, SAR,  // likewise
    BT, BTS, BTR, BTC,                      // likewise
    TEST, NOT, NEG, INC, DEC,
    MUL, IMUL, DIV, IDIV,  // of the accumulator
    IMUL_TO,               // to a register; `count` is the third operand, if there is one
    BSF, BSR, POPCNT,
    SHLD, SHRD,
    MOV, MOVBE, MOVZX, MOVSX, CMOV, SET, XLAT, BOUND,
    XCHG, CMPXCHG, CMPXCHG8B, XADD,
    PUSH, POP, PUSHA, POPA, PUSHF, POPF, ENTER, LEAVE, CALL, JMP, RET,
    CALL_FAR, JMP_FAR,
    LOAD_FAR,  // LDS, LES, LSS, LFS, LGS
    SLDT, STR, LLDT, LTR, SMSW, LMSW,
    TOUCH,     // CLFLUSH and its kind: checked as a read, and nothing else
    MOVS, CMPS, STOS, LODS, SCAS, INS, OUTS,
    SSE_LOAD,   // to an XMM register, the rest of it zeroed
    SSE_MERGE,  // to a part of an XMM register, the rest of it kept
    SSE_STORE,  // from the low or the high part of an XMM register
    MMX_LOAD, MMX_STORE,
};

enum class Repeat : std::uint8_t { none, equal, not_equal };  // F3h, F2h

struct Operand {
    enum class Kind : std::uint8_t { none, gpr, high_byte, memory, immediate, segment, xmm, xmm_high, mm };
    Kind kind{Kind::none};
    std::uint8_t number{};  // of the register
    std::uint8_t size{};    // in bytes
};

// An effective address before its registers are read (SDM volume 2, 2.1.5).
struct MemoryOperand {
    isa::Segment segment{isa::Segment::DS};
    std::optional<isa::Gpr> base, index;
    std::uint8_t shift{};  // of the index
    bool rip_relative{};
    std::int64_t displacement{};
};

struct Instruction {
    Operation operation{Operation::NONE};
    std::uint8_t length{};
    std::uint8_t operand_size{4};
    std::uint8_t address_size{4};
    std::uint8_t condition{};  // of CMOVcc and SETcc
    Repeat repeat{Repeat::none};
    bool lock{};
    bool aligned{};  // a 16-byte operand that is not aligned raises #GP
    Operand destination{}, source{}, count{};
    MemoryOperand memory{};
    std::uint64_t immediate{};  // sign-extended where the instruction does it

    bool has_memory() const {
        return destination.kind == Operand::Kind::memory || source.kind == Operand::Kind::memory;
    }
};

}  // namespace bulkhead::guest::emulator
