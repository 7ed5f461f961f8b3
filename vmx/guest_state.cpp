// SPDX-License-Identifier: Apache-2.0
#include "vmx/guest_state.hpp"

#include "arch/isa/msr.hpp"
#include "vmx/controls.hpp"
#include "vmx/event.hpp"
#include "vmx/fields.hpp"

namespace bulkhead::vmx {

namespace {

constexpr isa::Segment all_segments[] = {isa::Segment::ES, isa::Segment::CS, isa::Segment::SS,   isa::Segment::DS,
                                         isa::Segment::FS, isa::Segment::GS, isa::Segment::LDTR, isa::Segment::TR};

// Present, system or application segment, of this type (SDM table 24-2).
constexpr std::uint32_t data_accessed = isa::access_rights::P | isa::access_rights::S | 3;
constexpr std::uint32_t code_accessed = isa::access_rights::P | isa::access_rights::S | 11;
constexpr std::uint32_t ldt = isa::access_rights::P | 2;
constexpr std::uint32_t tss_busy = isa::access_rights::P | 11;

// SDM 4.1: LMA is LME and PG.
bool is_long_mode(const GuestState& state) {
    return (state.efer & isa::efer::LME) != 0 && (state.cr0 & isa::cr0::PG) != 0;
}

void write_control_registers(const GuestState& state, const ControlRegisterPolicy& cr0,
                             const ControlRegisterPolicy& cr4) {
    using namespace field;
    write<CR0_READ_SHADOW>(state.cr0);
    write<CR4_READ_SHADOW>(state.cr4);
    write<GUEST_CR0>(cr0.real(state.cr0));
    write<GUEST_CR3>(state.cr3);
    write<GUEST_CR4>(cr4.real(state.cr4));
    const std::uint64_t lma = is_long_mode(state) ? isa::efer::LMA : 0;
    write<GUEST_IA32_EFER>((state.efer & ~isa::efer::LMA) | lma);
    const std::uint32_t entry = read<VM_ENTRY_CONTROLS>() & ~control::entry::IA32E_MODE_GUEST;
    write<VM_ENTRY_CONTROLS>(entry | (lma != 0 ? control::entry::IA32E_MODE_GUEST : 0u));
}

// What GuestState does not name.
void write_the_rest() {
    using namespace field;
    write<GUEST_IA32_DEBUGCTL>(std::uint64_t{0});
    write<GUEST_IA32_SYSENTER_CS>(std::uint32_t{0});
    write<GUEST_IA32_SYSENTER_ESP>(std::uint64_t{0});
    write<GUEST_IA32_SYSENTER_EIP>(std::uint64_t{0});
    write<GUEST_PDPTE0>(std::uint64_t{0});
    write<GUEST_PDPTE1>(std::uint64_t{0});
    write<GUEST_PDPTE2>(std::uint64_t{0});
    write<GUEST_PDPTE3>(std::uint64_t{0});
    write<GUEST_ACTIVITY_STATE>(static_cast<std::uint32_t>(Activity::active));
    write<GUEST_INTERRUPTIBILITY_STATE>(std::uint32_t{0});
    write<GUEST_PENDING_DEBUG_EXCEPTIONS>(std::uint64_t{0});
    write<VM_ENTRY_INTERRUPTION_INFORMATION>(std::uint32_t{0});
}

}  // namespace

GuestState state_after_reset() {
    GuestState state;
    state.rip = 0xfff0;
    state.cr0 = isa::cr0::CD | isa::cr0::NW | isa::cr0::ET;
    for (const isa::Segment s : all_segments) state[s] = {.rights = data_accessed, .limit = 0xffff};
    state[isa::Segment::CS] = {.selector = 0xf000, .rights = code_accessed, .limit = 0xffff, .base = 0xffff'0000};
    state[isa::Segment::LDTR].rights = ldt;
    // The table says "present, read/write"; VM entry wants a busy TSS (SDM 26.3.1.2).
    state[isa::Segment::TR].rights = tss_busy;
    return state;
}

void write_guest_state(const GuestState& state, const ControlRegisterPolicy& cr0, const ControlRegisterPolicy& cr4) {
    using namespace field;
    write<GUEST_RIP>(state.rip);
    write<GUEST_RSP>(state.rsp);
    write<GUEST_RFLAGS>(state.rflags);
    write<GUEST_DR7>(state.dr7);
    write<GUEST_IA32_PAT>(state.pat);
    for (const isa::Segment s : all_segments) write_segment(s, state[s]);
    write<GUEST_GDTR_BASE>(state.gdtr_base);
    write<GUEST_GDTR_LIMIT>(std::uint32_t{state.gdtr_limit});
    write<GUEST_IDTR_BASE>(state.idtr_base);
    write<GUEST_IDTR_LIMIT>(std::uint32_t{state.idtr_limit});
    write_control_registers(state, cr0, cr4);
    write_the_rest();
}

void write_guest_state_after_init(const ControlRegisterPolicy& cr0, const ControlRegisterPolicy& cr4) {
    using namespace field;
    constexpr std::uint64_t cache = isa::cr0::CD | isa::cr0::NW;
    GuestState state = state_after_reset();
    state.pat = read<GUEST_IA32_PAT>();
    state.cr0 = (state.cr0 & ~cache) | (cr0.visible(read<GUEST_CR0>(), read<CR0_READ_SHADOW>()) & cache);
    const std::uint32_t cs = read<GUEST_IA32_SYSENTER_CS>();
    const std::uint64_t esp = read<GUEST_IA32_SYSENTER_ESP>(), eip = read<GUEST_IA32_SYSENTER_EIP>();
    write_guest_state(state, cr0, cr4);
    write<GUEST_IA32_SYSENTER_CS>(cs);
    write<GUEST_IA32_SYSENTER_ESP>(esp);
    write<GUEST_IA32_SYSENTER_EIP>(eip);
}

GuestState read_guest_state(const ControlRegisterPolicy& cr0, const ControlRegisterPolicy& cr4) {
    using namespace field;
    GuestState state;
    state.rip = read<GUEST_RIP>();
    state.rsp = read<GUEST_RSP>();
    state.rflags = read<GUEST_RFLAGS>();
    state.cr0 = cr0.visible(read<GUEST_CR0>(), read<CR0_READ_SHADOW>());
    state.cr3 = read<GUEST_CR3>();
    state.cr4 = cr4.visible(read<GUEST_CR4>(), read<CR4_READ_SHADOW>());
    state.efer = read<GUEST_IA32_EFER>();
    state.dr7 = read<GUEST_DR7>();
    state.pat = read<GUEST_IA32_PAT>();
    for (const isa::Segment s : all_segments) state[s] = read_segment(s);
    state.gdtr_base = read<GUEST_GDTR_BASE>();
    state.gdtr_limit = static_cast<std::uint16_t>(read<GUEST_GDTR_LIMIT>());
    state.idtr_base = read<GUEST_IDTR_BASE>();
    state.idtr_limit = static_cast<std::uint16_t>(read<GUEST_IDTR_LIMIT>());
    return state;
}

}  // namespace bulkhead::vmx
