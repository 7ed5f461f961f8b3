// SPDX-License-Identifier: Apache-2.0
#include "guest/lapic.hpp"

#include <algorithm>

// What comes in and what is delivered. The registers are in lapic_registers.cpp.
namespace bulkhead::guest {

using namespace isa::apic;
using namespace lapic;

Lapic::Lapic(const LapicConfig& config, RegisterPage& page, TimerQueue& timers, LapicBus& bus)
    : config_(config),
      page_(page),
      bus_(bus),
      timer_(timers, config.crystal_hz, Delegate<void()>::to<&Lapic::timer_expired>(this)) {
    reset();
}

void Lapic::reset() {
    const auto before = mmio_base();
    base_ = isa::apic::default_base | isa::apic_base::EN | (config_.bootstrap ? isa::apic_base::BSP : 0);
    reset_registers();
    write_identity();
    if (mmio_base() != before && moved_) moved_(mmio_base());
}

// 10.4.7.3. In x2APIC mode the mode stays too (10.12.5.1).
void Lapic::init() {
    const std::uint32_t id = page_.read(ID);
    reset_registers();
    write_identity();
    page_.write(ID, id);
}

// 10.4.7.1.
void Lapic::reset_registers() {
    page_.clear();
    page_.write(VERSION, version());
    page_.write(DFR, 0xffff'ffff);
    page_.write(SVR, 0xff);
    for (const std::uint32_t lvt : lvts) page_.write(lvt, lvt_masked);
    requested_ = 0;
    update_in_service();
    timer_.reset();
    errors_ = 0;
    external_message_ = false;
    refresh_external();
}

// SDM volume 3, 10.12.5: the x2APIC ID is not what software may have written to the xAPIC's; the logical one follows.
void Lapic::write_identity() {
    if (!is_x2apic()) {
        page_.write(ID, config_.id << 24);
        return;
    }
    page_.write(ID, config_.id);
    page_.write(LDR, (config_.id >> 4) << 16 | 1u << (config_.id & 0xf));
}

std::uint32_t Lapic::version() const {
    const auto max_lvt_entry = static_cast<std::uint32_t>(std::size(lvts) - 1);
    return 0x14 | max_lvt_entry << 16 | (config_.eoi_broadcast_suppression ? 1u << 24 : 0);
}

std::uint32_t Lapic::svr_legal() const {
    return config_.eoi_broadcast_suppression ? svr_writable : svr_writable & ~svr_suppress_eoi_broadcast;
}

void Lapic::enter_virtual_wire_mode() {
    write_svr(svr_enable | 0xff);
    write_lvt(LVT_LINT0, static_cast<std::uint32_t>(DeliveryMode::ext_int) << 8);
    write_lvt(LVT_LINT1, static_cast<std::uint32_t>(DeliveryMode::nmi) << 8);
}

// Table 10-5: x2APIC mode is left only by disabling, and entered only from xAPIC mode.
std::expected<void, isa::Fault> Lapic::write_base(std::uint64_t value) {
    using namespace isa::apic_base;
    const std::uint64_t address = ((1ull << config_.physical_address_bits) - 1) & ~0xfffull;
    const std::uint64_t legal = address | EN | BSP | (config_.x2apic ? EXTD : 0);
    if ((value & ~legal) != 0 || (value & (EN | EXTD)) == EXTD) return std::unexpected(isa::general_protection);
    const bool x2apic = (value & EXTD) != 0;
    if (is_x2apic() ? (value & EN) != 0 && !x2apic : x2apic && !is_enabled())
        return std::unexpected(isa::general_protection);

    const auto before = mmio_base();
    const std::uint64_t changed = value ^ base_;
    base_ = value;
    // Disabled, it forgets everything: it comes back as after power-up (10.4.3).
    if ((changed & EN) != 0) reset_registers();
    if ((changed & (EN | EXTD)) != 0) write_identity();
    if ((changed & EN) == 0 && (changed & EXTD) != 0) page_.write(icr_destination_x2apic, 0);
    refresh_external();
    if (mmio_base() != before && moved_) moved_(mmio_base());
    return {};
}

std::optional<GuestPhys> Lapic::mmio_base() const {
    if (!is_enabled() || is_x2apic()) return std::nullopt;
    return GuestPhys{base_ & ~0xfffull};
}

// ---- delivery

void Lapic::notify() {
    if (processor_ != nullptr && interrupt_deliverable()) processor_->interrupt_pending();
}

void Lapic::refresh_external() {
    const std::uint32_t lint0 = page_.read(LVT_LINT0);
    const bool was = lint0_passes_external_;
    lint0_passes_external_ =
        !is_enabled() || ((lint0 & lvt_masked) == 0 && lvt_delivery(lint0) == DeliveryMode::ext_int);
    if (lint0_passes_external_ && !was) notify();
}

// 10.8.3.1.
void Lapic::update_ppr() {
    const std::uint32_t task = page_.read(TPR);
    const std::uint32_t service = page_.highest(ISR);
    page_.write(PPR, task >> 4 >= service >> 4 ? task : service & 0xf0);
}

void Lapic::update_in_service() {
    update_ppr();
    if (assist_ != nullptr) assist_->in_service_changed();
}

void Lapic::set_tpr(std::uint8_t value) {
    page_.write(TPR, value);
    update_ppr();
    notify();
}

std::optional<std::uint8_t> Lapic::acknowledge() {
    if (external_deliverable()) {
        external_message_ = false;
        return bus_.acknowledge_external();
    }
    if (!vector_deliverable()) return std::nullopt;
    const std::uint8_t vector = requested_;
    page_.set(IRR, vector, false);
    requested_ = page_.highest(IRR);
    page_.set(ISR, vector);
    update_in_service();
    return vector;
}

void Lapic::request(std::uint8_t vector, TriggerMode trigger) {
    if (vector < first_legal_vector) {
        report_error(esr::receive_illegal_vector);
        return;
    }
    const bool level = trigger == TriggerMode::level;
    if (level != page_.test(TMR, vector)) {
        page_.set(TMR, vector, level);
        if (assist_ != nullptr) assist_->set_eoi_exit(vector, level);
    }
    page_.set(IRR, vector);
    requested_ = std::max(requested_, vector);
    if (assist_ != nullptr) assist_->requested();
    notify();
}

void Lapic::end_of_interrupt() {
    const std::uint8_t vector = highest_in_service();
    if (vector == 0) return;
    page_.set(ISR, vector, false);
    update_in_service();
    finish(vector);
    notify();
}

// 10.8.5: the end of a level-triggered interrupt is told to the I/O APICs, and to LINT0 if it came from there.
void Lapic::finish(std::uint8_t vector) {
    if (!page_.test(TMR, vector)) return;
    const std::uint32_t lint0 = page_.read(LVT_LINT0);
    if ((lint0 & lvt_remote_irr) != 0 && static_cast<std::uint8_t>(lint0) == vector) {
        page_.write(LVT_LINT0, lint0 & ~lvt_remote_irr);
        if (lint_level_[0]) signal_lint(0);
    }
    if ((page_.read(SVR) & svr_suppress_eoi_broadcast) == 0) bus_.end_of_interrupt(vector);
}

// 10.6.2. A destination has 32 bits here, whatever the sender's mode.
bool Lapic::matches(std::uint32_t destination, DestinationMode mode) const {
    if (destination == broadcast_destination) return true;
    if (mode == DestinationMode::physical) return destination == (is_x2apic() ? config_.id : page_.read(ID) >> 24);
    const std::uint32_t ldr = page_.read(LDR);
    if (is_x2apic()) return destination >> 16 == ldr >> 16 && (destination & ldr & 0xffff) != 0;
    if (destination > 0xff) return false;
    const std::uint32_t own = ldr >> 24;
    switch (page_.read(DFR) >> 28) {
        case dfr_flat: return (destination & own) != 0;
        case dfr_cluster: {
            const bool cluster = destination >> 4 == own >> 4 || destination >> 4 == 0xf;
            return cluster && (destination & own & 0xf) != 0;
        }
        default: return false;
    }
}

bool Lapic::accept(const InterruptMessage& message) {
    if (!is_enabled()) return false;
    switch (message.delivery) {
        case DeliveryMode::fixed:
        case DeliveryMode::lowest_priority:
            // Software disabled, it still takes what the other cases are (10.4.7.2).
            if (!is_software_enabled()) return false;
            request(message.vector, message.trigger);
            return true;
        case DeliveryMode::nmi:
            if (processor_ != nullptr) processor_->nmi();
            return true;
        case DeliveryMode::init:
            if (processor_ != nullptr) processor_->init();
            return true;
        case DeliveryMode::startup:
            if (processor_ != nullptr) processor_->startup(message.vector);
            return true;
        case DeliveryMode::ext_int:
            external_message_ = true;
            notify();
            return true;
        case DeliveryMode::smi: return true;  // this machine's SMM handler has nothing to do, and is not seen
    }
    return false;
}

// ---- local sources

void Lapic::raise_lvt(std::uint32_t lvt) {
    const std::uint32_t entry = page_.read(lvt);
    if ((entry & lvt_masked) != 0) return;
    const auto vector = static_cast<std::uint8_t>(entry);
    // LINT1 knows no level-triggered interrupts (10.5.1).
    const bool level = lvt == LVT_LINT0 && (entry & lvt_level) != 0;
    switch (lvt_delivery(entry)) {
        case DeliveryMode::fixed:
            if (level && (entry & lvt_remote_irr) != 0) return;
            if (level && vector >= first_legal_vector) page_.write(lvt, entry | lvt_remote_irr);
            request(vector, level ? TriggerMode::level : TriggerMode::edge);
            return;
        case DeliveryMode::nmi:
            if (processor_ != nullptr) processor_->nmi();
            return;
        case DeliveryMode::init:
            if (processor_ != nullptr) processor_->init();
            return;
        default: return;  // ExtINT is a level that external_deliverable() looks at; SMI as in accept()
    }
}

// The LVT's polarity bit plays no part: a pin's idle level is the inactive one.
void Lapic::set_lint(unsigned pin, bool level) {
    if (lint_level_[pin] == level) return;
    lint_level_[pin] = level;
    if (!level) {
        if (pin == 0) external_message_ = false;
        return;
    }
    if (pin == 0 && lint0_passes_external_)
        notify();
    else
        signal_lint(pin);
}

void Lapic::signal_lint(unsigned pin) {
    if (is_enabled())
        raise_lvt(pin == 0 ? LVT_LINT0 : LVT_LINT1);
    else if (pin == 1 && processor_ != nullptr)
        processor_->nmi();  // disabled, its pins are INTR and NMI (10.4.3)
}

// 10.5.3. An error while the error interrupt is raised, because its vector is illegal, raises no other.
void Lapic::report_error(std::uint32_t bit) {
    const std::uint32_t entry = page_.read(LVT_ERROR);
    errors_ |= bit;
    if (static_cast<std::uint8_t>(entry) < first_legal_vector && (entry & lvt_masked) == 0)
        errors_ |= esr::receive_illegal_vector;
    else
        raise_lvt(LVT_ERROR);
}

}  // namespace bulkhead::guest
