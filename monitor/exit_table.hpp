// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>

#include "vmx/exit.hpp"

namespace bulkhead::monitor {

class CpuLoop;
class Vcpu;

// What a handler sees: the vCPU that exited, the CPU it runs on, and of the exit the fields that its row asked for. The
// exit is the vCPU's own: it is not cleared each time.
struct ExitContext {
    Vcpu& vcpu;
    CpuLoop& cpu;
    vmx::Exit& exit;
    std::uint64_t limit{};  // on the host's TSC: when the vCPU's time is up
};

// Whether the vCPU is entered again without asking the scheduler.
enum class Next : bool { pick, resume };

using ExitHandler = Next (*)(ExitContext&);

// One row for each basic exit reason of the architecture (SDM appendix C) and each hole between them.
extern const std::array<ExitHandler, vmx::exit_reason_count> exit_table;

}  // namespace bulkhead::monitor
