// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include "arch/isa/registers.hpp"
#include "arch/isa/segment.hpp"

// Executes one instruction on the processor that runs the test, with all its general, flag, MMX and XMM registers
// given, in 64-bit code, in flat 32-bit code, or in 32-bit and 16-bit code in segments of its own (modify_ldt).
namespace bulkhead::differential {

enum class Mode : std::uint8_t { long64, flat32, segments32, segments16 };
inline constexpr unsigned modes = 4;

struct NativeState {
    isa::Registers gpr;
    std::uint64_t rflags;
    std::array<std::array<std::uint64_t, 2>, 16> xmm;
    std::array<std::uint64_t, 8> mm;
};

struct NativeFault {
    unsigned vector;
    std::uint32_t error;
    std::uint64_t cr2;
};

class NativeCpu {
  public:
    // Data: pages that can be written, then one that can be read, then one that is not there.
    static constexpr std::size_t page = 4096, writable_pages = 2, readable_pages = 3;
    static constexpr std::size_t data_size = readable_pages * page, data_offset = 3 * page;

    NativeCpu();
    ~NativeCpu();
    NativeCpu(const NativeCpu&) = delete;
    NativeCpu& operator=(const NativeCpu&) = delete;

    // Whether the system lets a process have segments.
    bool has_segments() const { return has_segments_; }
    // For the modes with segments: DS, ES and SS, of 32-bit or 16-bit size; bases are relative to the memory.
    bool set_segments(Mode mode, const isa::SegmentRegister& ds, const isa::SegmentRegister& es,
                      const isa::SegmentRegister& ss);
    void prepare(Mode mode);

    // Linear addresses; in the modes with segments CS has its base at `base`.
    std::uint64_t base() const { return reinterpret_cast<std::uint64_t>(memory_); }
    std::uint64_t code_address() const { return base() + instruction_; }
    // Behind the instruction's room, where a branch may go.
    std::uint64_t landing_address() const { return code_address() + longest; }
    std::uint64_t data_address() const { return base() + data_offset; }
    std::span<std::byte> data() { return {memory_ + data_offset, data_size}; }
    // The read-only page is written through another mapping.
    void fill(std::span<const std::byte> bytes);

    std::optional<NativeFault> run(std::span<const std::byte> instruction, NativeState& state);

    static constexpr std::size_t longest = 15;
    static std::uint16_t flat_selector();
    static constexpr std::uint16_t ds_selector = 0xf, es_selector = 0x17, ss_selector = 0x1f;

  private:
    void emit(Mode mode);
    void emit_entry(Mode mode);
    void emit_exit(Mode mode);
    void emit_tail();

    void bytes(std::initializer_list<unsigned> list);
    void word(std::uint64_t value, unsigned size);
    void address(std::size_t offset);
    void gprs(unsigned opcode);
    void gpr(unsigned opcode, unsigned r);
    void far_jump(std::uint16_t selector);
    void load_segment(unsigned reg, std::uint16_t selector);

    std::byte* memory_{};
    std::size_t at_{}, instruction_{};
    Mode mode_{};
    bool has_segments_{};
};

}  // namespace bulkhead::differential
