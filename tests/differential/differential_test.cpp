// SPDX-License-Identifier: Apache-2.0
// Millions of generated instructions: decoded by the emulator and by a trusted decoder, executed by the emulator on a
// copy of memory and by the processor that runs the test, with registers, flags, memory, faults, error codes and CR2
// compared. BULKHEAD_CASES in the environment sets their number.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>

#include "guest/emulate/alu.hpp"
#include "tests/differential/case.hpp"
#include "tests/differential/coverage.hpp"
#include "tests/unit/emulate_fakes.hpp"
#include "tests/unit/emulate_reference.hpp"

namespace bulkhead::differential {

namespace {

using namespace guest::emulator;
using isa::Exception;
using isa::Segment;
namespace ar = isa::access_rights;

constexpr std::uint64_t compared_flags = isa::rflags::CF | isa::rflags::PF | isa::rflags::AF | isa::rflags::ZF |
                                         isa::rflags::SF | isa::rflags::OF | isa::rflags::DF | isa::rflags::AC;

// The count of a shift, as the instruction sees it.
std::uint64_t count_of(const Case& c) {
    const bool doubled = c.insn.operation == Operation::SHLD || c.insn.operation == Operation::SHRD;
    const Operand& operand = doubled ? c.insn.count : c.insn.source;
    return operand.kind == Operand::Kind::immediate ? c.insn.immediate : c.state.gpr.gpr[operand.number];
}

// Flags that the SDM leaves undefined after this instruction.
std::uint64_t undefined_flags(const Case& c) {
    using namespace isa::rflags;
    const unsigned bits = c.insn.operand_size * 8u;
    switch (c.insn.operation) {
        using enum Operation;
        case AND: case OR: case XOR: case TEST: return AF;
        case BT: case BTS: case BTR: case BTC: return OF | SF | AF | PF;
        case MUL: case IMUL: case IMUL_TO: return SF | ZF | AF | PF;
        case DIV: case IDIV: return status_flags;
        case BSF: case BSR: return status_flags & ~ZF;
        default: break;
    }
    const std::uint64_t count = count_of(c) & (bits == 64 ? 63 : 31);
    switch (c.insn.operation) {
        using enum Operation;
        case SHL: case SAL: case SHR:
            return count == 0 ? 0 : AF | (count != 1 ? OF : 0) | (count >= bits ? CF : 0);
        case SAR: case SHLD: case SHRD: return count == 0 ? 0 : AF | (count != 1 ? OF : 0);
        case ROL: case ROR: case RCL: case RCR: return count != 1 ? OF : 0;
        default: return 0;
    }
}

// Guest-physical memory of the emulated side: the data pages apart and in reverse order, and the code.
class CopyBus final : public Bus, public Translate {
  public:
    std::array<std::byte, NativeCpu::data_size> data{};
    std::uint64_t linear_data{}, linear_code{};
    std::span<const std::byte> code{};

    std::expected<GuestPhys, isa::Fault> translate(GuestVirt address, Access access) override {
        if (address.value - (linear_code & ~0xfffull) < page_size) return GuestPhys{address.value};
        const std::uint64_t offset = address.value - linear_data;
        const bool write = access.kind == Access::Kind::write;
        const std::uint32_t rights = (write ? isa::page_fault::write : 0) | (access.user ? isa::page_fault::user : 0);
        if (offset >= NativeCpu::data_size) return std::unexpected(isa::Fault{Exception::PF, rights, address.value});
        if (write && offset >= NativeCpu::writable_pages * page_size)
            return std::unexpected(isa::Fault{Exception::PF, rights | isa::page_fault::present, address.value});
        return GuestPhys{phys_base + 2 * (last_page - offset / page_size) * page_size + offset % page_size};
    }
    bool takes_runs(GuestPhys, unsigned) const override { return false; }
    bool read(GuestPhys from, std::span<std::byte> to) override {
        if (from.value >= phys_base) {
            std::memcpy(to.data(), locate(from.value), to.size());
            return true;
        }
        const std::uint64_t offset = from.value - linear_code;
        for (std::size_t i = 0; i < to.size(); ++i)
            to[i] = offset + i < code.size() ? code[offset + i] : std::byte{0x90};
        return true;
    }
    bool write(GuestPhys to, std::span<const std::byte> from) override {
        std::memcpy(locate(to.value), from.data(), from.size());
        return true;
    }

  private:
    static constexpr std::uint64_t phys_base = 0x7'0000'0000, last_page = NativeCpu::readable_pages - 1;
    std::byte* locate(std::uint64_t phys) {
        const std::uint64_t first = phys - phys_base;
        return data.data() + (last_page - first / page_size / 2) * page_size + first % page_size;
    }
};

class Differential : public testing::Test {
  protected:
    void sweep(Mode mode, std::size_t cases) {
        mode_ = mode;
        prepare();
        std::vector<std::pair<OpcodeMap, std::uint8_t>> opcodes;
        for (const OpcodeMap map : {OpcodeMap::one_byte, OpcodeMap::two_byte, OpcodeMap::three_byte_38})
            for (unsigned opcode = 0; opcode < 256; ++opcode)
                if (mode == Mode::long64 && map == OpcodeMap::one_byte && (opcode & 0xf0) == 0x40) continue;  // REX
                else if (opcode_row(map, static_cast<std::uint8_t>(opcode), code_size(mode)).form != Form::none)
                    opcodes.emplace_back(map, static_cast<std::uint8_t>(opcode));
        std::size_t executed = 0;
        for (std::size_t n = 0; executed < cases; ++n) {
            if (n % 65536 == 0) start_batch();
            const auto [map, opcode] = opcodes[n % opcodes.size()];
            auto c = generator_.next(map, opcode);
            if (!c || !run(*c)) continue;
            ++executed;
            if (HasFailure()) return;
        }
        total_ += executed;
    }

    NativeCpu native_;
    Generator generator_{native_, seed()};
    Coverage coverage_;
    std::size_t total_{};

  private:
    static std::uint64_t seed() {
        const char* text = std::getenv("BULKHEAD_SEED");
        return text ? std::strtoull(text, nullptr, 0) : 2024;
    }

    void prepare() {
        native_.prepare(mode_);
        const std::uint64_t base = has_own_segments(mode_) ? native_.base() : 0;
        cpu_.set_flat(mode_ == Mode::long64 ? 64 : mode_ == Mode::segments16 ? 16 : 32);
        cpu_.control0 |= isa::cr0::AM | isa::cr0::NE;
        cpu_.privilege = 3;
        for (auto& s : cpu_.segments) s.selector = NativeCpu::flat_selector();
        cpu_.at(Segment::CS).base = base;
        cpu_.at(Segment::CS).selector = mode_ == Mode::long64       ? 0x33
                                        : mode_ == Mode::flat32     ? 0x23
                                        : mode_ == Mode::segments32 ? 0x2f
                                                                    : 0x27;
        if (base != 0) cpu_.at(Segment::CS).limit = 0xffff;
        asm("mov %%fs, %0" : "=r"(cpu_.at(Segment::FS).selector));
        cpu_.at(Segment::GS).selector = has_own_segments(mode_) ? 0x37 : 0;
        bus_.linear_data = native_.data_address();
        bus_.linear_code = native_.code_address();
    }

    // New data, and in the modes that have them new segments: whole ones, ones that end in the data, ones that expand
    // down to it, ones that cannot be written.
    void start_batch() {
        for (auto& b : bus_.data) b = static_cast<std::byte>(generator_.random());
        native_.fill(bus_.data);
        if (has_own_segments(mode_)) {
            isa::SegmentRegister ds = segment(true), es = segment(true), ss = segment(false);
            ds.selector = NativeCpu::ds_selector;
            es.selector = NativeCpu::es_selector;
            ss.selector = NativeCpu::ss_selector;
            ASSERT_TRUE(native_.set_segments(mode_, ds, es, ss));
            cpu_.at(Segment::DS) = ds;
            cpu_.at(Segment::ES) = es;
            cpu_.at(Segment::SS) = ss;
        }
        generator_.set_mode(mode_,
                            {cpu_.at(Segment::CS), cpu_.at(Segment::DS), cpu_.at(Segment::ES), cpu_.at(Segment::SS)});
    }
    isa::SegmentRegister segment(bool may_be_read_only) {
        const std::uint32_t size = mode_ == Mode::segments32 ? ar::DB : 0;
        const std::uint64_t base = native_.base() + generator_.below(4) * 4;
        const std::uint32_t inside = static_cast<std::uint32_t>(NativeCpu::data_offset + NativeCpu::page / 2 +
                                                                generator_.below(NativeCpu::page));
        switch (generator_.below(4)) {
            case 0: return {0, 0xf7 | size, inside, base};  // expand-down
            case 1: return {0, 0xf3 | size, inside + 4000, base};
            case 2:
                if (may_be_read_only) return {0, 0xf1 | size, 0xffff, base};
                [[fallthrough]];
            default: return {0, 0xf3 | size, 0xffff, base};
        }
    }

    std::uint64_t start_ip() const { return native_.code_address() - cpu_.segments[1].base; }

    bool apply_preset(const Case& c) {
        const std::uint64_t offset = c.preset->linear - native_.data_address();
        if (offset + c.preset->size > NativeCpu::writable_pages * page_size || offset >= NativeCpu::data_size)
            return false;
        std::memcpy(bus_.data.data() + offset, &c.preset->value, c.preset->size);
        std::memcpy(native_.data().data() + offset, &c.preset->value, c.preset->size);
        return true;
    }

    // Whether it was a case.
    bool run(Case& c) {
        const bool doubled = c.insn.operation == Operation::SHLD || c.insn.operation == Operation::SHRD;
        if (!c.illegal && doubled && (count_of(c) & 31) > c.insn.operand_size * 8u) return false;  // all is undefined
        // Alignment checks of 16 bytes are the processor's affair (SDM volume 3, 6.15, interrupt 17).
        if (!c.illegal && c.insn.operand_size == 16 && (c.state.rflags & isa::rflags::AC)) return false;
        if (c.preset && !apply_preset(c)) return false;
        check_decoding(c);
        cpu_.gprs = c.state.gpr;
        cpu_.xmms = c.state.xmm;
        cpu_.mms = c.state.mm;
        cpu_.flags = c.state.rflags;
        cpu_.ip = start_ip();
        bus_.code = c.bytes;
        const Result result = emulate(cpu_, bus_, bus_, nullptr);
        const NativeState before = c.state;
        const std::uint64_t flags = compared_flags & ~(c.illegal ? 0 : undefined_flags(c));
        const auto fault = native_.run(c.bytes, c.state);
        if (!same(c, result, fault, flags)) report(c, before, result, fault);
        coverage_.count(c, mode_, fault);
        return true;
    }

    void check_decoding(const Case& c) {
        std::size_t compared = 0;
        Bytes plain;
        for (const std::byte b : c.bytes) plain.push_back(std::to_integer<std::uint8_t>(b));
        compare(plain, code_size(mode_), compared);
        if (testing::Test::HasFailure()) ADD_FAILURE() << "decoded: " << hex(plain);
    }

    bool same(const Case& c, const Result& result, const std::optional<NativeFault>& fault, std::uint64_t flags) {
        const bool finished = result.outcome == Outcome::done && !fault;
        // Of two operands that fault, which is tried first is not specified.
        const bool either = c.insn.operation == Operation::CMPS || c.insn.operation == Operation::MOVS;
        const bool faulted = result.outcome == Outcome::fault && fault &&
                             (either || (static_cast<unsigned>(result.fault.vector) == fault->vector &&
                                         result.fault.error_code.value_or(0) == fault->error &&
                                         (fault->vector != 14 || result.fault.address == fault->cr2)));
        // Which comes first of these two is the processor's affair (SDM volume 3, table 6-2).
        if (result.outcome == Outcome::fault && result.fault.vector == Exception::PF && fault && fault->vector == 17)
            return true;
        // Likewise the limit of the stack and an alignment that is required.
        if (result.outcome == Outcome::fault && result.fault.vector == Exception::SS && fault && fault->vector == 13 &&
            c.insn.aligned)
            return true;
        if (!finished && !faulted) return false;
        const bool branches = c.insn.operation == Operation::CALL || c.insn.operation == Operation::JMP ||
                              c.insn.operation == Operation::RET;
        const std::uint64_t next =
            branches ? native_.landing_address() - cpu_.segments[1].base : start_ip() + c.insn.length;
        if (cpu_.ip != (finished ? next : start_ip())) return false;
        // What is written in several steps may be written in part before a fault (SDM volume 2, ENTER and PUSHA).
        if (faulted && (c.insn.operation == Operation::PUSHA || c.insn.operation == Operation::ENTER))
            std::ranges::copy(native_.data(), bus_.data.begin());
        // POPA may have loaded some registers.
        if (faulted && c.insn.operation == Operation::POPA) return true;
        // A repeated comparison that faults restores the flags on Intel's processors alone (SDM volume 2, REP).
        if (faulted && (c.insn.operation == Operation::CMPS || c.insn.operation == Operation::SCAS))
            flags &= ~status_flags;
        return cpu_.gprs.gpr == c.state.gpr.gpr && cpu_.xmms == c.state.xmm && cpu_.mms == c.state.mm &&
               ((cpu_.flags ^ c.state.rflags) & flags) == 0 &&
               std::memcmp(bus_.data.data(), native_.data().data(), NativeCpu::data_size) == 0;
    }

    void report(const Case& c, const NativeState& before, const Result& result,
                const std::optional<NativeFault>& fault) {
        std::ostringstream out;
        out << "mode " << static_cast<int>(mode_) << std::hex << std::setfill('0') << ": ";
        for (const std::byte b : c.bytes) out << std::setw(2) << std::to_integer<unsigned>(b) << ' ';
        out << "\noutcome " << static_cast<int>(result.outcome) << " vector " << static_cast<int>(result.fault.vector)
            << " error " << result.fault.error_code.value_or(0) << " address " << result.fault.address << " ip "
            << cpu_.ip;
        if (fault) out << "\nprocessor: vector " << fault->vector << " error " << fault->error << " cr2 " << fault->cr2;
        out << "\nflags before " << before.rflags << " processor " << c.state.rflags << " emulator " << cpu_.flags
            << '\n';
        for (std::size_t r = 0; r < 16; ++r)
            out << 'r' << std::dec << r << std::hex << " before " << before.gpr.gpr[r] << " processor "
                << c.state.gpr.gpr[r] << " emulator " << cpu_.gprs.gpr[r] << '\n';
        for (std::size_t i = 0; i < NativeCpu::data_size; ++i)
            if (bus_.data[i] != native_.data()[i])
                out << "memory " << native_.data_address() + i << " processor "
                    << std::to_integer<int>(native_.data()[i]) << " emulator " << std::to_integer<int>(bus_.data[i])
                    << '\n';
        out << "data at " << native_.data_address() << ", code at " << native_.code_address() << '\n';
        for (const Segment s : {Segment::DS, Segment::ES, Segment::SS})
            out << "segment " << static_cast<int>(s) << " rights " << cpu_.at(s).rights << " limit " << cpu_.at(s).limit
                << " base " << cpu_.at(s).base << '\n';
        ADD_FAILURE() << out.str();
    }

    CopyBus bus_;
    FakeCpu cpu_;
    Mode mode_{};
};

std::size_t wanted_cases() {
    const char* text = std::getenv("BULKHEAD_CASES");
    return text ? std::strtoull(text, nullptr, 0) : 5'200'000;
}

TEST_F(Differential, AgreesWithTheProcessor) {
    const std::size_t cases = wanted_cases();
    struct Part {
        Mode mode;
        unsigned percent;
    };
    std::vector<Part> parts{{Mode::long64, 40}, {Mode::flat32, 20}, {Mode::segments32, 20}, {Mode::segments16, 20}};
    if (!native_.has_segments()) {
        std::puts("this system lets a process have no segments: 64-bit and flat 32-bit code alone");
        parts = {{Mode::long64, 60}, {Mode::flat32, 40}};
    }
    for (const Part& part : parts) {
        sweep(part.mode, cases * part.percent / 100);
        if (HasFailure()) return;
    }
    coverage_.print();
    std::printf("%zu cases without a difference\n", total_);
    EXPECT_GE(total_, cases);
}

}  // namespace

}  // namespace bulkhead::differential
