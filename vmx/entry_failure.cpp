// SPDX-License-Identifier: Apache-2.0
#include "vmx/entry_failure.hpp"

#include "vmx/guest_state_check.hpp"

namespace bulkhead::vmx {

namespace {

constexpr std::string_view reserved_number = "reserved error number";

constexpr std::string_view instruction_errors[] = {
    "no error",
    "VMCALL executed in VMX root operation",
    "VMCLEAR with invalid physical address",
    "VMCLEAR with VMXON pointer",
    "VMLAUNCH with non-clear VMCS",
    "VMRESUME with non-launched VMCS",
    "VMRESUME after VMXOFF",
    "VM entry with invalid control field(s)",
    "VM entry with invalid host-state field(s)",
    "VMPTRLD with invalid physical address",
    "VMPTRLD with VMXON pointer",
    "VMPTRLD with incorrect VMCS revision identifier",
    "VMREAD/VMWRITE from/to unsupported VMCS component",
    "VMWRITE to read-only VMCS component",
    reserved_number,
    "VMXON executed in VMX root operation",
    "VM entry with invalid executive-VMCS pointer",
    "VM entry with non-launched executive VMCS",
    "VM entry with executive-VMCS pointer not VMXON pointer",
    "VMCALL with non-clear VMCS",
    "VMCALL with invalid VM-exit control fields",
    reserved_number,
    "VMCALL with incorrect MSEG revision identifier",
    "VMXOFF under dual-monitor treatment of SMIs and SMM",
    "VMCALL with invalid SMM-monitor features",
    "VM entry with invalid VM-execution control fields in executive VMCS",
    "VM entry with events blocked by MOV SS",
    reserved_number,
    "invalid operand to INVEPT/INVVPID",
};

// What the exit qualification adds for an invalid guest state (SDM 26.8).
std::string_view guest_state_qualification(std::uint64_t qualification) {
    switch (qualification) {
    case 2: return "a PDPTE is not valid";
    case 3: return "an NMI was to be injected while MOV SS blocked events";
    case 4: return "the VMCS link pointer is not valid";
    default: return {};
    }
}

void explain_guest_state(TextSink& sink, const Platform& platform, const AddressWidths& widths) {
    if (const auto text = guest_state_qualification(read<field::EXIT_QUALIFICATION>()); !text.empty())
        print(sink, "{}; ", text);
    if (const auto violation = check_guest_state(platform.capabilities, widths))
        print(sink, "{} is {:x}, but {} (SDM volume 3, {})", violation->field, violation->value, violation->rule,
              violation->section);
    else
        print(sink, "every check of SDM volume 3, 26.3.1 holds");
}

}  // namespace

std::string_view instruction_error_text(std::uint32_t number) {
    return number < std::size(instruction_errors) ? instruction_errors[number] : reserved_number;
}

std::string_view abort_text(std::uint32_t indicator) {
    switch (indicator) {
    case 0: return "no abort";
    case 1: return "failure in saving guest MSRs";
    case 2: return "host checking of PDPTEs failed";
    case 3: return "the current VMCS has been corrupted";
    case 4: return "failure in loading host MSRs";
    case 5: return "machine check during the VM exit";
    case 6: return "\"host address-space size\" is 0 in IA-32e mode";
    default: return "reserved abort indicator";
    }
}

void explain_entry_failure(TextSink& sink, EntryOutcome outcome, const Platform& platform,
                           const AddressWidths& widths) {
    if (outcome == EntryOutcome::fail_invalid) return print(sink, "VM entry failed: there is no current VMCS");
    if (outcome == EntryOutcome::fail_valid) {
        const std::uint32_t number = read<field::VM_INSTRUCTION_ERROR>();
        return print(sink, "VM entry failed: {} (VM-instruction error {})", instruction_error_text(number), number);
    }
    const auto reason = static_cast<ExitReason>(read<field::EXIT_REASON>() & 0xffff);
    print(sink, "VM entry failed: {}: ", name_of(reason));
    if (reason == ExitReason::ENTRY_FAILURE_GUEST_STATE)
        explain_guest_state(sink, platform, widths);
    else
        print(sink, "exit qualification {:x}", read<field::EXIT_QUALIFICATION>());
}

}  // namespace bulkhead::vmx
