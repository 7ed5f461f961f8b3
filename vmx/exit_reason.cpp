// SPDX-License-Identifier: Apache-2.0
#include "vmx/exit_reason.hpp"

namespace bulkhead::vmx {

namespace {

constexpr std::string_view unused = "reserved exit reason";

constexpr std::string_view names[exit_reason_count] = {
    "exception or NMI",
    "external interrupt",
    "triple fault",
    "INIT signal",
    "start-up IPI",
    "I/O SMI",
    "other SMI",
    "interrupt window",
    "NMI window",
    "task switch",
    "CPUID",
    "GETSEC",
    "HLT",
    "INVD",
    "INVLPG",
    "RDPMC",
    "RDTSC",
    "RSM",
    "VMCALL",
    "VMCLEAR",
    "VMLAUNCH",
    "VMPTRLD",
    "VMPTRST",
    "VMREAD",
    "VMRESUME",
    "VMWRITE",
    "VMXOFF",
    "VMXON",
    "control-register access",
    "MOV DR",
    "I/O instruction",
    "RDMSR",
    "WRMSR",
    "entry failure: invalid guest state",
    "entry failure: MSR loading",
    unused,
    "MWAIT",
    "monitor trap flag",
    unused,
    "MONITOR",
    "PAUSE",
    "entry failure: machine check",
    unused,
    "TPR below threshold",
    "APIC access",
    "virtualized EOI",
    "access to GDTR or IDTR",
    "access to LDTR or TR",
    "EPT violation",
    "EPT misconfiguration",
    "INVEPT",
    "RDTSCP",
    "VMX-preemption timer expired",
    "INVVPID",
    "WBINVD or WBNOINVD",
    "XSETBV",
    "APIC write",
    "RDRAND",
    "INVPCID",
    "VMFUNC",
    "ENCLS",
    "RDSEED",
    "page-modification log full",
    "XSAVES",
    "XRSTORS",
    "PCONFIG",
    "SPP-related event",
    "UMWAIT",
    "TPAUSE",
    "LOADIWKEY",
    "ENCLV",
    unused,
    "ENQCMD PASID translation failure",
    "ENQCMDS PASID translation failure",
    "bus lock",
    "instruction timeout",
    "SEAMCALL",
    "TDCALL",
    "RDMSRLIST",
    "WRMSRLIST",
};

constexpr std::string_view entry_of(ExitReason reason) { return names[static_cast<std::size_t>(reason)]; }
static_assert(entry_of(ExitReason::CPUID) == "CPUID" && entry_of(ExitReason::MWAIT) == "MWAIT" &&
              entry_of(ExitReason::EPT_VIOLATION) == "EPT violation" && entry_of(ExitReason::ENCLV) == "ENCLV" &&
              entry_of(ExitReason::WRMSRLIST) == "WRMSRLIST");

}  // namespace

std::string_view name_of(ExitReason reason) {
    const auto index = static_cast<std::size_t>(reason);
    return index < exit_reason_count ? names[index] : unused;
}

}  // namespace bulkhead::vmx
