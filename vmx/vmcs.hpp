// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <expected>

#include "arch/isa/exception.hpp"
#include "mm/frame_pool.hpp"
#include "vmx/control_registers.hpp"
#include "vmx/controls.hpp"
#include "vmx/fields.hpp"

namespace bulkhead::vmx {

// The VMCS region of one vCPU, and what the processor keeps of it (SDM 24.11). One CPU at a time has it active: it is
// cleared there before another loads it.
class Vmcs {
  public:
    // A frame on `owner`'s budget.
    [[nodiscard]] static std::expected<Vmcs, mm::OutOfMemory> create(mm::FramePool& pool, mm::OwnerId owner,
                                                                     const Capabilities& capabilities);
    Vmcs() = default;
    Vmcs(Vmcs&& other) noexcept;
    Vmcs& operator=(Vmcs&& other) noexcept;

    // Makes it active and current on this CPU.
    void load();
    // On the CPU where it is active: writes back what the processor keeps, so that it may go elsewhere. The next entry
    // is a VMLAUNCH again.
    void clear();
    // Gives the frame back; it has been cleared.
    void destroy(mm::FramePool& pool);

    // What `enter` asks for.
    bool launched() const { return launched_; }
    // After an entry that succeeded.
    void set_launched() { launched_ = true; }
    HostPhys region() const { return region_; }
    // The VMX-abort indicator: not zero after an exit that could not be completed (SDM 27.7).
    std::uint32_t abort_indicator(const mm::FramePool& pool) const;

  private:
    explicit Vmcs(HostPhys region) : region_(region) {}

    HostPhys region_;
    bool launched_{};
};

// The exceptions that exit. #MC is the machine's. #DB and #AC are given back to the guest (latch_debug_exception,
// inject), but not before an exit: a guest whose handler's delivery raises them again would keep the processor in the
// delivery for ever, where no interrupt, NMI or timer reaches it.
inline constexpr std::uint32_t default_exception_bitmap = 1u << static_cast<unsigned>(isa::Exception::MC) |
    1u << static_cast<unsigned>(isa::Exception::DB) | 1u << static_cast<unsigned>(isa::Exception::AC);

// What a vCPU's control fields point to.
struct VmcsSetup {
    Controls controls;
    std::uint64_t ept_pointer{};
    std::uint16_t vpid{};  // not zero where Controls has VPID
    HostPhys msr_bitmap;
    HostPhys io_bitmap;            // 8 KiB: bitmaps A and B
    HostPhys virtual_apic_page{};  // where Controls has the TPR shadow
    std::uint32_t exception_bitmap{default_exception_bitmap};
    std::uint64_t tsc_offset{};
    ControlRegisterPolicy cr0, cr4;
};

// Writes every control field of the current VMCS.
void write_controls(const VmcsSetup& setup);

// The controls that come and go while a guest runs.
inline void request_interrupt_window(const Controls& controls, bool wanted) {
    write<field::PRIMARY_PROCESSOR_BASED_CONTROLS>(
        controls.proc | (wanted ? control::proc::INTERRUPT_WINDOW_EXITING : 0u));
}

}  // namespace bulkhead::vmx
