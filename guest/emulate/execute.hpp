// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>

#include "guest/cpu_state.hpp"
#include "guest/emulate/alu.hpp"
#include "guest/emulate/bus.hpp"
#include "guest/emulate/descriptor.hpp"
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
    Execution(const Instruction& insn, CpuState& cpu, OperandMemory& memory, SystemMemory& system, Ports* ports,
              CodeSize code)
        : insn_(insn), cpu_(cpu), memory_(memory), system_(system), ports_(ports), code_(code), flags_(cpu.rflags()) {}

    // done: RIP is advanced.
    Expected<Outcome> run();
    // Whether it was a load of SS: interrupts and traps wait for one instruction more (SDM volume 3, 6.8.3).
    bool loaded_ss() const { return loaded_ss_; }

  private:
    using Bytes = std::array<std::byte, 16>;
    struct FarPointer {
        std::uint64_t offset;
        std::uint16_t selector;
    };

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

    // execute_multiply.cpp
    Expected<void> multiply_accumulator();
    Expected<void> multiply_to();
    Expected<void> divide_accumulator();
    Expected<void> scan_bits();
    Expected<void> bound();
    Expected<void> table_lookup();

    // execute_stack.cpp
    Expected<void> push();
    Expected<void> pop();
    Expected<void> push_all();
    Expected<void> pop_all();
    Expected<void> push_flags();
    Expected<void> pop_flags();
    Expected<void> enter();
    Expected<void> leave();
    Expected<void> branch();
    Expected<void> return_near();
    Expected<Location> stack_slot(std::uint64_t pointer, unsigned size, Access::Kind kind);
    std::uint64_t pushed(std::uint64_t size) { return (cpu_.gpr(isa::Gpr::RSP) - size) & mask_of(stack_size()); }
    Stop protection_fault(std::uint32_t error = 0) const;

    // execute_segment.cpp
    static FarPointer far_pointer(const Bytes& bytes, unsigned offset_size);
    Expected<void> move_to_segment();
    Expected<void> load_far();
    Expected<void> branch_far();
    Expected<void> store_system();
    Expected<void> load_ldtr();
    Expected<void> load_tr();
    Expected<void> load_machine_status();
    Expected<isa::SegmentRegister> segment_for(isa::Segment s, std::uint16_t selector);
    Expected<isa::SegmentRegister> protected_segment_for(isa::Segment s, std::uint16_t selector);
    Expected<isa::SegmentRegister> code_segment_for(std::uint16_t selector);
    void load_segment(isa::Segment s, const isa::SegmentRegister& value);
    bool protected_mode() const {
        return (cpu_.cr0() & isa::cr0::PE) && !(cpu_.rflags() & isa::rflags::VM);
    }


    Expected<void> sse_move();
    Expected<void> mmx_move();
    Bytes sse_register(const Operand& operand) const;
    void set_sse_register(const Operand& operand, const Bytes& bytes);

    Expected<Outcome> string();
    Expected<void> string_iteration();
    Expected<void> string_move();
    Expected<void> string_compare();
    Expected<void> string_port();
    unsigned port_run(unsigned most);
    Expected<Location> string_source();
    Expected<Location> string_destination(Access::Kind kind);
    void advance_pointer(isa::Gpr r, unsigned iterations = 1);
    bool comparison_ends() const;

    // Operands. A memory destination that is read and written is located once, for writing.
    std::uint64_t effective_address() const;
    Expected<Location> locate(Access::Kind kind, unsigned size, Alignment alignment = Alignment::checked);
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
    SystemMemory& system_;
    Ports* ports_;
    CodeSize code_;
    std::uint64_t flags_;        // of a string instruction: RFLAGS as they become
    std::uint64_t base_bias_{};  // of POP to memory: by what the stack pointer will have moved
    std::uint64_t target_{};     // of a branch
    bool branched_{}, loaded_ss_{};
};

}  // namespace bulkhead::guest::emulator
