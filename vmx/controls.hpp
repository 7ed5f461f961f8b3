// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <expected>
#include <optional>

#include "arch/isa/cpuid.hpp"
#include "vmx/capabilities.hpp"
#include "vmx/refusal.hpp"

namespace bulkhead::vmx {

// Bits of the VM-execution, VM-exit and VM-entry controls (SDM tables 24-5 to 24-7, 24-12 and 24-14).
namespace control {

namespace pin {
inline constexpr std::uint32_t EXTERNAL_INTERRUPT_EXITING = 1u << 0;
inline constexpr std::uint32_t NMI_EXITING = 1u << 3;
inline constexpr std::uint32_t VIRTUAL_NMIS = 1u << 5;
inline constexpr std::uint32_t ACTIVATE_VMX_PREEMPTION_TIMER = 1u << 6;
inline constexpr std::uint32_t PROCESS_POSTED_INTERRUPTS = 1u << 7;
}  // namespace pin

namespace proc {
inline constexpr std::uint32_t INTERRUPT_WINDOW_EXITING = 1u << 2;
inline constexpr std::uint32_t USE_TSC_OFFSETTING = 1u << 3;
inline constexpr std::uint32_t HLT_EXITING = 1u << 7;
inline constexpr std::uint32_t INVLPG_EXITING = 1u << 9;
inline constexpr std::uint32_t MWAIT_EXITING = 1u << 10;
inline constexpr std::uint32_t RDPMC_EXITING = 1u << 11;
inline constexpr std::uint32_t RDTSC_EXITING = 1u << 12;
inline constexpr std::uint32_t CR3_LOAD_EXITING = 1u << 15;
inline constexpr std::uint32_t CR3_STORE_EXITING = 1u << 16;
inline constexpr std::uint32_t ACTIVATE_TERTIARY_CONTROLS = 1u << 17;
inline constexpr std::uint32_t CR8_LOAD_EXITING = 1u << 19;
inline constexpr std::uint32_t CR8_STORE_EXITING = 1u << 20;
inline constexpr std::uint32_t USE_TPR_SHADOW = 1u << 21;
inline constexpr std::uint32_t NMI_WINDOW_EXITING = 1u << 22;
inline constexpr std::uint32_t MOV_DR_EXITING = 1u << 23;
inline constexpr std::uint32_t UNCONDITIONAL_IO_EXITING = 1u << 24;
inline constexpr std::uint32_t USE_IO_BITMAPS = 1u << 25;
inline constexpr std::uint32_t MONITOR_TRAP_FLAG = 1u << 27;
inline constexpr std::uint32_t USE_MSR_BITMAPS = 1u << 28;
inline constexpr std::uint32_t MONITOR_EXITING = 1u << 29;
inline constexpr std::uint32_t PAUSE_EXITING = 1u << 30;
inline constexpr std::uint32_t ACTIVATE_SECONDARY_CONTROLS = 1u << 31;
}  // namespace proc

namespace proc2 {
inline constexpr std::uint32_t VIRTUALIZE_APIC_ACCESSES = 1u << 0;
inline constexpr std::uint32_t ENABLE_EPT = 1u << 1;
inline constexpr std::uint32_t DESCRIPTOR_TABLE_EXITING = 1u << 2;
inline constexpr std::uint32_t ENABLE_RDTSCP = 1u << 3;
inline constexpr std::uint32_t VIRTUALIZE_X2APIC_MODE = 1u << 4;
inline constexpr std::uint32_t ENABLE_VPID = 1u << 5;
inline constexpr std::uint32_t WBINVD_EXITING = 1u << 6;
inline constexpr std::uint32_t UNRESTRICTED_GUEST = 1u << 7;
inline constexpr std::uint32_t APIC_REGISTER_VIRTUALIZATION = 1u << 8;
inline constexpr std::uint32_t VIRTUAL_INTERRUPT_DELIVERY = 1u << 9;
inline constexpr std::uint32_t PAUSE_LOOP_EXITING = 1u << 10;
inline constexpr std::uint32_t RDRAND_EXITING = 1u << 11;
inline constexpr std::uint32_t ENABLE_INVPCID = 1u << 12;
inline constexpr std::uint32_t ENABLE_VM_FUNCTIONS = 1u << 13;
inline constexpr std::uint32_t VMCS_SHADOWING = 1u << 14;
inline constexpr std::uint32_t ENABLE_ENCLS_EXITING = 1u << 15;
inline constexpr std::uint32_t RDSEED_EXITING = 1u << 16;
inline constexpr std::uint32_t ENABLE_PML = 1u << 17;
inline constexpr std::uint32_t EPT_VIOLATION_VE = 1u << 18;
inline constexpr std::uint32_t CONCEAL_VMX_FROM_PT = 1u << 19;
inline constexpr std::uint32_t ENABLE_XSAVES = 1u << 20;
inline constexpr std::uint32_t PASID_TRANSLATION = 1u << 21;
inline constexpr std::uint32_t MODE_BASED_EXECUTE_CONTROL = 1u << 22;
inline constexpr std::uint32_t SUB_PAGE_WRITE_PERMISSIONS = 1u << 23;
inline constexpr std::uint32_t PT_USES_GUEST_PHYSICAL_ADDRESSES = 1u << 24;
inline constexpr std::uint32_t USE_TSC_SCALING = 1u << 25;
inline constexpr std::uint32_t ENABLE_USER_WAIT_AND_PAUSE = 1u << 26;
inline constexpr std::uint32_t ENABLE_PCONFIG = 1u << 27;
inline constexpr std::uint32_t ENABLE_ENCLV_EXITING = 1u << 28;
inline constexpr std::uint32_t VMM_BUS_LOCK_DETECTION = 1u << 30;
inline constexpr std::uint32_t INSTRUCTION_TIMEOUT = 1u << 31;
}  // namespace proc2

namespace exit {
inline constexpr std::uint32_t SAVE_DEBUG_CONTROLS = 1u << 2;
inline constexpr std::uint32_t HOST_ADDRESS_SPACE_SIZE = 1u << 9;
inline constexpr std::uint32_t LOAD_IA32_PERF_GLOBAL_CTRL = 1u << 12;
inline constexpr std::uint32_t ACKNOWLEDGE_INTERRUPT_ON_EXIT = 1u << 15;
inline constexpr std::uint32_t SAVE_IA32_PAT = 1u << 18;
inline constexpr std::uint32_t LOAD_IA32_PAT = 1u << 19;
inline constexpr std::uint32_t SAVE_IA32_EFER = 1u << 20;
inline constexpr std::uint32_t LOAD_IA32_EFER = 1u << 21;
inline constexpr std::uint32_t SAVE_VMX_PREEMPTION_TIMER_VALUE = 1u << 22;
inline constexpr std::uint32_t CLEAR_IA32_BNDCFGS = 1u << 23;
inline constexpr std::uint32_t CONCEAL_VMX_FROM_PT = 1u << 24;
inline constexpr std::uint32_t CLEAR_IA32_RTIT_CTL = 1u << 25;
inline constexpr std::uint32_t CLEAR_IA32_LBR_CTL = 1u << 26;
inline constexpr std::uint32_t CLEAR_UINV = 1u << 27;
inline constexpr std::uint32_t LOAD_CET_STATE = 1u << 28;
inline constexpr std::uint32_t LOAD_PKRS = 1u << 29;
inline constexpr std::uint32_t SAVE_IA32_PERF_GLOBAL_CTRL = 1u << 30;
inline constexpr std::uint32_t ACTIVATE_SECONDARY_CONTROLS = 1u << 31;
}  // namespace exit

namespace entry {
inline constexpr std::uint32_t LOAD_DEBUG_CONTROLS = 1u << 2;
// Not set here: each VM exit stores the guest's IA32_EFER.LMA in it, and each state that is written sets it.
inline constexpr std::uint32_t IA32E_MODE_GUEST = 1u << 9;
inline constexpr std::uint32_t ENTRY_TO_SMM = 1u << 10;
inline constexpr std::uint32_t DEACTIVATE_DUAL_MONITOR_TREATMENT = 1u << 11;
inline constexpr std::uint32_t LOAD_IA32_PERF_GLOBAL_CTRL = 1u << 13;
inline constexpr std::uint32_t LOAD_IA32_PAT = 1u << 14;
inline constexpr std::uint32_t LOAD_IA32_EFER = 1u << 15;
inline constexpr std::uint32_t LOAD_IA32_BNDCFGS = 1u << 16;
inline constexpr std::uint32_t CONCEAL_VMX_FROM_PT = 1u << 17;
inline constexpr std::uint32_t LOAD_IA32_RTIT_CTL = 1u << 18;
inline constexpr std::uint32_t LOAD_UINV = 1u << 19;
inline constexpr std::uint32_t LOAD_CET_STATE = 1u << 20;
inline constexpr std::uint32_t LOAD_IA32_LBR_CTL = 1u << 21;
inline constexpr std::uint32_t LOAD_PKRS = 1u << 22;
}  // namespace entry

}  // namespace control

// The control words with which every guest starts.
struct Controls {
    std::uint32_t pin{}, proc{}, proc2{}, exit{}, entry{};

    constexpr bool has_proc(std::uint32_t bits) const { return (proc & bits) == bits; }
    constexpr bool has_proc2(std::uint32_t bits) const { return (proc2 & bits) == bits; }
    constexpr bool deliver_virtual_interrupts() const {
        return has_proc2(control::proc2::VIRTUAL_INTERRUPT_DELIVERY);
    }
    friend constexpr bool operator==(const Controls&, const Controls&) = default;
};

[[nodiscard]] std::expected<Controls, Refusal> choose_controls(const Capabilities& capabilities);

// The secondary controls that are set while the guest's local APIC is in x2APIC mode (SDM 29.5).
inline constexpr std::uint32_t x2apic_mode_controls =
    control::proc2::VIRTUALIZE_X2APIC_MODE | control::proc2::APIC_REGISTER_VIRTUALIZATION;
// `controls` of a guest whose interrupts the processor delivers (SDM chapter 29), with the above not set. Nothing where
// the processor does not offer all of it.
[[nodiscard]] std::optional<Controls> with_virtual_interrupts(Controls controls, const Capabilities& capabilities);

// The checks that come before a capability MSR may be read. `leaf1` is CPUID leaf 1.
[[nodiscard]] std::expected<void, Refusal> check_processor(const isa::CpuidResult& leaf1);
// IA32_FEATURE_CONTROL: VMX allowed, or still unlocked.
[[nodiscard]] std::expected<void, Refusal> check_firmware(std::uint64_t feature_control);
// What is needed beyond the controls: the EPT's format, the layout of regions.
[[nodiscard]] std::expected<void, Refusal> check_capabilities(const Capabilities& capabilities);

}  // namespace bulkhead::vmx
