// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include "guest/cpu_state.hpp"
#include "guest/emulate/bus.hpp"
#include "guest/emulate/instruction.hpp"
#include "guest/emulate/result.hpp"

namespace bulkhead::guest::emulator {

// Where an operand lies in guest-physical memory: in one page, or in two.
struct Location {
    GuestPhys first{}, second{};
    std::uint8_t first_size{}, second_size{};
};

enum class Alignment : std::uint8_t {
    checked,   // #AC where alignment checking is on
    pointer,   // the same of a far pointer: to the size of its offset
    required,  // else #GP(0)
};

// Memory as an instruction's operands reach it: segmentation, alignment, paging, bus. `locate` raises every fault that
// an access can have, so that an instruction faults before its first bus access: a device sees no access twice.
// One object serves one instruction; it keeps segments and translations, as a TLB does.
class OperandMemory {
  public:
    OperandMemory(const CpuState& cpu, Bus& bus, Translate& translate, CodeSize code)
        : cpu_(cpu), bus_(bus), translate_(translate), code_(code), user_(cpu.cpl() == 3),
          linear_bits_(code == CodeSize::bits64 && cpu.cr4() & isa::cr4::LA57 ? 57 : 48) {}

    // `offset` is within the segment, already truncated to the address size. 1 <= size <= 16.
    Expected<Location> locate(isa::Segment segment, std::uint64_t offset, unsigned size, Access::Kind kind,
                              Alignment alignment = Alignment::checked);
    // Instruction fetch of up to `size` bytes that lie in one page; how many of them there are.
    Expected<unsigned> fetch(std::uint64_t rip, std::span<std::byte> to);

    Expected<std::uint64_t> read(const Location& location);
    Expected<void> write(const Location& location, std::uint64_t value);
    Expected<void> read(const Location& location, std::span<std::byte> to);
    Expected<void> write(const Location& location, std::span<const std::byte> from);

    // Operands of `size` bytes, at most `count`, from `offset` on, of which none faults and which the bus takes in one call.
    struct Run {
        GuestPhys first{};
        unsigned count{};  // 0: the first one has to be located by itself
    };
    Run locate_run(isa::Segment segment, std::uint64_t offset, unsigned size, unsigned count, Access::Kind kind);
    void read_run(const Run& run, std::span<std::byte> to) { static_cast<void>(bus_.read(run.first, to)); }
    void write_run(const Run& run, std::span<const std::byte> from) { static_cast<void>(bus_.write(run.first, from)); }

    const isa::SegmentRegister& segment(isa::Segment s);
    bool canonical(std::uint64_t linear) const;
    // By the operands that were located, as bits of the pending debug exceptions.
    std::uint64_t breakpoints_met() const { return breakpoints_met_; }
    // Whether near control flow can go on at `rip`.
    bool valid_target(std::uint64_t rip);

  private:
    std::expected<GuestVirt, isa::Fault> linear(isa::Segment segment, std::uint64_t offset, unsigned size,
                                                Access::Kind kind);
    std::optional<isa::Fault> violation(isa::Segment segment, std::uint64_t offset, unsigned size, Access::Kind kind);
    std::expected<GuestPhys, isa::Fault> physical(GuestVirt address, Access::Kind kind);
    isa::Fault segment_fault(isa::Segment segment) const;
    bool misaligned(GuestVirt address, unsigned unit) const;

    struct Translation {
        GuestVirt page{~0ull};  // none yet: no page's address
        GuestPhys frame{};
        Access::Kind kind{};
    };

    const CpuState& cpu_;
    Bus& bus_;
    Translate& translate_;
    const CodeSize code_;
    const bool user_;
    const unsigned linear_bits_;
    std::array<std::optional<isa::SegmentRegister>, 8> segments_{};
    std::array<Translation, 4> translations_{};
    unsigned next_translation_{};
    std::uint64_t breakpoints_met_{};
};

}  // namespace bulkhead::guest::emulator
