// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <expected>
#include <optional>

#include "arch/isa/apic.hpp"
#include "arch/isa/exception.hpp"
#include "arch/isa/msr.hpp"
#include "guest/bus.hpp"
#include "guest/interrupt.hpp"
#include "guest/lapic_timer.hpp"
#include "lib/address.hpp"

namespace bulkhead::guest {

class IrqFabric;

// The local APIC of one vCPU (SDM volume 3, chapter 10): xAPIC by memory, x2APIC by MSR, and IA32_APIC_BASE between
// them. Its registers are one architectural page.
class Lapic final : public MmioDevice {
  public:
    Lapic(std::uint32_t id, TimerQueue& timers, std::uint64_t crystal_hz, IrqFabric& fabric);

    void connect(ProcessorEvents& events) { events_ = &events; }
    // After RESET; INIT keeps the ID and IA32_APIC_BASE (10.4.7.3).
    void reset();
    void init();
    // As firmware hands over a PC: enabled, the 8259 pair on LINT0 of the first processor, NMI on LINT1 (10.8.1).
    void set_virtual_wire();

    // ---- the processor's side

    // A maskable interrupt that the processor would take if RFLAGS.IF lets it.
    bool interrupt_deliverable() const;
    // The interrupt is taken: its vector. Nothing when none is deliverable.
    std::optional<std::uint8_t> acknowledge();
    std::uint8_t cr8() const { return static_cast<std::uint8_t>(reg(isa::apic::TPR) >> 4 & 0xf); }
    void set_cr8(std::uint8_t value) { set_tpr(static_cast<std::uint8_t>(value << 4)); }
    void set_tsc_adjust(std::uint64_t adjust) { timer_.set_tsc_adjust(adjust); }

    // ---- registers

    std::uint64_t base() const { return base_; }
    // #GP for a reserved bit or a transition that is none (figure 10-27).
    std::expected<void, isa::Fault> write_base(std::uint64_t value);
    // The x2APIC registers and IA32_TSC_DEADLINE.
    std::expected<std::uint64_t, isa::Fault> read_msr(isa::Msr msr);
    std::expected<void, isa::Fault> write_msr(isa::Msr msr, std::uint64_t value);
    std::uint64_t read(std::uint64_t offset, unsigned size) override;
    void write(std::uint64_t offset, unsigned size, std::uint64_t value) override;

    // ---- the bus's side

    std::uint32_t id() const { return id_; }
    bool is_enabled() const { return (base_ & isa::apic_base::EN) != 0; }
    bool is_x2apic() const { return (base_ & isa::apic_base::EXTD) != 0; }
    bool is_destination(std::uint32_t destination, isa::apic::DestinationMode mode) const;
    // False when it does not take the message: it is disabled, or the vector is illegal.
    bool accept(const InterruptMessage& message);
    std::uint8_t ppr() const;
    // The level of the 8259 pair's INTR output, on LINT0.
    void set_lint0(bool level);

  private:
    static constexpr std::uint32_t masked = 1u << 16;

    std::uint32_t& reg(std::uint32_t offset) { return page_[offset / 4]; }
    std::uint32_t reg(std::uint32_t offset) const { return page_[offset / 4]; }

    std::uint32_t read_register(std::uint32_t offset);
    void write_register(std::uint32_t offset, std::uint32_t value);
    void write_lvt(std::uint32_t offset, std::uint32_t value);
    void write_svr(std::uint32_t value);
    void write_icr(std::uint32_t low);
    void latch_errors();
    void set_tpr(std::uint8_t value);
    void eoi();

    bool software_enabled() const { return (reg(isa::apic::SVR) & 1u << 8) != 0; }
    bool ext_int_accepted() const;
    void deliver_local(std::uint32_t offset);
    void timer_expired() { deliver_local(isa::apic::LVT_TIMER); }
    void report(std::uint32_t error);

    // Vectors in the eight 32-bit words of IRR, ISR and TMR, sixteen bytes apart.
    static constexpr std::uint32_t word(std::uint32_t base, std::uint8_t vector) { return base + vector / 32u * 16; }
    void set(std::uint32_t base, std::uint8_t vector) { reg(word(base, vector)) |= 1u << vector % 32; }
    void clear(std::uint32_t base, std::uint8_t vector) { reg(word(base, vector)) &= ~(1u << vector % 32); }
    bool test(std::uint32_t base, std::uint8_t vector) const { return (reg(word(base, vector)) >> vector % 32 & 1) != 0; }
    // 0 when there is none: vectors below 16 are never set.
    std::uint8_t highest(std::uint32_t base) const;
    void notify() {
        if (events_ != nullptr) events_->interrupt_pending();
    }

    alignas(page_size) std::array<std::uint32_t, page_size / 4> page_{};
    const std::uint32_t id_;
    IrqFabric& fabric_;
    ProcessorEvents* events_{};
    LapicTimer timer_;
    std::uint64_t base_{};
    std::uint32_t errors_{};  // since the last write of ESR
    std::uint32_t icr_destination_{};
    bool lint0_{};
    bool ext_int_message_{};  // from an I/O APIC
};

}  // namespace bulkhead::guest
