// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include "arch/isa/registers.hpp"

// The way into the guest and back (entry.S).
extern "C" {
// HOST_RIP: where every VM exit arrives.
void bulkhead_vmx_exit();
// HOST_RSP of every VMCS: a per-CPU word, at the same address on each CPU, that holds the stack of the entry under way.
extern std::uint64_t bulkhead_vmx_exit_stack;
}

namespace bulkhead::vmx {

enum class EntryOutcome : std::uint8_t {
    exited = 0,        // a VM exit (or an entry failure that is reported like one): see EXIT_REASON
    fail_valid = 1,    // the instruction failed: see VM_INSTRUCTION_ERROR
    fail_invalid = 2,  // the instruction failed, and there is no current VMCS
};

// Runs the guest of the current VMCS until its next exit. `launched`: VMRESUME instead of VMLAUNCH. Guest RSP is in the
// VMCS; its slot in `registers` is left alone. CR2, DR0 to DR3, DR6, the vector state and the MSRs of ProcessorState
// stay the guest's: the hypervisor neither uses nor faults on them between an exit and the next entry.
//
// The call changes all general registers, and tells the compiler so: what the caller keeps over it is saved once by
// the caller's prologue, outside the loop, and not at each exit.
[[nodiscard, gnu::always_inline]] inline EntryOutcome enter(isa::Registers& registers, bool launched) {
    static_assert(offsetof(isa::Registers, gpr) == 0 && sizeof(isa::Registers) == 16 * 8, "entry.S counts on it");
    void* first = &registers;
    std::uint32_t second = launched;
    std::uint64_t outcome;
    // RBP cannot be named as changed in a function with a frame pointer.
    asm goto volatile("push %%rbp\n\t"
                      "call bulkhead_vmx_enter\n\t"
                      "pop %%rbp\n\t"
                      "jbe %l[failed]"
                      : "=a"(outcome), "+D"(first), "+S"(second)
                      :
                      : "rbx", "rcx", "rdx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "cc", "memory"
                      : failed);
    return EntryOutcome::exited;
failed:
    return static_cast<EntryOutcome>(outcome);
}

}  // namespace bulkhead::vmx
