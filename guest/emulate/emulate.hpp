// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "guest/cpu_state.hpp"
#include "guest/emulate/bus.hpp"
#include "guest/emulate/instruction.hpp"
#include "guest/emulate/result.hpp"

// The instruction emulator: what the guest's processor would have done with the instruction at CS:RIP, over three
// interfaces. It serves instructions that the processor began and that a VM exit stopped at a memory or port access;
// breakpoints (DR7), protection keys and virtual-8086 I/O checks are the processor's own and come before the exit.
namespace bulkhead::guest::emulator {

// The size of the code that the vCPU executes now.
CodeSize code_size(const CpuState& cpu);

// Fetches, decodes and executes one instruction. After `done` the caller ends blocking by STI and by MOV SS, and raises
// #DB when `single_step` says so. `ports` may be null: INS and OUTS are then unsupported.
[[nodiscard]] Result emulate(CpuState& cpu, Bus& bus, Translate& translate, Ports* ports);

// The bytes of the instruction at CS:RIP for a report, as far as they can be read without a fault.
unsigned peek_instruction(const CpuState& cpu, Bus& bus, Translate& translate, std::span<std::byte, 15> to);

}  // namespace bulkhead::guest::emulator
