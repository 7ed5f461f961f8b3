// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <cstdint>
#include <type_traits>

#include "arch/isa/segment.hpp"
#include "lib/address.hpp"
#include "vmx/instructions.hpp"

// The fields of the VMCS as types (SDM volume 3, appendix B). A field is a type and never a number, so an encoding
// cannot be written where a value was meant; its value has one type, and an exit-information field has no write.
namespace bulkhead::vmx {

enum class FieldWidth : std::uint8_t { bits16 = 0, bits64 = 1, bits32 = 2, natural = 3 };
enum class FieldKind : std::uint8_t { control = 0, exit_information = 1, guest = 2, host = 3 };

template <FieldWidth width>
struct FieldValue {
    using Type = std::uint64_t;
};
template <>
struct FieldValue<FieldWidth::bits16> {
    using Type = std::uint16_t;
};
template <>
struct FieldValue<FieldWidth::bits32> {
    using Type = std::uint32_t;
};

// An encoding says itself how wide its field is and what it belongs to (SDM 24.11.2, table 24-17).
template <std::uint32_t code, class ValueType = void>
struct Field {
    static constexpr std::uint32_t encoding = code;
    static constexpr FieldWidth width = static_cast<FieldWidth>(code >> 13 & 3);
    static constexpr FieldKind kind = static_cast<FieldKind>(code >> 10 & 3);
    using Plain = typename FieldValue<width>::Type;
    using Value = std::conditional_t<std::is_void_v<ValueType>, Plain, ValueType>;
    static_assert((code & ~0x6ffeu) == 0, "reserved bits, or the high half of a 64-bit field");
    static_assert(sizeof(Value) == sizeof(Plain));
};

template <class F>
concept VmcsField = requires {
    typename F::Value;
    { F::encoding } -> std::convertible_to<std::uint32_t>;
    { F::kind } -> std::convertible_to<FieldKind>;
};
template <class F>
concept WritableField = VmcsField<F> && F::kind != FieldKind::exit_information;

// Of the VMCS that is current on this CPU. An access that the processor refuses is a fault of the hypervisor.
template <VmcsField F>
[[nodiscard]] inline typename F::Value read() {
    return static_cast<typename F::Value>(static_cast<typename F::Plain>(instruction::vmread(F::encoding)));
}

template <WritableField F, std::same_as<typename F::Value> V>
inline void write(V value) {
    if constexpr (std::is_integral_v<V>)
        instruction::vmwrite(F::encoding, value);
    else
        instruction::vmwrite(F::encoding, value.value);
}

// NOLINTBEGIN: the names are the SDM's
namespace field {

// B.1.1 16-bit control fields
using VIRTUAL_PROCESSOR_IDENTIFIER = Field<0x0000>;
using POSTED_INTERRUPT_NOTIFICATION_VECTOR = Field<0x0002>;
using EPTP_INDEX = Field<0x0004>;
using HLAT_PREFIX_SIZE = Field<0x0006>;
using LAST_PID_POINTER_INDEX = Field<0x0008>;
// B.1.2 16-bit guest-state fields
using GUEST_ES_SELECTOR = Field<0x0800>;
using GUEST_CS_SELECTOR = Field<0x0802>;
using GUEST_SS_SELECTOR = Field<0x0804>;
using GUEST_DS_SELECTOR = Field<0x0806>;
using GUEST_FS_SELECTOR = Field<0x0808>;
using GUEST_GS_SELECTOR = Field<0x080a>;
using GUEST_LDTR_SELECTOR = Field<0x080c>;
using GUEST_TR_SELECTOR = Field<0x080e>;
using GUEST_INTERRUPT_STATUS = Field<0x0810>;
using PML_INDEX = Field<0x0812>;
// B.1.3 16-bit host-state fields
using HOST_ES_SELECTOR = Field<0x0c00>;
using HOST_CS_SELECTOR = Field<0x0c02>;
using HOST_SS_SELECTOR = Field<0x0c04>;
using HOST_DS_SELECTOR = Field<0x0c06>;
using HOST_FS_SELECTOR = Field<0x0c08>;
using HOST_GS_SELECTOR = Field<0x0c0a>;
using HOST_TR_SELECTOR = Field<0x0c0c>;

// B.2.1 64-bit control fields
using IO_BITMAP_A_ADDRESS = Field<0x2000, HostPhys>;
using IO_BITMAP_B_ADDRESS = Field<0x2002, HostPhys>;
using MSR_BITMAP_ADDRESS = Field<0x2004, HostPhys>;
using VM_EXIT_MSR_STORE_ADDRESS = Field<0x2006, HostPhys>;
using VM_EXIT_MSR_LOAD_ADDRESS = Field<0x2008, HostPhys>;
using VM_ENTRY_MSR_LOAD_ADDRESS = Field<0x200a, HostPhys>;
using EXECUTIVE_VMCS_POINTER = Field<0x200c, HostPhys>;
using PML_ADDRESS = Field<0x200e, HostPhys>;
using TSC_OFFSET = Field<0x2010>;
using VIRTUAL_APIC_ADDRESS = Field<0x2012, HostPhys>;
using APIC_ACCESS_ADDRESS = Field<0x2014, HostPhys>;
using POSTED_INTERRUPT_DESCRIPTOR_ADDRESS = Field<0x2016, HostPhys>;
using VM_FUNCTION_CONTROLS = Field<0x2018>;
using EPT_POINTER = Field<0x201a>;
using EOI_EXIT_BITMAP_0 = Field<0x201c>;
using EOI_EXIT_BITMAP_1 = Field<0x201e>;
using EOI_EXIT_BITMAP_2 = Field<0x2020>;
using EOI_EXIT_BITMAP_3 = Field<0x2022>;
using EPTP_LIST_ADDRESS = Field<0x2024, HostPhys>;
using VMREAD_BITMAP_ADDRESS = Field<0x2026, HostPhys>;
using VMWRITE_BITMAP_ADDRESS = Field<0x2028, HostPhys>;
using VIRTUALIZATION_EXCEPTION_INFORMATION_ADDRESS = Field<0x202a, HostPhys>;
using XSS_EXITING_BITMAP = Field<0x202c>;
using ENCLS_EXITING_BITMAP = Field<0x202e>;
using SUB_PAGE_PERMISSION_TABLE_POINTER = Field<0x2030, HostPhys>;
using TSC_MULTIPLIER = Field<0x2032>;
using TERTIARY_PROCESSOR_BASED_CONTROLS = Field<0x2034>;
using ENCLV_EXITING_BITMAP = Field<0x2036>;
using LOW_PASID_DIRECTORY_ADDRESS = Field<0x2038, HostPhys>;
using HIGH_PASID_DIRECTORY_ADDRESS = Field<0x203a, HostPhys>;
using SHARED_EPT_POINTER = Field<0x203c>;
using PCONFIG_EXITING_BITMAP = Field<0x203e>;
using HYPERVISOR_MANAGED_LINEAR_ADDRESS_TRANSLATION_POINTER = Field<0x2040>;
using PID_POINTER_TABLE_ADDRESS = Field<0x2042, HostPhys>;
using SECONDARY_VM_EXIT_CONTROLS = Field<0x2044>;
using IA32_SPEC_CTRL_MASK = Field<0x204a>;
using IA32_SPEC_CTRL_SHADOW = Field<0x204c>;
// B.2.2 64-bit read-only data field
using GUEST_PHYSICAL_ADDRESS = Field<0x2400, GuestPhys>;
// B.2.3 64-bit guest-state fields
using VMCS_LINK_POINTER = Field<0x2800>;
using GUEST_IA32_DEBUGCTL = Field<0x2802>;
using GUEST_IA32_PAT = Field<0x2804>;
using GUEST_IA32_EFER = Field<0x2806>;
using GUEST_IA32_PERF_GLOBAL_CTRL = Field<0x2808>;
using GUEST_PDPTE0 = Field<0x280a>;
using GUEST_PDPTE1 = Field<0x280c>;
using GUEST_PDPTE2 = Field<0x280e>;
using GUEST_PDPTE3 = Field<0x2810>;
using GUEST_IA32_BNDCFGS = Field<0x2812>;
using GUEST_IA32_RTIT_CTL = Field<0x2814>;
using GUEST_IA32_LBR_CTL = Field<0x2816>;
using GUEST_IA32_PKRS = Field<0x2818>;
// B.2.4 64-bit host-state fields
using HOST_IA32_PAT = Field<0x2c00>;
using HOST_IA32_EFER = Field<0x2c02>;
using HOST_IA32_PERF_GLOBAL_CTRL = Field<0x2c04>;
using HOST_IA32_PKRS = Field<0x2c06>;

// B.3.1 32-bit control fields
using PIN_BASED_CONTROLS = Field<0x4000>;
using PRIMARY_PROCESSOR_BASED_CONTROLS = Field<0x4002>;
using EXCEPTION_BITMAP = Field<0x4004>;
using PAGE_FAULT_ERROR_CODE_MASK = Field<0x4006>;
using PAGE_FAULT_ERROR_CODE_MATCH = Field<0x4008>;
using CR3_TARGET_COUNT = Field<0x400a>;
using VM_EXIT_CONTROLS = Field<0x400c>;
using VM_EXIT_MSR_STORE_COUNT = Field<0x400e>;
using VM_EXIT_MSR_LOAD_COUNT = Field<0x4010>;
using VM_ENTRY_CONTROLS = Field<0x4012>;
using VM_ENTRY_MSR_LOAD_COUNT = Field<0x4014>;
using VM_ENTRY_INTERRUPTION_INFORMATION = Field<0x4016>;
using VM_ENTRY_EXCEPTION_ERROR_CODE = Field<0x4018>;
using VM_ENTRY_INSTRUCTION_LENGTH = Field<0x401a>;
using TPR_THRESHOLD = Field<0x401c>;
using SECONDARY_PROCESSOR_BASED_CONTROLS = Field<0x401e>;
using PLE_GAP = Field<0x4020>;
using PLE_WINDOW = Field<0x4022>;
using INSTRUCTION_TIMEOUT_CONTROL = Field<0x4024>;
// B.3.2 32-bit read-only data fields
using VM_INSTRUCTION_ERROR = Field<0x4400>;
using EXIT_REASON = Field<0x4402>;
using VM_EXIT_INTERRUPTION_INFORMATION = Field<0x4404>;
using VM_EXIT_INTERRUPTION_ERROR_CODE = Field<0x4406>;
using IDT_VECTORING_INFORMATION = Field<0x4408>;
using IDT_VECTORING_ERROR_CODE = Field<0x440a>;
using VM_EXIT_INSTRUCTION_LENGTH = Field<0x440c>;
using VM_EXIT_INSTRUCTION_INFORMATION = Field<0x440e>;
// B.3.3 32-bit guest-state fields
using GUEST_ES_LIMIT = Field<0x4800>;
using GUEST_CS_LIMIT = Field<0x4802>;
using GUEST_SS_LIMIT = Field<0x4804>;
using GUEST_DS_LIMIT = Field<0x4806>;
using GUEST_FS_LIMIT = Field<0x4808>;
using GUEST_GS_LIMIT = Field<0x480a>;
using GUEST_LDTR_LIMIT = Field<0x480c>;
using GUEST_TR_LIMIT = Field<0x480e>;
using GUEST_GDTR_LIMIT = Field<0x4810>;
using GUEST_IDTR_LIMIT = Field<0x4812>;
using GUEST_ES_ACCESS_RIGHTS = Field<0x4814>;
using GUEST_CS_ACCESS_RIGHTS = Field<0x4816>;
using GUEST_SS_ACCESS_RIGHTS = Field<0x4818>;
using GUEST_DS_ACCESS_RIGHTS = Field<0x481a>;
using GUEST_FS_ACCESS_RIGHTS = Field<0x481c>;
using GUEST_GS_ACCESS_RIGHTS = Field<0x481e>;
using GUEST_LDTR_ACCESS_RIGHTS = Field<0x4820>;
using GUEST_TR_ACCESS_RIGHTS = Field<0x4822>;
using GUEST_INTERRUPTIBILITY_STATE = Field<0x4824>;
using GUEST_ACTIVITY_STATE = Field<0x4826>;
using GUEST_SMBASE = Field<0x4828>;
using GUEST_IA32_SYSENTER_CS = Field<0x482a>;
using VMX_PREEMPTION_TIMER_VALUE = Field<0x482e>;
// B.3.4 32-bit host-state field
using HOST_IA32_SYSENTER_CS = Field<0x4c00>;

// B.4.1 natural-width control fields
using CR0_GUEST_HOST_MASK = Field<0x6000>;
using CR4_GUEST_HOST_MASK = Field<0x6002>;
using CR0_READ_SHADOW = Field<0x6004>;
using CR4_READ_SHADOW = Field<0x6006>;
using CR3_TARGET_VALUE_0 = Field<0x6008>;
using CR3_TARGET_VALUE_1 = Field<0x600a>;
using CR3_TARGET_VALUE_2 = Field<0x600c>;
using CR3_TARGET_VALUE_3 = Field<0x600e>;
// B.4.2 natural-width read-only data fields
using EXIT_QUALIFICATION = Field<0x6400>;
using IO_RCX = Field<0x6402>;
using IO_RSI = Field<0x6404>;
using IO_RDI = Field<0x6406>;
using IO_RIP = Field<0x6408>;
using GUEST_LINEAR_ADDRESS = Field<0x640a, GuestVirt>;
// B.4.3 natural-width guest-state fields
using GUEST_CR0 = Field<0x6800>;
using GUEST_CR3 = Field<0x6802>;
using GUEST_CR4 = Field<0x6804>;
using GUEST_ES_BASE = Field<0x6806>;
using GUEST_CS_BASE = Field<0x6808>;
using GUEST_SS_BASE = Field<0x680a>;
using GUEST_DS_BASE = Field<0x680c>;
using GUEST_FS_BASE = Field<0x680e>;
using GUEST_GS_BASE = Field<0x6810>;
using GUEST_LDTR_BASE = Field<0x6812>;
using GUEST_TR_BASE = Field<0x6814>;
using GUEST_GDTR_BASE = Field<0x6816>;
using GUEST_IDTR_BASE = Field<0x6818>;
using GUEST_DR7 = Field<0x681a>;
using GUEST_RSP = Field<0x681c>;
using GUEST_RIP = Field<0x681e>;
using GUEST_RFLAGS = Field<0x6820>;
using GUEST_PENDING_DEBUG_EXCEPTIONS = Field<0x6822>;
using GUEST_IA32_SYSENTER_ESP = Field<0x6824>;
using GUEST_IA32_SYSENTER_EIP = Field<0x6826>;
using GUEST_IA32_S_CET = Field<0x6828>;
using GUEST_SSP = Field<0x682a>;
using GUEST_IA32_INTERRUPT_SSP_TABLE_ADDR = Field<0x682c>;
// B.4.4 natural-width host-state fields
using HOST_CR0 = Field<0x6c00>;
using HOST_CR3 = Field<0x6c02>;
using HOST_CR4 = Field<0x6c04>;
using HOST_FS_BASE = Field<0x6c06>;
using HOST_GS_BASE = Field<0x6c08>;
using HOST_TR_BASE = Field<0x6c0a>;
using HOST_GDTR_BASE = Field<0x6c0c>;
using HOST_IDTR_BASE = Field<0x6c0e>;
using HOST_IA32_SYSENTER_ESP = Field<0x6c10>;
using HOST_IA32_SYSENTER_EIP = Field<0x6c12>;
using HOST_RSP = Field<0x6c14>;
using HOST_RIP = Field<0x6c16>;
using HOST_IA32_S_CET = Field<0x6c18>;
using HOST_SSP = Field<0x6c1a>;
using HOST_IA32_INTERRUPT_SSP_TABLE_ADDR = Field<0x6c1c>;

}  // namespace field
// NOLINTEND

// The four fields of a guest segment register lie in the order of isa::Segment.
[[nodiscard]] inline isa::SegmentRegister read_segment(isa::Segment segment) {
    const std::uint32_t step = 2 * static_cast<std::uint32_t>(segment);
    return {.selector = static_cast<std::uint16_t>(instruction::vmread(field::GUEST_ES_SELECTOR::encoding + step)),
            .rights = static_cast<std::uint32_t>(instruction::vmread(field::GUEST_ES_ACCESS_RIGHTS::encoding + step)),
            .limit = static_cast<std::uint32_t>(instruction::vmread(field::GUEST_ES_LIMIT::encoding + step)),
            .base = instruction::vmread(field::GUEST_ES_BASE::encoding + step)};
}

inline void write_segment(isa::Segment segment, const isa::SegmentRegister& value) {
    const std::uint32_t step = 2 * static_cast<std::uint32_t>(segment);
    instruction::vmwrite(field::GUEST_ES_SELECTOR::encoding + step, value.selector);
    instruction::vmwrite(field::GUEST_ES_ACCESS_RIGHTS::encoding + step, value.rights);
    instruction::vmwrite(field::GUEST_ES_LIMIT::encoding + step, value.limit);
    instruction::vmwrite(field::GUEST_ES_BASE::encoding + step, value.base);
}

}  // namespace bulkhead::vmx
