// SPDX-License-Identifier: Apache-2.0
// Generated instructions, executed by the emulator on a copy of memory and by the processor that runs the test.
// 64-bit code and, through a compatibility segment, 32-bit code.
#include <gtest/gtest.h>

#include <iomanip>
#include <random>
#include <sstream>

#include "guest/emulate/decode.hpp"
#include "guest/emulate/opcodes.hpp"
#include "tests/unit/emulate_fakes.hpp"
#include "tests/unit/emulate_native.hpp"

namespace {

using namespace bulkhead::guest::emulator;
using isa::Gpr;

constexpr std::uint64_t random_flags = isa::rflags::CF | isa::rflags::PF | isa::rflags::AF | isa::rflags::ZF |
                                       isa::rflags::SF | isa::rflags::OF | isa::rflags::DF;
constexpr std::uint64_t compared_flags = random_flags;
constexpr std::size_t data_size = NativeCpu::data_pages * page_size;
constexpr std::size_t margin = 512;  // what an instruction can reach around the address that was chosen for it

// Flags that the SDM leaves undefined, after an instruction with these operands.
std::uint64_t undefined_flags(const Instruction& insn, std::uint64_t count) {
    using namespace isa::rflags;
    const unsigned bits = insn.operand_size * 8u;
    count &= bits == 64 ? 63 : 31;
    switch (insn.operation) {
        using enum Operation;
        case AND: case OR: case XOR: case TEST: return AF;
        case SHL: case SAL: case SHR:
            return count == 0 ? 0 : AF | (count != 1 ? OF : 0) | (count >= bits ? CF : 0);
        case SAR: return count == 0 ? 0 : AF | (count != 1 ? OF : 0);
        case ROL: case ROR: case RCL: case RCR: return count != 1 ? OF : 0;
        case SHLD: case SHRD: return count == 0 ? 0 : AF | (count != 1 ? OF : 0);
        case BT: case BTS: case BTR: case BTC: return OF | SF | AF | PF;
        default: return 0;
    }
}

// Memory of the emulated side: the data pages, apart and in reverse order in physical memory, and the code.
struct CopyBus final : Bus {
    std::array<std::byte, data_size> data{};
    std::uint64_t data_at{}, code_at{};
    std::span<const std::byte> code{};

    std::byte* locate(std::uint64_t phys, std::size_t size) {
        const std::uint64_t first = phys - phys_base;
        if (first >= 2 * data_size || (first / page_size) % 2 || first % page_size + size > page_size)
            throw std::out_of_range("not the data");
        return data.data() + (NativeCpu::data_pages - 1 - first / page_size / 2) * page_size + first % page_size;
    }
    bool read(GuestPhys from, std::span<std::byte> to) override {
        if (from.value >= code_at && from.value < code_at + page_size) {
            const std::size_t offset = from.value - code_at;
            for (std::size_t i = 0; i < to.size(); ++i)
                to[i] = offset + i < code.size() ? code[offset + i] : std::byte{0xcc};
        } else {
            std::memcpy(to.data(), locate(from.value, to.size()), to.size());
        }
        return true;
    }
    bool write(GuestPhys to, std::span<const std::byte> from) override {
        std::memcpy(locate(to.value, from.size()), from.data(), from.size());
        return true;
    }
    static constexpr std::uint64_t phys_base = 0x7'0000'0000;
};

struct Case {
    std::vector<std::byte> bytes;
    Instruction insn;
    NativeState state{};
};

class Differential : public testing::Test {
  protected:
    explicit Differential() : random_(2024) {}

    void sweep(CodeSize code, unsigned per_opcode) {
        long_mode_ = code == CodeSize::bits64;
        code_at_ = native_.prepare(long_mode_);
        prepare();
        std::size_t executed = 0;
        for (const OpcodeMap map : {OpcodeMap::one_byte, OpcodeMap::two_byte})
            for (unsigned opcode = 0; opcode < 256; ++opcode) {
                if (opcode_row(map, static_cast<std::uint8_t>(opcode), code).form == Form::none) continue;
                if (long_mode_ && map == OpcodeMap::one_byte && (opcode & 0xf0) == 0x40) continue;  // REX
                for (unsigned n = 0; n < per_opcode; ++n) {
                    auto c = generate(map, static_cast<std::uint8_t>(opcode), code);
                    if (!c) continue;
                    execute_and_compare(*c);
                    ++executed;
                    if (failed_ || (n == 0 && HasFailure())) return;
                }
            }
        EXPECT_GT(executed, per_opcode * 100);
        std::printf("%zu instructions of %u-bit code compared\n", executed, long_mode_ ? 64 : 32);
    }

  private:
    std::uint64_t below(std::uint64_t n) { return random_() % n; }
    bool chance(unsigned percent) { return below(100) < percent; }
    std::uint64_t random_value() {
        // Values near the edges are as likely as others.
        switch (below(4)) {
            case 0: return below(4) - 2;
            case 1: return (1ull << below(64)) - below(2);
            default: return random_();
        }
    }

    void prepare() {
        for (auto& b : bus_.data) b = static_cast<std::byte>(random_());
        std::ranges::copy(bus_.data, native_.data().begin());
        bus_.code_at = code_at_;
        for (std::uint64_t i = 0; i < NativeCpu::data_pages; ++i)
            translate_.frames[native_.data_address() + i * page_size] =
                CopyBus::phys_base + (NativeCpu::data_pages - 1 - i) * 2 * page_size;
        cpu_.set_flat(long_mode_ ? 64 : 32);
        cpu_.privilege = 3;
        cpu_.at(isa::Segment::DS).selector = cpu_.at(isa::Segment::ES).selector = NativeCpu::selector_ss();
        cpu_.at(isa::Segment::SS).selector = NativeCpu::selector_ss();
        cpu_.at(isa::Segment::CS).selector = long_mode_ ? 0x33 : 0x23;
        asm("mov %%fs, %0" : "=r"(cpu_.at(isa::Segment::FS).selector));
        asm("mov %%gs, %0" : "=r"(cpu_.at(isa::Segment::GS).selector));
    }

    void push(Case& c, std::uint64_t value, unsigned size) {
        for (unsigned i = 0; i < size; ++i) c.bytes.push_back(static_cast<std::byte>(value >> (8 * i)));
    }

    // Prefixes, opcode, ModRM, SIB and displacement at random; the registers so that memory operands lie in the data.
    std::optional<Case> generate(OpcodeMap map, std::uint8_t opcode, CodeSize code) {
        Case c;
        for (const unsigned prefix : {0x66, 0x3e, 0x26, 0xf2, 0xf3, 0xf0})
            if (chance(prefix == 0x66 ? 30 : 15)) push(c, prefix, 1);
        if (long_mode_ && chance(20)) push(c, 0x67, 1);
        if (long_mode_ && chance(60)) push(c, 0x40 + below(16), 1);
        if (map == OpcodeMap::two_byte) push(c, 0x0f, 1);
        push(c, opcode, 1);
        const std::size_t modrm_at = c.bytes.size();
        push(c, below(256), 1);
        if (std::to_integer<unsigned>(c.bytes.back()) >= 0xc0 && chance(70)) c.bytes.back() &= std::byte{0x3f};
        push(c, below(256), 1);
        for (int i = 0; i < 12; ++i) push(c, below(256), 1);
        const auto limited = std::span{c.bytes}.first(std::min<std::size_t>(c.bytes.size(), longest_instruction));
        const auto insn = decode(limited, code);
        if (!insn) return std::nullopt;
        c.insn = *insn;
        c.bytes.resize(insn->length);
        if (!executable(c.insn)) return std::nullopt;
        for (auto& r : c.state.gpr.gpr) r = random_value();
        for (auto& x : c.state.xmm) x = {random_(), random_()};
        if (!choose_addresses(c, modrm_at)) return std::nullopt;
        make_comparison_equal(c);
        if (!long_mode_) for (auto& r : c.state.gpr.gpr) r &= 0xffffffff;
        c.state.rflags = (random_() & random_flags) | isa::rflags::FIXED | isa::rflags::IF;
        return c;
    }

    static bool executable(const Instruction& insn) {
        switch (insn.operation) {
            using enum Operation;
            case CALL: case JMP: case INS: case OUTS: return false;
            default: return true;
        }
    }
    static bool is_string(Operation o) { return o >= Operation::MOVS && o <= Operation::OUTS; }

    // An address with room around it.
    std::uint64_t target() { return native_.data_address() + margin + below(data_size - 2 * margin); }

    // Sets the part of a register that an address of this size uses.
    void set(Case& c, Gpr r, std::uint64_t value) {
        std::uint64_t& reg = c.state.gpr[r];
        reg = c.insn.address_size == 8 ? value : (reg & ~0xffffffffull) | (value & 0xffffffff);
    }

    bool choose_addresses(Case& c, std::size_t modrm_at) {
        const Instruction& insn = c.insn;
        const bool stack = insn.operation == Operation::PUSH || insn.operation == Operation::POP;
        if (stack) c.state.gpr[Gpr::RSP] = target();
        if (is_string(insn.operation)) {
            set(c, Gpr::RSI, target());
            set(c, Gpr::RDI, target());
            if (insn.repeat != Repeat::none) set(c, Gpr::RCX, below(20));
            return true;
        }
        if (!insn.has_memory()) return true;
        // A stack pointer that also addresses the operand has to stay in the data.
        const bool far = insn.memory.index || insn.memory.displacement + 128 > 255u;
        if (stack && insn.memory.base == Gpr::RSP && far) return false;
        std::uint64_t wanted = target();
        if (insn.operand_size == 16 && (insn.aligned || insn.operation == Operation::CMPXCHG8B)) wanted &= ~15ull;
        if (bit_string(insn)) {
            const unsigned offset = insn.source.number;
            if (offset == number(insn.memory.base) || offset == number(insn.memory.index)) return false;
            c.state.gpr.gpr[offset] = below(4000) - 2000;
        }
        if (!solve(c, wanted, modrm_at)) return false;
        if (insn.operand_size != 16 || (!insn.aligned && insn.operation != Operation::CMPXCHG8B)) return true;
        return insn.memory.base && !insn.memory.index;  // others would not come out aligned
    }
    static bool bit_string(const Instruction& insn) {
        const bool family = insn.operation >= Operation::BT && insn.operation <= Operation::BTC;
        return family && insn.source.kind == Operand::Kind::gpr;
    }
    static unsigned number(std::optional<Gpr> r) { return r ? static_cast<unsigned>(*r) : 99; }

    // Makes the effective address `wanted`, or a few bytes off it.
    bool solve(Case& c, std::uint64_t wanted, std::size_t modrm_at) {
        const MemoryOperand& m = c.insn.memory;
        const auto displacement = static_cast<std::uint64_t>(m.displacement);
        if (m.base && m.base != m.index) {
            const std::uint64_t index = m.index ? c.state.gpr[*m.index] << m.shift : 0;
            set(c, *m.base, wanted - displacement - index);
        } else if (m.index) {
            // The sum has to come out without a division of what wrapped around.
            const std::uint64_t factor = (1ull << m.shift) + (m.base ? 1 : 0);
            if (static_cast<std::int64_t>(displacement) > static_cast<std::int64_t>(wanted)) return false;
            if (c.insn.address_size != 8 && wanted - displacement > 0xffffffff) return false;
            c.state.gpr[*m.index] = (wanted - displacement) / factor;
        } else {
            const std::uint64_t value = m.rip_relative ? wanted - code_at_ - c.insn.length : wanted;
            const bool offset_only = c.insn.destination.kind != Operand::Kind::none && moffs(c, modrm_at);
            const std::size_t at = offset_only ? modrm_at : modrm_at + (sib(c, modrm_at) ? 2 : 1);
            std::memcpy(c.bytes.data() + at, &value, offset_only ? c.insn.address_size : 4u);
            c.insn = *decode(c.bytes, long_mode_ ? CodeSize::bits64 : CodeSize::bits32);
        }
        return true;
    }
    static bool moffs(const Case& c, std::size_t modrm_at) {
        const auto opcode = std::to_integer<unsigned>(c.bytes[modrm_at - 1]);
        const bool two_byte = modrm_at >= 2 && c.bytes[modrm_at - 2] == std::byte{0x0f};
        return !two_byte && opcode >= 0xa0 && opcode <= 0xa3;
    }
    static bool sib(const Case& c, std::size_t modrm_at) {
        return (std::to_integer<unsigned>(c.bytes[modrm_at]) & 7) == 4;
    }

    // Half of the CMPXCHG find what they compare with: the bytes at the operand, as far as its address is exact.
    void make_comparison_equal(Case& c) {
        using enum Operation;
        const Instruction& insn = c.insn;
        if ((insn.operation != CMPXCHG && insn.operation != CMPXCHG8B) || chance(50)) return;
        const auto base = insn.memory.base;
        if (!base || insn.memory.index || base == Gpr::RAX || base == Gpr::RDX) return;
        std::uint64_t address = c.state.gpr[*base] + static_cast<std::uint64_t>(insn.memory.displacement);
        if (insn.address_size == 4) address &= 0xffffffff;
        const unsigned half = insn.operation == CMPXCHG ? insn.operand_size : insn.operand_size / 2u;
        const std::byte* at = native_.data().data() + (address - native_.data_address());
        std::memcpy(&c.state.gpr[Gpr::RAX], at, half);
        if (insn.operation == CMPXCHG8B) std::memcpy(&c.state.gpr[Gpr::RDX], at + half, half);
    }

    // The count of a shift, as the instruction sees it.
    static std::uint64_t count(const Case& c) {
        const bool doubled = c.insn.operation == Operation::SHLD || c.insn.operation == Operation::SHRD;
        const Operand& operand = doubled ? c.insn.count : c.insn.source;
        return operand.kind == Operand::Kind::immediate ? c.insn.immediate : c.state.gpr.gpr[operand.number];
    }

    void execute_and_compare(Case& c) {
        const bool doubled = c.insn.operation == Operation::SHLD || c.insn.operation == Operation::SHRD;
        if (doubled && (count(c) & 31) > c.insn.operand_size * 8u) return;  // all is undefined
        const std::uint64_t mask = compared_flags & ~undefined_flags(c.insn, count(c));
        cpu_.gprs = c.state.gpr;
        cpu_.xmms = c.state.xmm;
        cpu_.flags = c.state.rflags;
        cpu_.ip = code_at_;
        bus_.code = c.bytes;
        const Result result = emulate(cpu_, bus_, translate_, nullptr);
        const NativeState before = c.state;
        native_.run(c.bytes, c.state);
        const bool same = result.outcome == Outcome::done && cpu_.ip == code_at_ + c.insn.length &&
                          cpu_.gprs.gpr == c.state.gpr.gpr && cpu_.xmms == c.state.xmm &&
                          ((cpu_.flags ^ c.state.rflags) & mask) == 0 &&
                          std::memcmp(bus_.data.data(), native_.data().data(), data_size) == 0;
        if (!same) report(c, before, result);
    }

    void report(const Case& c, const NativeState& before, const Result& result) {
        std::ostringstream out;
        out << std::hex << std::setfill('0');
        for (const std::byte b : c.bytes) out << std::setw(2) << std::to_integer<unsigned>(b) << ' ';
        out << "\noutcome " << static_cast<int>(result.outcome) << " vector " << static_cast<int>(result.fault.vector)
            << " address " << result.fault.address << "\nflags before " << before.rflags << " processor "
            << c.state.rflags << " emulator " << cpu_.flags << '\n';
        for (std::size_t r = 0; r < 16; ++r)
            if (cpu_.gprs.gpr[r] != c.state.gpr.gpr[r] || before.gpr.gpr[r] != c.state.gpr.gpr[r])
                out << 'r' << std::dec << r << std::hex << " before " << before.gpr.gpr[r] << " processor "
                    << c.state.gpr.gpr[r] << " emulator " << cpu_.gprs.gpr[r] << '\n';
        for (std::size_t i = 0; i < data_size; ++i)
            if (bus_.data[i] != native_.data()[i])
                out << "memory " << native_.data_address() + i << " processor "
                    << std::to_integer<int>(native_.data()[i]) << " emulator " << std::to_integer<int>(bus_.data[i])
                    << '\n';
        failed_ = true;
        ADD_FAILURE() << out.str();
    }

    std::mt19937_64 random_;
    NativeCpu native_;
    CopyBus bus_;
    FakeTranslate translate_;
    FakeCpu cpu_;
    bool long_mode_{}, failed_{};
    std::uint64_t code_at_{};
};

TEST_F(Differential, Code64) { sweep(CodeSize::bits64, 1500); }
TEST_F(Differential, Code32) { sweep(CodeSize::bits32, 600); }

}  // namespace
