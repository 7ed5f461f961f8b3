// SPDX-License-Identifier: Apache-2.0
#include "vmx/capabilities.hpp"

#include "arch/cpu/instructions.hpp"
#include "vmx/controls.hpp"

namespace bulkhead::vmx {

Capabilities read_capabilities() {
    using cpu::rdmsr;
    using isa::Msr;
    Capabilities c;
    c.basic = rdmsr(Msr::IA32_VMX_BASIC);
    c.pinbased = rdmsr(Msr::IA32_VMX_PINBASED_CTLS);
    c.procbased = rdmsr(Msr::IA32_VMX_PROCBASED_CTLS);
    c.exit = rdmsr(Msr::IA32_VMX_EXIT_CTLS);
    c.entry = rdmsr(Msr::IA32_VMX_ENTRY_CTLS);
    c.misc = rdmsr(Msr::IA32_VMX_MISC);
    c.cr0_fixed0 = rdmsr(Msr::IA32_VMX_CR0_FIXED0);
    c.cr0_fixed1 = rdmsr(Msr::IA32_VMX_CR0_FIXED1);
    c.cr4_fixed0 = rdmsr(Msr::IA32_VMX_CR4_FIXED0);
    c.cr4_fixed1 = rdmsr(Msr::IA32_VMX_CR4_FIXED1);
    // The others exist only where the first ones say so (SDM A.2, A.3.3 and A.10).
    if (c.true_controls()) {
        c.true_pinbased = rdmsr(Msr::IA32_VMX_TRUE_PINBASED_CTLS);
        c.true_procbased = rdmsr(Msr::IA32_VMX_TRUE_PROCBASED_CTLS);
        c.true_exit = rdmsr(Msr::IA32_VMX_TRUE_EXIT_CTLS);
        c.true_entry = rdmsr(Msr::IA32_VMX_TRUE_ENTRY_CTLS);
    }
    if (c.proc().may_set(control::proc::ACTIVATE_SECONDARY_CONTROLS))
        c.procbased2 = rdmsr(Msr::IA32_VMX_PROCBASED_CTLS2);
    if (c.proc2().may_set(control::proc2::ENABLE_EPT) || c.proc2().may_set(control::proc2::ENABLE_VPID))
        c.ept_vpid = rdmsr(Msr::IA32_VMX_EPT_VPID_CAP);
    return c;
}

}  // namespace bulkhead::vmx
