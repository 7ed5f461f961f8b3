// SPDX-License-Identifier: Apache-2.0
// The decoder against a trusted one, over generated instructions in all three code sizes.
#include "tests/unit/emulate_reference.hpp"

#include <random>

namespace {

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
    for (const Bytes& bytes : {Bytes{0xc5, 0xfd, 0x6f, 0x03}, Bytes{0x0f, 0x01, 0x03}, Bytes{0xf3, 0x0f, 0xbc, 0x03},
                               Bytes{0x0f, 0x58, 0x03}, Bytes{0xd9, 0x03}, Bytes{0x0f, 0x0b, 0x00}}) {
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
