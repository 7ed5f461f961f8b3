// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>

#include "guest/cpu_state.hpp"
#include "guest/emulate/bus.hpp"
#include "guest/emulate/result.hpp"

// Hardware task switches, which a processor in VMX non-root operation leaves to its monitor (SDM volume 3, 7.3 and
// 25.4.2).
namespace bulkhead::guest {

enum class TaskSource : std::uint8_t { call, iret, jump, event };  // event: a task gate in the IDT

struct TaskSwitch {
    TaskSource source{};
    std::uint16_t selector{};   // of the new task's TSS
    std::uint64_t next_ip{};    // where the old task goes on: past its instruction, or at it after a fault
    bool external{};            // the event was no instruction's: the EXT bit of error codes
    std::optional<std::uint32_t> error_code{};  // which the event pushes
};

// What a task switch changes beside CpuState.
class TaskControl {
  public:
    // Of a guest with paging on. False: PAE paging, and a PDPTE is not valid.
    [[nodiscard]] virtual bool load_cr3(std::uint64_t value) = 0;
    virtual void clear_local_breakpoints() = 0;  // DR7.L0 to L3 and LE

  protected:
    ~TaskControl() = default;
};

struct TaskSwitchResult {
    emulator::Outcome outcome{emulator::Outcome::done};  // done, fault, unsupported
    isa::Fault fault{};
    bool committed{};   // a fault belongs to the new task, else nothing happened
    bool debug_trap{};  // T in the new TSS: #DB with DR6.BT before its first instruction
};

// The processor has checked privileges and what the gate says. `cpu` is not in IA-32e mode, nor in real-address mode.
[[nodiscard]] TaskSwitchResult switch_task(const TaskSwitch& request, CpuState& cpu, TaskControl& control,
                                           emulator::Bus& bus, emulator::Translate& translate);

}  // namespace bulkhead::guest
