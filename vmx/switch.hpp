// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "arch/isa/control.hpp"
#include "arch/isa/cpuid.hpp"
#include "arch/isa/msr.hpp"
#include "lib/address.hpp"

namespace bulkhead::vmx {

// What this processor has of the state that VMX does not switch.
struct StateFeatures {
    bool xsave{};
    bool rdtscp{};     // and with it IA32_TSC_AUX
    bool spec_ctrl{};  // IA32_SPEC_CTRL
    std::uint64_t xcr0{isa::xcr0::X87 | isa::xcr0::SSE};  // the state components that a guest may be given
    std::uint32_t area_size{512};                         // of all of them in the standard format
};

// From CPUID leaves 1, 7, 0Dh and 8000_0001h by way of `cpuid(leaf, subleaf)`. State components that are not known
// here, or that do not fit in the area, are left out.
using CpuidReader = isa::CpuidResult (*)(std::uint32_t leaf, std::uint32_t subleaf);
[[nodiscard]] StateFeatures find_state_features(CpuidReader cpuid);

class ProcessorState;

// An MSR that is exchanged with the vCPU, so that a guest may be allowed to read and write it without an exit. Those
// that the VMCS exchanges come on top: FS_BASE, GS_BASE, SYSENTER_*, EFER, PAT, DEBUGCTL.
struct SwitchedMsr {
    isa::Msr msr;
    std::uint64_t ProcessorState::*value;
    bool StateFeatures::*needs;  // null: every processor has it

    bool exists(const StateFeatures& features) const { return needs == nullptr || features.*needs; }
};
[[nodiscard]] std::span<const SwitchedMsr> switched_msrs();

// The processor state of a vCPU that neither the VMCS nor isa::Registers holds: vector state, XCR0, debug registers,
// CR2, and each MSR that a guest can change without an exit. It stays in the CPU over VM exits, since root mode uses
// none of it, and is exchanged when the CPU turns to another vCPU. Lives in one frame, which is the XSAVE area too.
class ProcessorState {
  public:
    // Every component known here fits, AVX-512 and PKRU included.
    static constexpr std::size_t area_size = page_size - 256;

    // After power-up (SDM volume 3, table 9-1).
    void reset();
    // INIT of the vCPU whose state is loaded: the vector state, XCR0 and the MSRs keep their values.
    void init();

    // From this CPU, to this CPU. Loading overwrites all that another vCPU left, whether or not this one enabled it.
    void save(const StateFeatures& features);
    void load(const StateFeatures& features);

    // Of the vCPU whose state is loaded; `value` is valid (SDM volume 1, 13.3).
    void set_xcr0(std::uint64_t value);
    std::uint64_t xcr0() const { return xcr0_; }

    // As of the last save, for emulation and reports while the vCPU is not loaded.
    std::uint64_t cr2{};
    std::array<std::uint64_t, 4> dr{};
    std::uint64_t dr6{isa::dr6::reset};
    std::uint64_t star{}, lstar{}, cstar{}, fmask{}, kernel_gs_base{};
    std::uint64_t tsc_aux{};
    std::uint64_t spec_ctrl{};

    const std::byte* extended_state() const { return area_.data(); }

  private:
    std::uint64_t xcr0_{isa::xcr0::X87};
    alignas(64) std::array<std::byte, area_size> area_{};
};

static_assert(sizeof(ProcessorState) <= page_size);

// XMM register `number` as it is in the CPU, where the guest that exited left it.
[[nodiscard]] std::array<std::uint64_t, 2> read_xmm(unsigned number);
void write_xmm(unsigned number, const std::array<std::uint64_t, 2>& value);
// MMX register `number`, with what an MMX instruction does to the x87 state. None of its exceptions is pending.
[[nodiscard]] std::uint64_t read_mm(unsigned number);
void write_mm(unsigned number, std::uint64_t value);
[[nodiscard]] bool x87_exception_pending();
// PKRU as the guest left it; the processor has it.
[[nodiscard]] std::uint32_t read_pkru();

}  // namespace bulkhead::vmx
