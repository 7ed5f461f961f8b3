// SPDX-License-Identifier: Apache-2.0
#include "guest/emulate/emulate.hpp"

#include <array>

#include "arch/isa/msr.hpp"
#include "guest/emulate/decode.hpp"
#include "guest/emulate/execute.hpp"
#include "guest/emulate/operand_memory.hpp"

namespace bulkhead::guest::emulator {

namespace {

isa::Fault general_protection(const CpuState& cpu) {
    isa::Fault fault = isa::general_protection;
    if (!(cpu.cr0() & isa::cr0::PE)) fault.error_code.reset();
    return fault;
}

// Fetches no further than the decoder asks: the next page may well be absent, or a device.
Expected<Instruction> fetch_and_decode(const CpuState& cpu, OperandMemory& memory, CodeSize code) {
    std::array<std::byte, longest_instruction> bytes{};
    unsigned have = 0;
    for (;;) {
        const std::uint64_t rip = code == CodeSize::bits64 ? cpu.rip() + have : (cpu.rip() + have) & 0xffffffff;
        const auto fetched = memory.fetch(rip, std::span{bytes}.subspan(have));
        if (!fetched) return std::unexpected(fetched.error());
        have += *fetched;
        const auto instruction = decode(std::span{bytes}.first(have), code);
        if (instruction) return *instruction;
        switch (instruction.error()) {
            case DecodeError::truncated: break;
            case DecodeError::too_long: return stop(general_protection(cpu));
            case DecodeError::undefined: return stop(isa::invalid_opcode);
            case DecodeError::unsupported: return unsupported();
        }
    }
}

}  // namespace

CodeSize code_size(const CpuState& cpu) {
    const std::uint32_t rights = cpu.segment(isa::Segment::CS).rights;
    if ((cpu.efer() & isa::efer::LMA) && (rights & isa::access_rights::L)) return CodeSize::bits64;
    return rights & isa::access_rights::DB ? CodeSize::bits32 : CodeSize::bits16;
}

Result emulate(CpuState& cpu, Bus& bus, Translate& translate, Ports* ports) {
    const CodeSize code = code_size(cpu);
    const bool single_step = cpu.rflags() & isa::rflags::TF;
    OperandMemory memory{cpu, bus, translate, code};
    const auto instruction = fetch_and_decode(cpu, memory, code);
    if (!instruction) return {instruction.error().outcome, instruction.error().fault};
    SystemMemory system{cpu, bus, translate};
    Execution execution{*instruction, cpu, memory, system, ports, code};
    const auto outcome = execution.run();
    if (!outcome) return {outcome.error().outcome, outcome.error().fault};
    // RF holds for one instruction (SDM volume 3, 17.3.1.1).
    if (*outcome == Outcome::done && (cpu.rflags() & isa::rflags::RF)) cpu.set_rflags(cpu.rflags() & ~isa::rflags::RF);
    return {*outcome, {}, execution.loaded_ss(), single_step, memory.breakpoints_met()};
}

unsigned peek_instruction(const CpuState& cpu, Bus& bus, Translate& translate, std::span<std::byte, 15> to) {
    const CodeSize code = code_size(cpu);
    OperandMemory memory{cpu, bus, translate, code};
    unsigned have = 0;
    while (have < to.size()) {
        const auto fetched = memory.fetch(cpu.rip() + have, to.subspan(have));
        if (!fetched) break;
        have += *fetched;
    }
    return have;
}

}  // namespace bulkhead::guest::emulator
