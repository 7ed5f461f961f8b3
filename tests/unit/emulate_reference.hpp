// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <Zydis/Zydis.h>
#include <gtest/gtest.h>

#include <array>
#include <iomanip>
#include <sstream>
#include <string>
#include <vector>

#include "guest/emulate/decode.hpp"
#include "guest/emulate/opcodes.hpp"

// What a trusted decoder makes of an instruction, held against ours.
namespace {

using namespace bulkhead;
using namespace bulkhead::guest::emulator;

using Bytes = std::vector<std::uint8_t>;

std::string hex(const Bytes& bytes) {
    std::ostringstream out;
    for (const unsigned b : bytes) out << std::hex << std::setw(2) << std::setfill('0') << b << ' ';
    return out.str();
}

std::expected<Instruction, DecodeError> decode_bytes(const Bytes& bytes, CodeSize code) {
    return decode(std::as_bytes(std::span{bytes}), code);
}

struct Reference {
    ZydisDecodedInstruction insn{};
    std::array<ZydisDecodedOperand, ZYDIS_MAX_OPERAND_COUNT> operands{};
    bool valid{};
};

Reference reference(const Bytes& bytes, CodeSize code) {
    ZydisDecoder decoder;
    switch (code) {
        case CodeSize::bits16: ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16); break;
        case CodeSize::bits32: ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32); break;
        case CodeSize::bits64: ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64); break;
    }
    Reference r;
    r.valid = ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, bytes.data(), bytes.size(), &r.insn, r.operands.data()));
    return r;
}

isa::Segment segment_of(ZydisRegister reg) {
    return static_cast<isa::Segment>(ZydisRegisterGetId(reg));
}

// An address register's number, none for RIP and for no register.
std::optional<isa::Gpr> gpr_of(ZydisRegister reg) {
    const ZyanI8 id = ZydisRegisterGetId(reg);
    if (reg == ZYDIS_REGISTER_NONE || reg == ZYDIS_REGISTER_RIP || reg == ZYDIS_REGISTER_EIP || id < 0) return {};
    return static_cast<isa::Gpr>(id);
}

// The first memory operand, if there is one: an explicit one, or any.
const ZydisDecodedOperand* memory_operand(const Reference& r, bool any = false) {
    for (unsigned i = 0; i < (any ? r.insn.operand_count : r.insn.operand_count_visible); ++i)
        if (r.operands[i].type == ZYDIS_OPERAND_TYPE_MEMORY) return &r.operands[i];
    return nullptr;
}

bool is_string(Operation o) { return o >= Operation::MOVS && o <= Operation::OUTS; }

// Zydis 4.0 takes a SIB byte without a base (mod 0, base 5) for one with R13D when REX.B is set and addresses have 32
// bits; the SDM (volume 2, table 2-5) has REX.B ignored there. The differential test asks a processor.
bool reference_misreads(const Reference& r) {
    const auto& raw = r.insn.raw;
    return r.insn.machine_mode == ZYDIS_MACHINE_MODE_LONG_64 && r.insn.address_width == 32 && raw.rex.B &&
           raw.modrm.mod == 0 && raw.modrm.rm == 4 && raw.sib.base == 5;
}

void expect_same_memory(const Instruction& ours, const Reference& r, const ZydisDecodedOperand& theirs) {
    const MemoryOperand& m = ours.memory;
    // The reference shows 3Eh before an indirect branch as NOTRACK alone; without CET it is an override of DS.
    const bool notrack = r.insn.attributes & ZYDIS_ATTRIB_HAS_NOTRACK;
    EXPECT_EQ(m.segment, notrack && m.segment == isa::Segment::DS ? m.segment : segment_of(theirs.mem.segment));
    EXPECT_EQ(m.base, gpr_of(theirs.mem.base));
    EXPECT_EQ(m.index, gpr_of(theirs.mem.index));
    EXPECT_EQ(m.rip_relative, theirs.mem.base == ZYDIS_REGISTER_RIP || theirs.mem.base == ZYDIS_REGISTER_EIP);
    if (m.index) {
        EXPECT_EQ(1u << m.shift, theirs.mem.scale);
    }
    const std::uint64_t mask = ours.address_size == 8 ? ~0ull : (1ull << (8 * ours.address_size)) - 1;
    EXPECT_EQ(static_cast<std::uint64_t>(m.displacement) & mask,
              static_cast<std::uint64_t>(theirs.mem.disp.value) & mask);
    const Operand& operand = ours.destination.kind == Operand::Kind::memory ? ours.destination : ours.source;
    // MOVSXD with a 16-bit operand reads 16 bits by the SDM, 32 by AMD's manual and the reference.
    const bool movsxd16 = r.insn.mnemonic == ZYDIS_MNEMONIC_MOVSXD && ours.operand_size == 2;
    // CLFLUSH reads no byte of the line that it names.
    const unsigned size = ours.operation == Operation::TOUCH ? operand.size * 8u : theirs.size;
    EXPECT_EQ(operand.size * 8u, movsxd16 ? 16u : size);
}

void compare(const Bytes& bytes, CodeSize code, std::size_t& compared) {
    const auto ours = decode_bytes(bytes, code);
    const Reference theirs = reference(bytes, code);
    if (!ours) {
        EXPECT_FALSE(ours.error() == DecodeError::undefined && theirs.valid);
        return;
    }
    ASSERT_TRUE(theirs.valid);
    ++compared;
    EXPECT_EQ(ours->length, theirs.insn.length);
    EXPECT_EQ(ours->address_size * 8u, theirs.insn.address_width);
    EXPECT_EQ(ours->lock, (theirs.insn.attributes & ZYDIS_ATTRIB_HAS_LOCK) != 0);
    // Their operands are not written in the instruction.
    const bool implicit = is_string(ours->operation) || ours->operation == Operation::XLAT;
    const ZydisDecodedOperand* memory = memory_operand(theirs, implicit);
    if (implicit) {
        ASSERT_TRUE(memory);
        EXPECT_EQ(ours->operand_size * 8u, memory->size);
        return;
    }
    ASSERT_EQ(ours->has_memory(), memory != nullptr);
    if (memory && !reference_misreads(theirs)) expect_same_memory(*ours, theirs, *memory);
    const auto& imm = theirs.insn.raw.imm[0];
    if (ours->source.kind == Operand::Kind::immediate && imm.size != 0) {
        const std::uint64_t mask = imm.size == 64 ? ~0ull : (1ull << imm.size) - 1;
        EXPECT_EQ(ours->immediate & mask, imm.value.u & mask);
    }
}

}  // namespace
