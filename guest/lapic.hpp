// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <expected>
#include <optional>

#include "arch/isa/exception.hpp"
#include "arch/isa/msr.hpp"
#include "guest/bus.hpp"
#include "guest/interrupt.hpp"
#include "guest/interrupt_assist.hpp"
#include "guest/lapic_bits.hpp"
#include "guest/lapic_bus.hpp"
#include "guest/lapic_page.hpp"
#include "guest/lapic_timer.hpp"

namespace bulkhead::guest {

struct LapicConfig {
    std::uint32_t id{};
    bool bootstrap{};
    std::uint64_t crystal_hz{};  // the timer's rate, as CPUID 15h tells it
    unsigned physical_address_bits{36};
    bool x2apic{true};  // CPUID.01H:ECX[21]
    // Whether software can keep EOIs from the I/O APICs (SVR bit 12); the version register says so.
    bool eoi_broadcast_suppression{};
};

// The x2APIC registers of which RDMSR gives no more than the register page holds, and those of which WRMSR is TPR
// virtualisation or EOI virtualisation (SDM volume 3, 29.5).
bool x2apic_read_is_plain(isa::Msr msr);
bool x2apic_write_is_virtual(isa::Msr msr);

// The local APIC of one vCPU, in xAPIC and x2APIC mode (SDM volume 3, chapter 10). All calls for one guest, from
// whatever CPU, come one at a time.
class Lapic final : public MmioDevice {
  public:
    // `page` is this local APIC's alone.
    Lapic(const LapicConfig& config, RegisterPage& page, TimerQueue& timers, LapicBus& bus);
    Lapic(const Lapic&) = delete;
    Lapic& operator=(const Lapic&) = delete;

    void connect(ProcessorEvents& processor) { processor_ = &processor; }
    // Called with the address of the register page when that changes; nothing: there is none, the local APIC is
    // disabled or in x2APIC mode.
    void on_move(Delegate<void(std::optional<GuestPhys>)> moved) { moved_ = moved; }
    // Before the guest runs.
    void bind(InterruptAssist& assist) { assist_ = &assist; }

    // ---- for VM entry: cheap

    // Something that IF = 1 would let the processor take: a vector above the processor priority, or an ExtINT.
    bool interrupt_deliverable() const { return external_deliverable() || vector_deliverable(); }
    // What is injected; from here on it is in service. Nothing if none is deliverable.
    std::optional<std::uint8_t> acknowledge();
    std::uint8_t highest_requested() const { return requested_; }  // in IRR; 0: none
    std::uint8_t highest_in_service() const { return page_.highest(isa::apic::ISR); }

    // ---- the processor's side

    void reset();  // power-up
    // What an INIT does: all but the APIC ID and IA32_APIC_BASE. The processor calls it when it obeys the INIT.
    void init();
    // As firmware hands the bootstrap processor over: enabled, the 8259A at LINT0, NMI at LINT1 (virtual-wire mode).
    void enter_virtual_wire_mode();

    std::uint32_t id() const { return config_.id; }  // initial APIC ID, and x2APIC ID
    std::uint64_t base() const { return base_; }     // IA32_APIC_BASE
    std::expected<void, isa::Fault> write_base(std::uint64_t value);
    bool is_enabled() const { return (base_ & isa::apic_base::EN) != 0; }
    bool is_x2apic() const { return (base_ & isa::apic_base::EXTD) != 0; }
    std::optional<GuestPhys> mmio_base() const;

    std::uint8_t tpr() const { return static_cast<std::uint8_t>(page_.read(isa::apic::TPR)); }
    void set_tpr(std::uint8_t value);
    std::uint8_t ppr() const { return static_cast<std::uint8_t>(page_.read(isa::apic::PPR)); }
    std::uint8_t cr8() const { return tpr() >> 4; }
    void set_cr8(std::uint8_t value) { set_tpr(static_cast<std::uint8_t>(value << 4)); }
    void set_tsc_adjust(std::uint64_t adjust) { timer_.set_tsc_adjust(adjust); }

    // The x2APIC MSRs and IA32_TSC_DEADLINE.
    std::expected<std::uint64_t, isa::Fault> read_msr(isa::Msr msr);
    std::expected<void, isa::Fault> write_msr(isa::Msr msr, std::uint64_t value);

    std::uint64_t read(std::uint64_t offset, unsigned size) override;
    void write(std::uint64_t offset, unsigned size, std::uint64_t value) override;

    // The processor has ended a level-triggered interrupt by itself (EOI-induced VM exit).
    void ended_in_hardware(std::uint8_t vector) { finish(vector); }

    // ---- the bus's side

    // Whether a message with this destination is for this local APIC (10.6.2).
    bool matches(std::uint32_t destination, isa::apic::DestinationMode mode) const;
    // Fixed and lowest-priority interrupts are taken only while this holds.
    bool is_software_enabled() const { return (page_.read(isa::apic::SVR) & lapic::svr_enable) != 0; }
    bool accept(const InterruptMessage& message);
    // The wire of LINT0 or LINT1; LINT0 is the 8259A's INTR.
    void set_lint(unsigned pin, bool level);

  private:
    bool vector_deliverable() const { return requested_ >> 4 > page_.read(isa::apic::PPR) >> 4; }
    bool external_deliverable() const { return lint_level_[0] && (external_message_ || lint0_passes_external_); }
    void notify();
    void refresh_external();
    void update_ppr();
    void update_in_service();
    void request(std::uint8_t vector, isa::apic::TriggerMode trigger);
    void end_of_interrupt();
    void finish(std::uint8_t vector);
    void raise_lvt(std::uint32_t lvt);
    void report_error(std::uint32_t bit);
    void timer_expired() { raise_lvt(isa::apic::LVT_TIMER); }
    void signal_lint(unsigned pin);

    void reset_registers();
    void write_identity();
    std::uint32_t version() const;
    std::uint32_t svr_legal() const;
    std::uint32_t read_register(std::uint32_t offset);
    void write_register(std::uint32_t offset, std::uint32_t value);
    void write_lvt(std::uint32_t offset, std::uint32_t value);
    void write_svr(std::uint32_t value);
    void write_esr();
    void send(std::uint32_t command, std::uint32_t destination);
    void self_ipi(std::uint8_t vector);

    const LapicConfig config_;
    RegisterPage& page_;
    LapicBus& bus_;
    InterruptAssist* assist_{};
    ProcessorEvents* processor_{};
    Delegate<void(std::optional<GuestPhys>)> moved_;
    std::uint64_t base_{};
    std::uint8_t requested_{};
    bool lint_level_[2]{};
    bool lint0_passes_external_{};  // LINT0 is unmasked ExtINT, or the local APIC is disabled and LINT0 is INTR
    bool external_message_{};       // an ExtINT came as a message, from an I/O APIC
    std::uint32_t errors_{};        // what ESR shows after its next write
    LapicTimer timer_;
};

}  // namespace bulkhead::guest
