// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>

#include "guest/cpu_state.hpp"
#include "guest/emulate/alu.hpp"
#include "guest/emulate/bus.hpp"
#include "guest/emulate/instruction.hpp"
#include "guest/emulate/operand_memory.hpp"
#include "guest/emulate/result.hpp"

namespace bulkhead::guest::emulator {

// Iterations of a repeated string instruction before pending interrupts get their turn.
inline constexpr unsigned repeat_chunk = 1024;

// The execution of one decoded instruction. Every fault is raised before the first register, flag or byte of memory
// changes.
class Execution {
  public:
    Execution(const Instruction& insn, CpuState& cpu, OperandMemory& memory, Ports* ports, CodeSize code)
        : insn_(insn), cpu_(cpu), memory_(memory), ports_(ports), code_(code), flags_(cpu.rflags()) {}

    // done: RIP is advanced.
    Expected<Outcome> run();

  private:
    using Bytes = std::array<std::byte, 16>;

    Expected<void> dispatch();
    Expected<void> binary_operation();
    Expected<void> unary_operation();
    Expected<void> shift_operation();
    Expected<void> double_shift_operation();
    Expected<void> bit_operation();
    Expected<void> move();
    Expected<void> conditional_move();
    Expected<void> set_condition();
    Expected<void> exchange();
    Expected<void> exchange_add();
    Expected<void> compare_exchange();
    Expected<void> compare_exchange_wide();

    Expected<void> push();
    Expected<void> pop();
    Expected<void> branch();

    Expected<void> sse_move();
    Bytes sse_register(const Operand& operand) const;
    void set_sse_register(const Operand& operand, const Bytes& bytes);

    Expected<Outcome> string();
    Expected<void> string_iteration();
    Expected<void> string_move();
    Expected<void> string_compare();
    Expected<void> string_port();
    Expected<Location> string_source();
    Expected<Location> string_destination(Access::Kind kind);
    void advance_pointer(isa::Gpr r);
    bool comparison_ends() const;

    // Operands. A memory destination that is read and written is located once, for writing.
    std::uint64_t effective_address() const;
    Expected<Location> locate(Access::Kind kind, unsigned size);
    Expected<std::uint64_t> value_of(const Operand& operand);
    Expected<void> modify(const AluResult& result, const Location& location);
    Expected<std::uint64_t> destination_for_update(Location& location);
    Expected<void> store(const Operand& operand, const Location& location, std::uint64_t value);
    std::uint64_t register_value(const Operand& operand) const;
    void set_register(const Operand& operand, std::uint64_t value);

    // A register that addresses memory or counts, in the address size (or the stack's).
    std::uint64_t address_register(isa::Gpr r, unsigned size) const { return cpu_.gpr(r) & mask_of(size); }
    void set_address_register(isa::Gpr r, unsigned size, std::uint64_t value);
    unsigned stack_size();

    void set_flags(std::uint64_t rflags);
    std::uint64_t next_rip() const;

    const Instruction& insn_;
    CpuState& cpu_;
    OperandMemory& memory_;
    Ports* ports_;
    CodeSize code_;
    std::uint64_t flags_;        // of a string instruction: RFLAGS as they become
    std::uint64_t base_bias_{};  // of POP to memory: by what the stack pointer will have moved
    std::uint64_t target_{};     // of a branch
    bool branched_{};
};

}  // namespace bulkhead::guest::emulator
