// SPDX-License-Identifier: Apache-2.0
#include "vmx/host_state.hpp"

#include "arch/cpu/instructions.hpp"
#include "vmx/entry.hpp"
#include "vmx/fields.hpp"

namespace bulkhead::vmx {

namespace {

struct Selectors {
    std::uint16_t cs, ss, ds, es, tr;
};

Selectors read_selectors() {
    Selectors s;
    asm("mov %%cs, %0" : "=rm"(s.cs));
    asm("mov %%ss, %0" : "=rm"(s.ss));
    asm("mov %%ds, %0" : "=rm"(s.ds));
    asm("mov %%es, %0" : "=rm"(s.es));
    asm("str %0" : "=rm"(s.tr));
    return s;
}

// The base in a 16-byte TSS descriptor (SDM figure 7-4).
HostVirt descriptor_base(HostVirt gdt, std::uint16_t selector) {
    const auto* descriptor = reinterpret_cast<const std::uint32_t*>(gdt.value + (selector & ~7u));
    return HostVirt{std::uint64_t{descriptor[3]} << 32 | (descriptor[1] & 0xff00'0000) |
                    (descriptor[1] & 0xff) << 16 | descriptor[0] >> 16};
}

HostVirt address_of(const void* object) { return HostVirt{reinterpret_cast<std::uintptr_t>(object)}; }

}  // namespace

HostState read_host_state() {
    cpu::DescriptorTablePointer gdt, idt;
    asm("sgdt %0" : "=m"(gdt));
    asm("sidt %0" : "=m"(idt));
    const Selectors selectors = read_selectors();
    return {.cr0 = cpu::read_cr0(),
            .cr3 = cpu::read_cr3(),
            .cr4 = cpu::read_cr4(),
            .efer = cpu::rdmsr(isa::Msr::IA32_EFER),
            .pat = cpu::rdmsr(isa::Msr::IA32_PAT),
            .cs = selectors.cs,
            .ss = selectors.ss,
            .ds = selectors.ds,
            .es = selectors.es,
            .tr = selectors.tr,
            .gdt_base = HostVirt{gdt.base},
            .idt_base = HostVirt{idt.base},
            .tss_base = descriptor_base(HostVirt{gdt.base}, selectors.tr),
            .rsp = address_of(&bulkhead_vmx_exit_stack),
            .rip = address_of(reinterpret_cast<const void*>(&bulkhead_vmx_exit))};
}

void write_host_state(const HostState& state) {
    using namespace field;
    write<HOST_CR0>(state.cr0);
    write<HOST_CR3>(state.cr3);
    write<HOST_CR4>(state.cr4);
    write<HOST_IA32_EFER>(state.efer);
    write<HOST_IA32_PAT>(state.pat);
    write<HOST_CS_SELECTOR>(state.cs);
    write<HOST_SS_SELECTOR>(state.ss);
    write<HOST_DS_SELECTOR>(state.ds);
    write<HOST_ES_SELECTOR>(state.es);
    write<HOST_FS_SELECTOR>(std::uint16_t{0});
    write<HOST_GS_SELECTOR>(std::uint16_t{0});
    write<HOST_TR_SELECTOR>(state.tr);
    write<HOST_FS_BASE>(std::uint64_t{0});
    write<HOST_GS_BASE>(std::uint64_t{0});
    write<HOST_TR_BASE>(state.tss_base.value);
    write<HOST_GDTR_BASE>(state.gdt_base.value);
    write<HOST_IDTR_BASE>(state.idt_base.value);
    write<HOST_IA32_SYSENTER_CS>(std::uint32_t{0});
    write<HOST_IA32_SYSENTER_ESP>(std::uint64_t{0});
    write<HOST_IA32_SYSENTER_EIP>(std::uint64_t{0});
    write<HOST_RSP>(state.rsp.value);
    write<HOST_RIP>(state.rip.value);
}

}  // namespace bulkhead::vmx
