// SPDX-License-Identifier: Apache-2.0
#include "vmx/guest_state_check.hpp"

#include <array>

#include "arch/isa/control.hpp"
#include "arch/isa/msr.hpp"
#include "vmx/controls.hpp"
#include "vmx/event.hpp"
#include "vmx/fields.hpp"
#include "vmx/guest_segment_check.hpp"

namespace bulkhead::vmx {

namespace {

using namespace isa;

// What most rules depend on.
struct Context : SegmentCheckContext {
    const Capabilities& capabilities;
    unsigned physical_bits;
    std::uint64_t cr0, cr4, debugctl;
    std::uint32_t interruptibility_state, activity;
    InterruptionInformation injected;

    bool fits_physical(std::uint64_t value) const { return value >> physical_bits == 0; }
    bool injects(EventType type) const { return injected.valid() && injected.type() == type; }
    bool blocked_by_sti() const { return (interruptibility_state & interruptibility::BLOCKING_BY_STI) != 0; }
    bool blocked_by_mov_ss() const { return (interruptibility_state & interruptibility::BLOCKING_BY_MOV_SS) != 0; }
    bool pae_paging() const {
        return (cr0 & cr0::PG) != 0 && (cr4 & cr4::PAE) != 0 && !ia32e;
    }
};

bool unrestricted_guest() {
    return (read<field::SECONDARY_PROCESSOR_BASED_CONTROLS>() & control::proc2::UNRESTRICTED_GUEST) != 0;
}

Context make_context(const Capabilities& capabilities, const AddressWidths& widths) {
    using namespace field;
    const std::uint64_t rflags = read<GUEST_RFLAGS>();
    return {{.ia32e = (read<VM_ENTRY_CONTROLS>() & control::entry::IA32E_MODE_GUEST) != 0,
             .v86 = (rflags & rflags::VM) != 0,
             .protected_mode = (read<GUEST_CR0>() & cr0::PE) != 0,
             .unrestricted = unrestricted_guest(),
             .linear_bits = widths.linear},
            capabilities,
            widths.physical,
            read<GUEST_CR0>(),
            read<GUEST_CR4>(),
            read<GUEST_IA32_DEBUGCTL>(),
            read<GUEST_INTERRUPTIBILITY_STATE>(),
            read<GUEST_ACTIVITY_STATE>(),
            {read<VM_ENTRY_INTERRUPTION_INFORMATION>()}};
}

void check_control_registers(FirstViolation& v, const Context& c) {
    constexpr std::string_view section = "26.3.1.1";
    // CD and NW are not loaded; PE and PG are free under unrestricted guest.
    const std::uint64_t free0 = cr0::CD | cr0::NW | (c.unrestricted ? cr0::PE | cr0::PG : 0);
    const std::uint64_t must1 = c.capabilities.cr0_fixed0 & ~free0;
    const std::uint64_t must0 = ~c.capabilities.cr0_fixed1 & ~free0;
    v.require((c.cr0 & must1) == must1 && (c.cr0 & must0) == 0, "guest CR0",
              "its bits must suit IA32_VMX_CR0_FIXED0 and FIXED1", section, c.cr0);
    v.require((c.cr0 & cr0::PG) == 0 || (c.cr0 & cr0::PE) != 0, "guest CR0", "PG needs PE", section, c.cr0);
    v.require((c.cr4 & c.capabilities.cr4_fixed0) == c.capabilities.cr4_fixed0 &&
                  (c.cr4 & ~c.capabilities.cr4_fixed1) == 0,
              "guest CR4", "its bits must suit IA32_VMX_CR4_FIXED0 and FIXED1", section, c.cr4);
    if (c.ia32e) {
        v.require((c.cr0 & cr0::PG) != 0, "guest CR0", "\"IA-32e mode guest\" needs PG", section, c.cr0);
        v.require((c.cr4 & cr4::PAE) != 0, "guest CR4", "\"IA-32e mode guest\" needs PAE", section, c.cr4);
    } else {
        v.require((c.cr4 & cr4::PCIDE) == 0, "guest CR4", "PCIDE needs \"IA-32e mode guest\"", section, c.cr4);
    }
    const std::uint64_t cr3 = read<field::GUEST_CR3>();
    v.require(c.fits_physical(cr3), "guest CR3", "bits beyond the physical-address width must be 0", section, cr3);
}

bool is_pat_type(std::uint64_t type) { return type <= 1 || (type >= 4 && type <= 7); }

bool is_pat(std::uint64_t pat) {
    for (unsigned i = 0; i < 8; ++i)
        if (!is_pat_type(pat >> 8 * i & 0xff)) return false;
    return true;
}

void check_debug_and_sysenter(FirstViolation& v, const Context& c) {
    constexpr std::string_view section = "26.3.1.1";
    constexpr std::uint64_t debugctl_defined = 0xffc7;  // LBR, BTF, BLD, TR to RTM
    const std::uint32_t entry = read<field::VM_ENTRY_CONTROLS>();
    if ((entry & control::entry::LOAD_DEBUG_CONTROLS) != 0) {
        v.require((c.debugctl & ~debugctl_defined) == 0, "guest IA32_DEBUGCTL", "reserved bits must be 0", section,
                  c.debugctl);
        const std::uint64_t dr7 = read<field::GUEST_DR7>();
        v.require(dr7 >> 32 == 0, "guest DR7", "bits 63:32 must be 0", section, dr7);
    }
    const std::uint64_t esp = read<field::GUEST_IA32_SYSENTER_ESP>();
    v.require(c.is_canonical(esp), "guest IA32_SYSENTER_ESP", "it must be canonical", section, esp);
    const std::uint64_t eip = read<field::GUEST_IA32_SYSENTER_EIP>();
    v.require(c.is_canonical(eip), "guest IA32_SYSENTER_EIP", "it must be canonical", section, eip);
}

void check_pat_and_efer(FirstViolation& v, const Context& c) {
    constexpr std::string_view section = "26.3.1.1";
    constexpr std::uint64_t efer_defined = efer::SCE | efer::LME | efer::LMA | efer::NXE;
    const std::uint32_t entry = read<field::VM_ENTRY_CONTROLS>();
    if ((entry & control::entry::LOAD_IA32_PAT) != 0) {
        const std::uint64_t pat = read<field::GUEST_IA32_PAT>();
        v.require(is_pat(pat), "guest IA32_PAT", "each byte must be 0, 1, 4, 5, 6 or 7", section, pat);
    }
    if ((entry & control::entry::LOAD_IA32_EFER) == 0) return;
    const std::uint64_t efer = read<field::GUEST_IA32_EFER>();
    const bool lma = (efer & efer::LMA) != 0;
    v.require((efer & ~efer_defined) == 0, "guest IA32_EFER", "reserved bits must be 0", section, efer);
    v.require(lma == c.ia32e, "guest IA32_EFER", "LMA must equal \"IA-32e mode guest\"", section, efer);
    v.require((c.cr0 & cr0::PG) == 0 || lma == ((efer & efer::LME) != 0), "guest IA32_EFER",
              "LMA must equal LME while CR0.PG is 1", section, efer);
}

void check_descriptor_tables(FirstViolation& v, const Context& c) {
    constexpr std::string_view section = "26.3.1.3";
    const std::uint64_t gdtr = read<field::GUEST_GDTR_BASE>(), idtr = read<field::GUEST_IDTR_BASE>();
    v.require(c.is_canonical(gdtr), "guest GDTR base", "it must be canonical", section, gdtr);
    v.require(c.is_canonical(idtr), "guest IDTR base", "it must be canonical", section, idtr);
    const std::uint32_t gdtr_limit = read<field::GUEST_GDTR_LIMIT>(), idtr_limit = read<field::GUEST_IDTR_LIMIT>();
    v.require(gdtr_limit >> 16 == 0, "guest GDTR limit", "bits 31:16 must be 0", section, gdtr_limit);
    v.require(idtr_limit >> 16 == 0, "guest IDTR limit", "bits 31:16 must be 0", section, idtr_limit);
}

void check_rip_and_rflags(FirstViolation& v, const Context& c) {
    constexpr std::string_view section = "26.3.1.4";
    constexpr std::uint64_t reserved = ~0x003f'7fd7ull;
    const std::uint64_t rip = read<field::GUEST_RIP>();
    const bool code64 = c.ia32e && (read<field::GUEST_CS_ACCESS_RIGHTS>() & access_rights::L) != 0;
    if (code64) {
        const std::uint64_t beyond = rip >> c.linear_bits;
        v.require(beyond == 0 || beyond == ~0ull >> c.linear_bits, "guest RIP",
                  "the bits beyond the linear-address width must be alike", section, rip);
    } else {
        v.require(rip >> 32 == 0, "guest RIP", "bits 63:32 must be 0 outside 64-bit mode", section, rip);
    }
    const std::uint64_t flags = read<field::GUEST_RFLAGS>();
    v.require((flags & reserved) == 0, "guest RFLAGS", "bits 63:22, 15, 5 and 3 must be 0", section, flags);
    v.require((flags & rflags::FIXED) != 0, "guest RFLAGS", "bit 1 must be 1", section, flags);
    v.require(!c.v86 || (!c.ia32e && c.protected_mode), "guest RFLAGS",
              "VM must be 0 in IA-32e mode and in real mode", section, flags);
    v.require(!c.injects(EventType::external_interrupt) || (flags & rflags::IF) != 0, "guest RFLAGS",
              "IF must be 1 when an external interrupt is injected", section, flags);
}

// Which events may be delivered to a guest that is not active.
bool wakes(Activity activity, InterruptionInformation event) {
    constexpr std::uint8_t debug = 1, machine_check = 18;
    const bool exception = event.type() == EventType::hardware_exception;
    switch (activity) {
    case Activity::active: return true;
    case Activity::hlt:
        return event.type() == EventType::external_interrupt || event.type() == EventType::nmi ||
            (exception && (event.vector() == debug || event.vector() == machine_check)) ||
            (event.type() == EventType::other && event.vector() == 0);
    case Activity::shutdown: return event.type() == EventType::nmi || (exception && event.vector() == machine_check);
    case Activity::wait_for_sipi: return false;
    }
    return false;
}

void check_activity(FirstViolation& v, const Context& c) {
    constexpr std::string_view section = "26.3.1.5";
    constexpr std::string_view field = "guest activity state";
    const Capabilities& cap = c.capabilities;
    const bool supported[] = {true, cap.activity_hlt(), cap.activity_shutdown(), cap.activity_wait_for_sipi()};
    v.require(c.activity < std::size(supported) && supported[c.activity], field, "the processor must support it",
              section, c.activity);
    const auto activity = static_cast<Activity>(c.activity);
    const std::uint32_t ss_dpl = read<field::GUEST_SS_ACCESS_RIGHTS>() >> access_rights::dpl_shift & 3;
    v.require(activity != Activity::hlt || ss_dpl == 0, field, "HLT needs an SS with DPL 0", section, c.activity);
    v.require(activity == Activity::active || !(c.blocked_by_sti() || c.blocked_by_mov_ss()), field,
              "it must be active while STI or MOV SS blocks events", section, c.activity);
    v.require(!c.injected.valid() || wakes(activity, c.injected), field, "it must allow the event that is injected",
              section, c.activity);
}

void check_interruptibility(FirstViolation& v, const Context& c) {
    constexpr std::string_view section = "26.3.1.5";
    constexpr std::string_view field = "guest interruptibility state";
    const std::uint32_t state = c.interruptibility_state;
    const bool smi = (state & interruptibility::BLOCKING_BY_SMI) != 0;
    const bool nmi = (state & interruptibility::BLOCKING_BY_NMI) != 0;
    const bool enclave = (state & interruptibility::ENCLAVE_INTERRUPTION) != 0;
    const bool virtual_nmis = (read<field::PIN_BASED_CONTROLS>() & control::pin::VIRTUAL_NMIS) != 0;
    v.require(state >> 5 == 0, field, "bits 31:5 must be 0", section, state);
    v.require(!(c.blocked_by_sti() && c.blocked_by_mov_ss()), field, "STI and MOV SS must not both block", section,
              state);
    v.require(!c.blocked_by_sti() || (read<field::GUEST_RFLAGS>() & rflags::IF) != 0, field,
              "blocking by STI needs RFLAGS.IF", section, state);
    v.require(!c.injects(EventType::external_interrupt) || !(c.blocked_by_sti() || c.blocked_by_mov_ss()), field,
              "nothing may block an external interrupt that is injected", section, state);
    v.require(!c.injects(EventType::nmi) || !(c.blocked_by_sti() || c.blocked_by_mov_ss()), field,
              "neither MOV SS nor, on some processors, STI may block an NMI that is injected", section, state);
    v.require(!smi, field, "blocking by SMI must be 0 outside SMM", section, state);
    v.require(!(virtual_nmis && nmi && c.injects(EventType::nmi)), field,
              "blocking by NMI must be 0 when an NMI is injected under virtual NMIs", section, state);
    v.require(!(enclave && c.blocked_by_mov_ss()), field, "an enclave interruption excludes blocking by MOV SS",
              section, state);
}

void check_pending_debug(FirstViolation& v, const Context& c) {
    constexpr std::string_view section = "26.3.1.5";
    constexpr std::string_view field = "guest pending debug exceptions";
    constexpr std::uint64_t defined = 0x1'580f;  // B0 to B3, BLD, enabled breakpoint, BS, RTM
    constexpr std::uint64_t single_step = 1u << 14, rtm = 1u << 16;
    constexpr std::uint64_t debugctl_btf = 1u << 1;
    const std::uint64_t pending = read<field::GUEST_PENDING_DEBUG_EXCEPTIONS>();
    v.require((pending & ~defined) == 0, field, "reserved bits must be 0", section, pending);
    if (c.blocked_by_sti() || c.blocked_by_mov_ss() || c.activity == static_cast<std::uint32_t>(Activity::hlt)) {
        const bool stepping =
            (read<field::GUEST_RFLAGS>() & rflags::TF) != 0 && (c.debugctl & debugctl_btf) == 0;
        v.require(((pending & single_step) != 0) == stepping, field,
                  "BS must be 1 exactly when RFLAGS.TF is 1 and IA32_DEBUGCTL.BTF is 0, in HLT or while STI or MOV SS "
                  "blocks events",
                  section, pending);
    }
    v.require((pending & rtm) == 0 || ((pending & ~rtm) == 1u << 12 && !c.blocked_by_mov_ss()), field,
              "RTM allows bit 12 only beside it, and no blocking by MOV SS", section, pending);
}

void check_link_pointer(FirstViolation& v, const Context& c) {
    const std::uint64_t link = read<field::VMCS_LINK_POINTER>();
    v.require(link == ~0ull || ((link & (page_size - 1)) == 0 && c.fits_physical(link)), "VMCS link pointer",
              "it must be FFFFFFFF_FFFFFFFFh or the address of a VMCS", "26.3.1.5", link);
}

void check_pdptes(FirstViolation& v, const Context& c) {
    const bool ept = (read<field::SECONDARY_PROCESSOR_BASED_CONTROLS>() & control::proc2::ENABLE_EPT) != 0;
    if (!c.pae_paging() || !ept) return;
    constexpr std::uint64_t reserved = 0x1e6;  // bits 2:1 and 8:5
    const struct {
        std::string_view field;
        std::uint64_t value;
    } entries[] = {{"guest PDPTE0", read<field::GUEST_PDPTE0>()},
                   {"guest PDPTE1", read<field::GUEST_PDPTE1>()},
                   {"guest PDPTE2", read<field::GUEST_PDPTE2>()},
                   {"guest PDPTE3", read<field::GUEST_PDPTE3>()}};
    for (const auto& e : entries)
        v.require((e.value & 1) == 0 || ((e.value & reserved) == 0 && c.fits_physical(e.value)), e.field,
                  "reserved bits of a present entry must be 0", "26.3.1.6", e.value);
}

}  // namespace

std::optional<GuestStateViolation> check_guest_state(const Capabilities& capabilities, const AddressWidths& widths) {
    const Context c = make_context(capabilities, widths);
    FirstViolation v;
    check_control_registers(v, c);
    check_debug_and_sysenter(v, c);
    check_pat_and_efer(v, c);
    check_segments(v, c);
    check_descriptor_tables(v, c);
    check_rip_and_rflags(v, c);
    check_activity(v, c);
    check_interruptibility(v, c);
    check_pending_debug(v, c);
    check_link_pointer(v, c);
    check_pdptes(v, c);
    return v.found;
}

}  // namespace bulkhead::vmx
