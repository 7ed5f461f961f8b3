// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "arch/cpu/layout.h"
#include "lib/address.hpp"

namespace bulkhead::cpu {

inline constexpr std::uint16_t code_selector = SELECTOR_CODE;
inline constexpr std::uint16_t data_selector = SELECTOR_DATA;
inline constexpr std::uint16_t tss_selector = SELECTOR_TSS;

// Loads this CPU's GDT, IDT, TSS and segment registers. They are per-CPU variables, and so at the same addresses on
// every CPU: the host state of a VMCS is good on all of them.
void load_tables();

HostVirt gdt_base();
HostVirt idt_base();
HostVirt tss_base();

// Sets CR0, CR4 and EFER to what root mode runs with: write protection, execute-disable, SMEP, SMAP and UMIP where the
// CPU has them, and XSAVE, whose state the monitor switches.
void set_control_registers();

}  // namespace bulkhead::cpu
