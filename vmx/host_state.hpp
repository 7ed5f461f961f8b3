// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "lib/address.hpp"

namespace bulkhead::vmx {

// What a VM exit loads (SDM 27.5). FS, GS and their bases, LDTR and the SYSENTER MSRs are zero.
struct HostState {
    std::uint64_t cr0{}, cr3{}, cr4{}, efer{}, pat{};
    std::uint16_t cs{}, ss{}, ds{}, es{}, tr{};
    HostVirt gdt_base, idt_base, tss_base;
    HostVirt rsp, rip;
};

// Of this CPU as it runs now, with the exit path of entry.S.
[[nodiscard]] HostState read_host_state();

// To the current VMCS. Again whenever it is loaded on another CPU.
void write_host_state(const HostState& state);

}  // namespace bulkhead::vmx
