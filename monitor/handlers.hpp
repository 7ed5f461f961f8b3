// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "monitor/exit_table.hpp"
#include "monitor/vcpu.hpp"

// The exit handlers: each reads the exit, asks the model and writes the answer.
namespace bulkhead::monitor::handler {

// handlers_instructions.cpp
Next cpuid(ExitContext& c);
Next hlt(ExitContext& c);
Next skip(ExitContext& c);               // INVD, WBINVD: nothing to do for the guest
Next pause(ExitContext& c);
Next undefined(ExitContext& c);          // what the guest's CPUID hides raises #UD
Next general_protection(ExitContext& c);
Next xsetbv(ExitContext& c);

// handlers_registers.cpp
Next cr_access(ExitContext& c);
Next rdmsr(ExitContext& c);
Next wrmsr(ExitContext& c);

// handlers_tasks.cpp
Next task_switch(ExitContext& c);

// handlers_io.cpp
Next io_instruction(ExitContext& c);
Next ept_violation(ExitContext& c);

// handlers_events.cpp
Next exception_or_nmi(ExitContext& c);
Next virtualized_eoi(ExitContext& c);
Next external_interrupt(ExitContext& c);
Next window(ExitContext& c);
Next preemption_timer(ExitContext& c);
Next triple_fault(ExitContext& c);
Next init_signal(ExitContext& c);
Next entry_failed(ExitContext& c);
Next unexpected(ExitContext& c);         // a reason that no control of ours asks for: the guest stops, with a report

// The four PDPTEs that PAE paging keeps in registers; nothing if one is invalid (SDM volume 3, 4.4.1).
std::optional<std::array<std::uint64_t, 4>> load_pdptes(Vcpu& vcpu, std::uint64_t cr3);
void write_pdptes(const std::array<std::uint64_t, 4>& pdptes);

// Makes a fault of the instruction that exited the next event; a triple fault ends the guest.
Next raise(ExitContext& c, const isa::Fault& fault);
// Past the instruction that exited.
inline Next done(ExitContext& c) {
    c.vcpu.skip_instruction(c.vcpu.exit.length);
    return Next::resume;
}

}  // namespace bulkhead::monitor::handler
