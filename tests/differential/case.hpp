// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <random>
#include <vector>

#include "guest/emulate/decode.hpp"
#include "guest/emulate/opcodes.hpp"
#include "tests/differential/native.hpp"

namespace bulkhead::differential {

using guest::emulator::CodeSize;
using guest::emulator::Instruction;
using guest::emulator::OpcodeMap;
using guest::emulator::Operation;

// One generated instruction with the state that it finds.
struct Case {
    std::vector<std::byte> bytes;
    Instruction insn;
    NativeState state{};
    bool illegal{};  // #UD
    // What memory gets before: the target of a branch, or flags.
    struct Preset {
        std::uint64_t linear, value;
        unsigned size;
    };
    std::optional<Preset> preset;
};

// The segments of a mode, with the CS that the code has.
struct Segments {
    isa::SegmentRegister cs, ds, es, ss;
};

constexpr CodeSize code_size(Mode mode) {
    return mode == Mode::long64 ? CodeSize::bits64 : mode == Mode::segments16 ? CodeSize::bits16 : CodeSize::bits32;
}
constexpr bool has_own_segments(Mode mode) { return mode == Mode::segments16 || mode == Mode::segments32; }

// Makes instructions whose operands lie in the data pages, near the edges of a page more often than elsewhere, and a
// few that lie beyond.
class Generator {
  public:
    Generator(const NativeCpu& native, std::uint64_t seed) : native_(native), random_(seed) {}

    void set_mode(Mode mode, const Segments& segments) {
        mode_ = mode;
        segments_ = segments;
    }
    // None: an instruction that this test cannot run.
    std::optional<Case> next(OpcodeMap map, std::uint8_t opcode);

    std::uint64_t below(std::uint64_t n) { return random_() % n; }
    bool chance(unsigned percent) { return below(100) < percent; }
    std::uint64_t random() { return random_(); }

  private:
    void put(Case& c, std::uint64_t value, unsigned size);
    void encode(Case& c, OpcodeMap map, std::uint8_t opcode);
    bool runnable(const Case& c) const;
    std::uint64_t value();
    std::uint64_t linear_target(unsigned room);
    std::uint64_t offset_target(isa::Segment s, unsigned room);
    void set(Case& c, isa::Gpr r, std::uint64_t value, unsigned size);
    bool choose_addresses(Case& c);
    bool solve(Case& c);
    std::uint64_t effective(const Case& c) const;
    std::uint64_t base_of(isa::Segment s) const;
    const isa::SegmentRegister& segment_of(isa::Segment s) const;
    bool choose_dividend(Case& c);
    void choose_operands(Case& c);
    void choose_branch(Case& c);

    const NativeCpu& native_;
    std::mt19937_64 random_;
    Mode mode_{};
    Segments segments_{};
    std::size_t modrm_at_{};
};

bool is_string(Operation o);
// Whether the offset of a bit may move the operand.
bool is_bit_string(const Instruction& insn);

}  // namespace bulkhead::differential
