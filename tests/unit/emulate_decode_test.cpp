// SPDX-License-Identifier: Apache-2.0
// The decoder against a trusted one, over generated instructions in all three code sizes.
#include "guest/emulate/decode.hpp"

#include <Zydis/Zydis.h>
#include <gtest/gtest.h>

#include <array>
#include <iomanip>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "guest/emulate/opcodes.hpp"

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
    EXPECT_EQ(operand.size * 8u, movsxd16 ? 16u : theirs.size);
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
    const ZydisDecodedOperand* memory = memory_operand(theirs, is_string(ours->operation));
    if (is_string(ours->operation)) {
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

class Generator {
  public:
    explicit Generator(std::uint32_t seed) : random_(seed) {}

    // Prefixes, opcode of either map, and random bytes for the rest: enough for the longest encoding.
    Bytes next(OpcodeMap map, std::uint8_t opcode, CodeSize code) {
        static constexpr std::uint8_t legacy[] = {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf2, 0xf3, 0xf0};
        Bytes bytes;
        for (unsigned n = below(4); n != 0; --n) bytes.push_back(legacy[below(sizeof legacy)]);
        if (code == CodeSize::bits64 && below(2)) bytes.push_back(static_cast<std::uint8_t>(0x40 + below(16)));
        if (map == OpcodeMap::two_byte) bytes.push_back(0x0f);
        bytes.push_back(opcode);
        while (bytes.size() < longest_instruction) bytes.push_back(static_cast<std::uint8_t>(random_()));
        return bytes;
    }
    unsigned below(std::size_t n) { return static_cast<unsigned>(random_() % n); }

  private:
    std::mt19937 random_;
};

TEST(EmulateDecode, AgreesWithTheReferenceDecoder) {
    Generator generate{1};
    std::size_t compared = 0;
    for (const CodeSize code : {CodeSize::bits16, CodeSize::bits32, CodeSize::bits64})
        for (const OpcodeMap map : {OpcodeMap::one_byte, OpcodeMap::two_byte})
            for (unsigned opcode = 0; opcode < 256; ++opcode) {
                if (opcode_row(map, static_cast<std::uint8_t>(opcode), code).form == Form::none) continue;
                for (unsigned n = 0; n < 300; ++n) {
                    const Bytes bytes = generate.next(map, static_cast<std::uint8_t>(opcode), code);
                    compare(bytes, code, compared);
                    ASSERT_FALSE(HasFailure()) << hex(bytes) << "code size " << static_cast<int>(code);
                }
            }
    EXPECT_GT(compared, 80'000u);
}

TEST(EmulateDecode, EveryModRmAndSib) {
    std::size_t compared = 0;
    for (const CodeSize code : {CodeSize::bits16, CodeSize::bits32, CodeSize::bits64})
        for (unsigned address = 0; address < 2; ++address)
            for (unsigned rex = 0; rex < (code == CodeSize::bits64 ? 16u : 1u); ++rex)
                for (unsigned modrm = 0; modrm < 256; ++modrm)
                    for (unsigned sib = 0; sib < 256; ++sib) {
                        if (sib != 0 && (modrm & 7) != 4) break;
                        Bytes bytes;
                        if (address) bytes.push_back(0x67);
                        if (rex) bytes.push_back(static_cast<std::uint8_t>(0x40 + rex));
                        for (const unsigned b : {0x8bu, modrm, sib, 0x81u, 0x92u, 0xa3u, 0xb4u, 0u, 0u})
                            bytes.push_back(static_cast<std::uint8_t>(b));
                        compare(bytes, code, compared);
                        ASSERT_FALSE(HasFailure()) << hex(bytes) << "code size " << static_cast<int>(code);
                    }
    EXPECT_GT(compared, 100'000u);
}

// Random bytes never crash it, and never give a length that the bytes do not have.
TEST(EmulateDecode, RandomBytes) {
    std::mt19937 random{7};
    for (unsigned n = 0; n < 300'000; ++n) {
        Bytes bytes(random() % 16);
        for (auto& b : bytes) b = static_cast<std::uint8_t>(random());
        for (const CodeSize code : {CodeSize::bits16, CodeSize::bits32, CodeSize::bits64}) {
            const auto insn = decode_bytes(bytes, code);
            ASSERT_LE(insn ? insn->length : 0u, bytes.size());
        }
    }
}

// Each shorter prefix of an instruction wants more bytes, and nothing else.
TEST(EmulateDecode, TruncatedAtEveryLength) {
    const Bytes bytes{0x65, 0x66, 0x67, 0x48, 0x81, 0x84, 0x8b, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x18};
    const auto whole = decode_bytes(bytes, CodeSize::bits64);
    ASSERT_TRUE(whole);
    EXPECT_EQ(whole->length, 15);
    for (std::size_t n = 0; n < bytes.size(); ++n) {
        const auto part = decode(std::as_bytes(std::span{bytes}.first(n)), CodeSize::bits64);
        ASSERT_FALSE(part) << n;
        EXPECT_EQ(part.error(), DecodeError::truncated) << n;
    }
}

TEST(EmulateDecode, FifteenBytesAreTheLimit) {
    Bytes bytes(13, 0x3e);
    bytes.insert(bytes.end(), {0x89, 0x03});
    EXPECT_TRUE(decode_bytes(bytes, CodeSize::bits32));
    bytes.insert(bytes.begin(), 0x3e);
    const auto longer = decode_bytes(bytes, CodeSize::bits32);
    ASSERT_FALSE(longer);
    EXPECT_EQ(longer.error(), DecodeError::too_long);
}

TEST(EmulateDecode, LockNeedsAMemoryDestinationThatIsWritten) {
    const auto error = [](Bytes bytes) { return decode_bytes(bytes, CodeSize::bits64); };
    EXPECT_TRUE(error({0xf0, 0x01, 0x03}));                                    // LOCK ADD [RBX], EAX
    EXPECT_EQ(error({0xf0, 0x03, 0x03}).error(), DecodeError::undefined);      // ADD EAX, [RBX]
    EXPECT_EQ(error({0xf0, 0x01, 0xc3}).error(), DecodeError::undefined);      // ADD EBX, EAX
    EXPECT_EQ(error({0xf0, 0x39, 0x03}).error(), DecodeError::undefined);      // CMP
    EXPECT_EQ(error({0xf0, 0x89, 0x03}).error(), DecodeError::undefined);      // MOV
    EXPECT_EQ(error({0xf0, 0x0f, 0xa3, 0x03}).error(), DecodeError::undefined);  // BT
    EXPECT_TRUE(error({0xf0, 0x0f, 0xab, 0x03}));                              // BTS
}

TEST(EmulateDecode, WhatIsNotEmulatedSaysSo) {
    for (const Bytes& bytes :
         {Bytes{0xc5, 0xfd, 0x6f, 0x03}, Bytes{0x0f, 0x01, 0x03}, Bytes{0xff, 0x1b}, Bytes{0x0f, 0x6f, 0x03},
          Bytes{0xf7, 0x23}, Bytes{0xd9, 0x03}, Bytes{0x0f, 0x0b, 0x00}}) {
        const auto insn = decode_bytes(bytes, CodeSize::bits64);
        ASSERT_FALSE(insn) << hex(bytes);
        EXPECT_EQ(insn.error(), DecodeError::unsupported) << hex(bytes);
    }
}

// A REX prefix that is not the last before the opcode has no effect (SDM volume 2, 2.2.1).
TEST(EmulateDecode, RexBeforeAnotherPrefixIsIgnored) {
    const auto insn = decode_bytes({0x48, 0x66, 0x89, 0x03}, CodeSize::bits64);
    ASSERT_TRUE(insn);
    EXPECT_EQ(insn->operand_size, 2);
}

}  // namespace
