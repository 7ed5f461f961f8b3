// SPDX-License-Identifier: Apache-2.0
#include "vmx/controls.hpp"

#include <span>

#include "arch/isa/msr.hpp"

namespace bulkhead::vmx {

namespace {

enum class Rule : std::uint8_t {
    mandatory,  // 1, or the machine is refused
    wanted,     // 1 where the processor has it
    on_demand,  // 0 at first, but the monitor must be able to set it
    never,      // 0, or the machine is refused
};

struct Control {
    std::uint32_t bit;
    Rule rule;
    std::string_view name;  // the SDM's
};

using enum Rule;
namespace pin = control::pin;
namespace proc = control::proc;
namespace proc2 = control::proc2;
namespace exits = control::exit;
namespace entry = control::entry;

// A bit that has no row is reserved or newer than this table: it stays as the processor requires it (SDM A.2: 0, or 1
// for the default-1 class).

constexpr Control pin_controls[] = {
    {pin::EXTERNAL_INTERRUPT_EXITING, mandatory, "external-interrupt exiting"},
    {pin::NMI_EXITING, mandatory, "NMI exiting"},
    {pin::VIRTUAL_NMIS, mandatory, "virtual NMIs"},
    {pin::ACTIVATE_VMX_PREEMPTION_TIMER, mandatory, "activate VMX-preemption timer"},
    {pin::PROCESS_POSTED_INTERRUPTS, never, "process posted interrupts"},
};

constexpr Control proc_controls[] = {
    {proc::INTERRUPT_WINDOW_EXITING, on_demand, "interrupt-window exiting"},
    {proc::NMI_WINDOW_EXITING, on_demand, "NMI-window exiting"},
    {proc::USE_TSC_OFFSETTING, mandatory, "use TSC offsetting"},
    {proc::HLT_EXITING, mandatory, "HLT exiting"},
    {proc::MWAIT_EXITING, mandatory, "MWAIT exiting"},
    {proc::MONITOR_EXITING, mandatory, "MONITOR exiting"},
    {proc::RDPMC_EXITING, mandatory, "RDPMC exiting"},
    {proc::USE_IO_BITMAPS, mandatory, "use I/O bitmaps"},
    {proc::USE_MSR_BITMAPS, mandatory, "use MSR bitmaps"},
    {proc::ACTIVATE_SECONDARY_CONTROLS, mandatory, "activate secondary controls"},
    {proc::USE_TPR_SHADOW, never, "use TPR shadow"},  // this and the like in proc2: see with_virtual_interrupts
    {proc::CR8_LOAD_EXITING, mandatory, "CR8-load exiting"},
    {proc::CR8_STORE_EXITING, mandatory, "CR8-store exiting"},
    {proc::INVLPG_EXITING, never, "INVLPG exiting"},
    {proc::RDTSC_EXITING, never, "RDTSC exiting"},
    {proc::CR3_LOAD_EXITING, never, "CR3-load exiting"},
    {proc::CR3_STORE_EXITING, never, "CR3-store exiting"},
    {proc::ACTIVATE_TERTIARY_CONTROLS, never, "activate tertiary controls"},
    {proc::MOV_DR_EXITING, never, "MOV-DR exiting"},
    {proc::UNCONDITIONAL_IO_EXITING, never, "unconditional I/O exiting"},
    {proc::MONITOR_TRAP_FLAG, never, "monitor trap flag"},
    {proc::PAUSE_EXITING, never, "PAUSE exiting"},
};

constexpr Control proc2_controls[] = {
    {proc2::ENABLE_EPT, mandatory, "enable EPT"},
    {proc2::UNRESTRICTED_GUEST, mandatory, "unrestricted guest"},
    {proc2::WBINVD_EXITING, mandatory, "WBINVD exiting"},
    {proc2::ENABLE_VPID, wanted, "enable VPID"},
    {proc2::ENABLE_RDTSCP, wanted, "enable RDTSCP"},
    {proc2::ENABLE_INVPCID, wanted, "enable INVPCID"},
    {proc2::ENABLE_XSAVES, wanted, "enable XSAVES/XRSTORS"},
    {proc2::PAUSE_LOOP_EXITING, wanted, "PAUSE-loop exiting"},  // for vCPUs that share a CPU
    {proc2::VIRTUALIZE_X2APIC_MODE, never, "virtualize x2APIC mode"},
    {proc2::APIC_REGISTER_VIRTUALIZATION, never, "APIC-register virtualization"},
    {proc2::VIRTUAL_INTERRUPT_DELIVERY, never, "virtual-interrupt delivery"},
    {proc2::VIRTUALIZE_APIC_ACCESSES, never, "virtualize APIC accesses"},
    {proc2::DESCRIPTOR_TABLE_EXITING, never, "descriptor-table exiting"},
    {proc2::RDRAND_EXITING, never, "RDRAND exiting"},
    {proc2::ENABLE_VM_FUNCTIONS, never, "enable VM functions"},
    {proc2::VMCS_SHADOWING, never, "VMCS shadowing"},
    {proc2::ENABLE_ENCLS_EXITING, never, "enable ENCLS exiting"},
    {proc2::RDSEED_EXITING, never, "RDSEED exiting"},
    {proc2::ENABLE_PML, never, "enable PML"},
    {proc2::EPT_VIOLATION_VE, never, "EPT-violation #VE"},
    {proc2::CONCEAL_VMX_FROM_PT, never, "conceal VMX from PT"},
    {proc2::PASID_TRANSLATION, never, "PASID translation"},
    {proc2::MODE_BASED_EXECUTE_CONTROL, never, "mode-based execute control for EPT"},
    {proc2::SUB_PAGE_WRITE_PERMISSIONS, never, "sub-page write permissions for EPT"},
    {proc2::PT_USES_GUEST_PHYSICAL_ADDRESSES, never, "Intel PT uses guest physical addresses"},
    {proc2::USE_TSC_SCALING, never, "use TSC scaling"},
    {proc2::ENABLE_USER_WAIT_AND_PAUSE, never, "enable user wait and pause"},
    {proc2::ENABLE_PCONFIG, never, "enable PCONFIG"},
    {proc2::ENABLE_ENCLV_EXITING, never, "enable ENCLV exiting"},
    {proc2::VMM_BUS_LOCK_DETECTION, never, "VMM bus-lock detection"},
    {proc2::INSTRUCTION_TIMEOUT, never, "instruction timeout"},
};

constexpr Control exit_controls[] = {
    {exits::SAVE_DEBUG_CONTROLS, mandatory, "save debug controls"},
    {exits::HOST_ADDRESS_SPACE_SIZE, mandatory, "host address-space size"},
    {exits::ACKNOWLEDGE_INTERRUPT_ON_EXIT, mandatory, "acknowledge interrupt on exit"},
    {exits::SAVE_IA32_PAT, mandatory, "save IA32_PAT"},
    {exits::LOAD_IA32_PAT, mandatory, "load IA32_PAT on exit"},
    {exits::SAVE_IA32_EFER, mandatory, "save IA32_EFER"},
    {exits::LOAD_IA32_EFER, mandatory, "load IA32_EFER on exit"},
    {exits::LOAD_IA32_PERF_GLOBAL_CTRL, never, "load IA32_PERF_GLOBAL_CTRL on exit"},
    // The monitor computes the timer at each entry.
    {exits::SAVE_VMX_PREEMPTION_TIMER_VALUE, never, "save VMX-preemption timer value"},
    {exits::CLEAR_IA32_BNDCFGS, never, "clear IA32_BNDCFGS"},
    {exits::CONCEAL_VMX_FROM_PT, never, "conceal VMX exits from PT"},
    {exits::CLEAR_IA32_RTIT_CTL, never, "clear IA32_RTIT_CTL"},
    {exits::CLEAR_IA32_LBR_CTL, never, "clear IA32_LBR_CTL"},
    {exits::CLEAR_UINV, never, "clear UINV"},
    {exits::LOAD_CET_STATE, never, "load CET state on exit"},
    {exits::LOAD_PKRS, never, "load PKRS on exit"},
    {exits::SAVE_IA32_PERF_GLOBAL_CTRL, never, "save IA32_PERF_GLOBAL_CTRL"},
    {exits::ACTIVATE_SECONDARY_CONTROLS, never, "activate secondary VM-exit controls"},
};

constexpr Control entry_controls[] = {
    {entry::LOAD_DEBUG_CONTROLS, mandatory, "load debug controls"},
    {entry::LOAD_IA32_PAT, mandatory, "load IA32_PAT on entry"},
    {entry::LOAD_IA32_EFER, mandatory, "load IA32_EFER on entry"},
    {entry::IA32E_MODE_GUEST, on_demand, "IA-32e mode guest"},
    {entry::ENTRY_TO_SMM, never, "entry to SMM"},
    {entry::DEACTIVATE_DUAL_MONITOR_TREATMENT, never, "deactivate dual-monitor treatment"},
    {entry::LOAD_IA32_PERF_GLOBAL_CTRL, never, "load IA32_PERF_GLOBAL_CTRL on entry"},
    {entry::LOAD_IA32_BNDCFGS, never, "load IA32_BNDCFGS"},
    {entry::CONCEAL_VMX_FROM_PT, never, "conceal VMX entries from PT"},
    {entry::LOAD_IA32_RTIT_CTL, never, "load IA32_RTIT_CTL"},
    {entry::LOAD_UINV, never, "load UINV"},
    {entry::LOAD_CET_STATE, never, "load CET state on entry"},
    {entry::LOAD_IA32_LBR_CTL, never, "load guest IA32_LBR_CTL"},
    {entry::LOAD_PKRS, never, "load PKRS on entry"},
};

constexpr bool each_bit_once(std::span<const Control> table) {
    std::uint32_t seen = 0;
    for (const Control& c : table) {
        if (c.bit == 0 || (c.bit & (c.bit - 1)) != 0 || (seen & c.bit) != 0) return false;
        seen |= c.bit;
    }
    return true;
}
static_assert(each_bit_once(pin_controls) && each_bit_once(proc_controls) && each_bit_once(proc2_controls) &&
              each_bit_once(exit_controls) && each_bit_once(entry_controls));

constexpr std::string_view other_processor =
    "use a processor with EPT and unrestricted guest (Intel Core of 2010 or later), or, inside another hypervisor, "
    "turn on its full nested VT-x";

Refusal lacking(std::string_view name) {
    return {"the processor does not offer the VMX control", name, other_processor};
}
Refusal imposed(std::string_view name) {
    return {"the processor imposes the VMX control", name, other_processor};
}

// One control word: what the processor requires, and on top what the table says.
std::expected<std::uint32_t, Refusal> choose(std::span<const Control> table, AllowedSettings allowed) {
    std::uint32_t word = allowed.allowed0;
    for (const Control& c : table) {
        switch (c.rule) {
        case mandatory:
            if (!allowed.may_set(c.bit)) return std::unexpected(lacking(c.name));
            word |= c.bit;
            break;
        case wanted:
            if (allowed.may_set(c.bit)) word |= c.bit;
            break;
        case on_demand:
            if (!allowed.may_set(c.bit)) return std::unexpected(lacking(c.name));
            [[fallthrough]];
        case never:
            if (!allowed.may_clear(c.bit)) return std::unexpected(imposed(c.name));
            break;
        }
    }
    return word;
}

}  // namespace

std::expected<Controls, Refusal> choose_controls(const Capabilities& capabilities) {
    Controls controls;
    const struct {
        std::span<const Control> table;
        AllowedSettings allowed;
        std::uint32_t& word;
    } words[] = {
        // First, since what most often lacks is here.
        {proc2_controls, capabilities.proc2(), controls.proc2},
        {pin_controls, capabilities.pin(), controls.pin},
        {proc_controls, capabilities.proc(), controls.proc},
        {exit_controls, capabilities.exit_controls(), controls.exit},
        {entry_controls, capabilities.entry_controls(), controls.entry},
    };
    for (const auto& w : words) {
        const auto chosen = choose(w.table, w.allowed);
        if (!chosen) return std::unexpected(chosen.error());
        w.word = *chosen;
    }
    return controls;
}

std::optional<Controls> with_virtual_interrupts(Controls controls, const Capabilities& capabilities) {
    constexpr std::uint32_t cr8 = proc::CR8_LOAD_EXITING | proc::CR8_STORE_EXITING;
    if (!capabilities.proc().may_set(proc::USE_TPR_SHADOW) || !capabilities.proc().may_clear(cr8) ||
        !capabilities.proc2().may_set(proc2::VIRTUAL_INTERRUPT_DELIVERY | x2apic_mode_controls))
        return std::nullopt;
    controls.proc = (controls.proc & ~cr8) | proc::USE_TPR_SHADOW;
    controls.proc2 |= proc2::VIRTUAL_INTERRUPT_DELIVERY;
    return controls;
}

std::expected<void, Refusal> check_processor(const isa::CpuidResult& leaf1) {
    if ((leaf1.ecx & isa::cpuid::leaf1_ecx::VMX) != 0) return {};
    return std::unexpected(Refusal{
        "this processor has no VT-x (CPUID leaf 1, ECX bit 5)", {},
        "use an Intel processor with VT-x or, inside another hypervisor, turn on nested VT-x for this machine"});
}

std::expected<void, Refusal> check_firmware(std::uint64_t feature_control) {
    using namespace isa::feature_control;
    if ((feature_control & LOCK) == 0 || (feature_control & VMXON_OUTSIDE_SMX) != 0) return {};
    return std::unexpected(Refusal{
        "VT-x is locked off by the firmware (IA32_FEATURE_CONTROL)", {},
        "turn on \"Intel Virtualization Technology\" in the firmware's setup and switch the machine off and on again"});
}

std::expected<void, Refusal> check_capabilities(const Capabilities& c) {
    const struct {
        bool present;
        std::string_view missing;
    } needs[] = {
        {c.ept_four_levels(), "the processor's EPT has no 4-level page walk"},
        {c.ept_write_back(), "the processor's EPT has no write-back memory type for its tables"},
        {c.ept_2mib_pages(), "the processor's EPT has no 2-MiB pages"},
        {c.invept_single_context() || c.invept_all_contexts(), "the processor has EPT but no INVEPT"},
        {c.exit_stores_lma(), "the processor does not store IA32_EFER.LMA on VM exits"},
        {c.regions_write_back(), "the processor does not keep its VMCS in write-back memory"},
        {!c.regions_below_4gib(), "the processor's VMCS addresses are limited to 32 bits"},
        {c.region_size() <= 4096, "the processor's VMCS region is larger than 4 KiB"},
    };
    for (const auto& need : needs)
        if (!need.present) return std::unexpected(Refusal{need.missing, {}, other_processor});
    return {};
}

}  // namespace bulkhead::vmx
