// SPDX-License-Identifier: Apache-2.0
#include "vmx/vmcs.hpp"

#include <utility>

#include "lib/log.hpp"

namespace bulkhead::vmx {

namespace {

// PAUSE-loop exiting (SDM 25.1.3), in ticks of the TSC: PAUSEs that are no farther apart are one loop, and a loop that
// lasts this long exits. A lock that is held by a vCPU that runs is free again long before.
constexpr std::uint32_t pause_loop_gap = 128, pause_loop_window = 4096;

void must_succeed(instruction::Outcome outcome, std::string_view name, HostPhys region) {
    if (outcome != instruction::Outcome::succeed) panic("{} failed for the VMCS at {}", name, region);
}

}  // namespace

std::expected<Vmcs, mm::OutOfMemory> Vmcs::create(mm::FramePool& pool, mm::OwnerId owner,
                                                  const Capabilities& capabilities) {
    const auto frame = pool.allocate(owner);
    if (!frame) return std::unexpected(frame.error());
    *pool.at<std::uint32_t>(*frame) = capabilities.revision();
    Vmcs vmcs{*frame};
    // The processor keeps its own record of a region: it starts from a clear one (SDM 24.11.3).
    vmcs.clear();
    return vmcs;
}

Vmcs::Vmcs(Vmcs&& other) noexcept
    : region_(std::exchange(other.region_, {})), launched_(std::exchange(other.launched_, false)) {}

Vmcs& Vmcs::operator=(Vmcs&& other) noexcept {
    region_ = std::exchange(other.region_, {});
    launched_ = std::exchange(other.launched_, false);
    return *this;
}

void Vmcs::load() { must_succeed(instruction::vmptrld(region_), "VMPTRLD", region_); }

void Vmcs::clear() {
    must_succeed(instruction::vmclear(region_), "VMCLEAR", region_);
    launched_ = false;
}

void Vmcs::destroy(mm::FramePool& pool) { pool.release(std::exchange(region_, {})); }

std::uint32_t Vmcs::abort_indicator(const mm::FramePool& pool) const { return pool.at<std::uint32_t>(region_)[1]; }

namespace {

void write_execution_controls(const VmcsSetup& setup) {
    using namespace field;
    write<PIN_BASED_CONTROLS>(setup.controls.pin);
    write<PRIMARY_PROCESSOR_BASED_CONTROLS>(setup.controls.proc);
    write<SECONDARY_PROCESSOR_BASED_CONTROLS>(setup.controls.proc2);
    write<EXCEPTION_BITMAP>(setup.exception_bitmap);
    // Bit 14 of the bitmap alone decides on page faults (SDM 24.6.3).
    write<PAGE_FAULT_ERROR_CODE_MASK>(std::uint32_t{0});
    write<PAGE_FAULT_ERROR_CODE_MATCH>(std::uint32_t{0});
    write<IO_BITMAP_A_ADDRESS>(setup.io_bitmap);
    write<IO_BITMAP_B_ADDRESS>(setup.io_bitmap + page_size);
    write<MSR_BITMAP_ADDRESS>(setup.msr_bitmap);
    write<TSC_OFFSET>(setup.tsc_offset);
    write<EPT_POINTER>(setup.ept_pointer);
    write<CR3_TARGET_COUNT>(std::uint32_t{0});
    write<CR0_GUEST_HOST_MASK>(setup.cr0.host_owned);
    write<CR4_GUEST_HOST_MASK>(setup.cr4.host_owned);
}

// Fields that exist only where the processor offers their control (SDM appendix B).
void write_optional_controls(const VmcsSetup& setup) {
    using namespace field;
    const Controls& controls = setup.controls;
    if (controls.has_proc2(control::proc2::ENABLE_VPID)) write<VIRTUAL_PROCESSOR_IDENTIFIER>(setup.vpid);
    if (controls.has_proc2(control::proc2::PAUSE_LOOP_EXITING)) {
        write<PLE_GAP>(pause_loop_gap);
        write<PLE_WINDOW>(pause_loop_window);
    }
    // IA32_XSS is 0 and stays so: XSAVES and XRSTORS of the guest have nothing to exit for.
    if (controls.has_proc2(control::proc2::ENABLE_XSAVES)) write<XSS_EXITING_BITMAP>(std::uint64_t{0});
    if (controls.has_proc(control::proc::USE_TPR_SHADOW)) {
        write<VIRTUAL_APIC_ADDRESS>(setup.virtual_apic_page);
        write<TPR_THRESHOLD>(std::uint32_t{0});
    }
    if (controls.has_proc2(control::proc2::VIRTUAL_INTERRUPT_DELIVERY)) {
        write<GUEST_INTERRUPT_STATUS>(std::uint16_t{0});
        write<EOI_EXIT_BITMAP_0>(std::uint64_t{0});
        write<EOI_EXIT_BITMAP_1>(std::uint64_t{0});
        write<EOI_EXIT_BITMAP_2>(std::uint64_t{0});
        write<EOI_EXIT_BITMAP_3>(std::uint64_t{0});
    }
}

}  // namespace

void write_controls(const VmcsSetup& setup) {
    using namespace field;
    write_execution_controls(setup);
    write_optional_controls(setup);
    write<VM_EXIT_CONTROLS>(setup.controls.exit);
    write<VM_EXIT_MSR_STORE_COUNT>(std::uint32_t{0});
    write<VM_EXIT_MSR_LOAD_COUNT>(std::uint32_t{0});
    write<VM_ENTRY_CONTROLS>(setup.controls.entry);
    write<VM_ENTRY_MSR_LOAD_COUNT>(std::uint32_t{0});
    write<VM_ENTRY_INTERRUPTION_INFORMATION>(std::uint32_t{0});
    write<VM_ENTRY_EXCEPTION_ERROR_CODE>(std::uint32_t{0});
    write<VM_ENTRY_INSTRUCTION_LENGTH>(std::uint32_t{0});
    // No shadow VMCS (SDM 26.3.1.5).
    write<VMCS_LINK_POINTER>(~std::uint64_t{0});
}

}  // namespace bulkhead::vmx
