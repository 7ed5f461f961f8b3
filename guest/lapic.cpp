// SPDX-License-Identifier: Apache-2.0
#include "guest/lapic.hpp"

#include <bit>

#include "guest/irq_fabric.hpp"

namespace bulkhead::guest {
namespace {

using namespace isa::apic;

// Version 14h, six LVT entries, no suppression of EOI broadcasts (10.4.8).
constexpr std::uint32_t version = 0x0005'0014;

// ESR (10.5.3)
constexpr std::uint32_t send_illegal_vector = 1u << 5;
constexpr std::uint32_t receive_illegal_vector = 1u << 6;
constexpr std::uint32_t illegal_register = 1u << 7;

constexpr std::uint32_t svr_writable = 0x3ff;  // vector, enable, focus checking
constexpr std::uint32_t icr_writable = 0x000c'cfff;
constexpr std::uint32_t broadcast = 0xffff'ffff;
constexpr std::uint32_t xapic_broadcast = 0xff;
constexpr std::uint32_t lvt_remote_irr = 1u << 14;

// The bits of an LVT entry that can be written (figure 10-8); 0: no such entry.
constexpr std::uint32_t lvt_writable(std::uint32_t offset) {
    switch (offset) {
        case LVT_TIMER: return 0x000700ff;
        case LVT_THERMAL:
        case LVT_PMC: return 0x000107ff;
        case LVT_LINT0:
        case LVT_LINT1: return 0x0001a7ff;
        case LVT_ERROR: return 0x000100ff;
        default: return 0;
    }
}

constexpr std::uint32_t all_lvts[] = {LVT_TIMER, LVT_THERMAL, LVT_PMC, LVT_LINT0, LVT_LINT1, LVT_ERROR};

DeliveryMode delivery_of(std::uint32_t entry) { return static_cast<DeliveryMode>(entry >> 8 & 7); }

std::unexpected<isa::Fault> fault() { return std::unexpected(isa::general_protection); }

}  // namespace

Lapic::Lapic(std::uint32_t id, TimerQueue& timers, std::uint64_t crystal_hz, IrqFabric& fabric)
    : id_(id), fabric_(fabric), timer_(timers, crystal_hz, Delegate<void()>::to<&Lapic::timer_expired>(this)) {
    reset();
}

void Lapic::reset() {
    base_ = default_base | isa::apic_base::EN | (id_ == 0 ? isa::apic_base::BSP : 0);
    init();
}

void Lapic::init() {
    page_.fill(0);
    reg(VERSION) = version;
    reg(ID) = is_x2apic() ? id_ : id_ << 24;
    reg(DFR) = 0xffff'ffff;
    reg(SVR) = 0xff;
    for (const std::uint32_t lvt : all_lvts) reg(lvt) = masked;
    // Logical x2APIC ID (10.12.10.2).
    if (is_x2apic()) reg(LDR) = (id_ >> 4) << 16 | 1u << (id_ & 0xf);
    timer_.reset();
    errors_ = 0;
    icr_destination_ = 0;
    ext_int_message_ = false;
}

void Lapic::set_virtual_wire() {
    reg(SVR) = 0x1ff;
    if (id_ == 0) reg(LVT_LINT0) = static_cast<std::uint32_t>(DeliveryMode::ext_int) << 8;
    reg(LVT_LINT1) = static_cast<std::uint32_t>(DeliveryMode::nmi) << 8;
}

// ---- the processor's side

std::uint8_t Lapic::highest(std::uint32_t base) const {
    for (unsigned i = 8; i-- > 0;)
        if (const std::uint32_t bits = reg(base + i * 16); bits != 0)
            return static_cast<std::uint8_t>(i * 32 + 31 - static_cast<unsigned>(std::countl_zero(bits)));
    return 0;
}

std::uint8_t Lapic::ppr() const {
    const std::uint8_t tpr = static_cast<std::uint8_t>(reg(TPR));
    const std::uint8_t in_service = highest(ISR);
    return (tpr >> 4) >= (in_service >> 4) ? tpr : static_cast<std::uint8_t>(in_service & 0xf0);
}

// With the APIC disabled LINT0 is the processor's INTR pin.
bool Lapic::ext_int_accepted() const {
    if (ext_int_message_) return true;
    if (!lint0_) return false;
    if (!is_enabled()) return id_ == 0;
    const std::uint32_t entry = reg(LVT_LINT0);
    return (entry & masked) == 0 && delivery_of(entry) == DeliveryMode::ext_int;
}

bool Lapic::interrupt_deliverable() const {
    return ext_int_accepted() || highest(IRR) >> 4 > ppr() >> 4;
}

std::optional<std::uint8_t> Lapic::acknowledge() {
    if (ext_int_accepted()) {
        ext_int_message_ = false;
        return fabric_.acknowledge_pic();
    }
    const std::uint8_t vector = highest(IRR);
    if (vector >> 4 <= ppr() >> 4) return std::nullopt;
    clear(IRR, vector);
    set(ISR, vector);
    return vector;
}

void Lapic::set_tpr(std::uint8_t value) {
    reg(TPR) = value;
    notify();
}

void Lapic::eoi() {
    const std::uint8_t vector = highest(ISR);
    if (vector == 0) return;
    clear(ISR, vector);
    if (test(TMR, vector)) fabric_.broadcast_eoi(vector);
    if (highest(IRR) != 0) notify();
}

// ---- the bus's side

bool Lapic::is_destination(std::uint32_t destination, DestinationMode mode) const {
    if (!is_enabled()) return false;
    // An I/O APIC has eight bits of destination, and FFh in them is everybody in both modes.
    if (destination == broadcast || destination == xapic_broadcast) return true;
    if (mode == DestinationMode::physical) return destination == id_;
    const std::uint32_t ldr = reg(LDR);
    if (is_x2apic()) return destination >> 16 == ldr >> 16 && (destination & ldr & 0xffff) != 0;
    const std::uint32_t logical = ldr >> 24;
    if (reg(DFR) >> 28 == 0xf) return (destination & logical) != 0;
    return destination >> 4 == logical >> 4 && (destination & logical & 0xf) != 0;
}

bool Lapic::accept(const InterruptMessage& message) {
    if (!is_enabled()) return false;
    switch (message.delivery) {
        case DeliveryMode::fixed:
        case DeliveryMode::lowest_priority:
            if (!software_enabled()) return false;
            if (message.vector < 16) {
                report(receive_illegal_vector);
                return false;
            }
            set(IRR, message.vector);
            if (message.trigger == TriggerMode::level)
                set(TMR, message.vector);
            else
                clear(TMR, message.vector);
            notify();
            return true;
        case DeliveryMode::nmi:
            if (events_ != nullptr) events_->nmi();
            return true;
        case DeliveryMode::init:
            if (events_ != nullptr) events_->init();
            return true;
        case DeliveryMode::startup:
            if (events_ != nullptr) events_->startup(message.vector);
            return true;
        case DeliveryMode::ext_int:
            ext_int_message_ = true;
            notify();
            return true;
        case DeliveryMode::smi: break;  // the machine has no system management mode
    }
    return false;
}

void Lapic::set_lint0(bool level) {
    const bool rises = level && !lint0_;
    lint0_ = level;
    if (ext_int_accepted())
        notify();
    else if (rises && is_enabled() && delivery_of(reg(LVT_LINT0)) != DeliveryMode::ext_int)
        deliver_local(LVT_LINT0);
}

// An interrupt of the local vector table.
void Lapic::deliver_local(std::uint32_t offset) {
    const std::uint32_t entry = reg(offset);
    if ((entry & masked) != 0) return;
    const bool has_mode = offset != LVT_TIMER && offset != LVT_ERROR;
    accept({.delivery = has_mode ? delivery_of(entry) : DeliveryMode::fixed, .vector = static_cast<std::uint8_t>(entry)});
}

void Lapic::report(std::uint32_t error) {
    const bool is_new = (errors_ & error) == 0;
    errors_ |= error;
    // An illegal vector in the error entry itself must not report itself for ever.
    if (is_new && (reg(LVT_ERROR) & 0xff) >= 16) deliver_local(LVT_ERROR);
}

// ---- registers

std::expected<void, isa::Fault> Lapic::write_base(std::uint64_t value) {
    using namespace isa::apic_base;
    // With one processor a guest has no use for another address or another BSP: the page stays where it is.
    constexpr std::uint64_t writable = EN | EXTD;
    if ((value & ~(writable | BSP)) != default_base || ((value ^ base_) & BSP) != 0) return fault();
    const std::uint64_t next = value & writable;
    const std::uint64_t now = base_ & writable;
    if (next == EXTD) return fault();
    if (now == (EN | EXTD) && next == EN) return fault();
    if (now == 0 && next == (EN | EXTD)) return fault();
    if (next == now) return {};
    base_ = (base_ & ~writable) | next;
    // Registers keep their values from xAPIC to x2APIC mode but for the ID, the logical ID and the ICR (10.12.5.1); a
    // disabled APIC comes back as after reset.
    if (now == EN && next == (EN | EXTD)) {
        reg(ID) = id_;
        reg(LDR) = (id_ >> 4) << 16 | 1u << (id_ & 0xf);
        reg(ICR_LOW) = 0;
        icr_destination_ = 0;
    } else {
        init();
    }
    notify();
    return {};
}

std::uint32_t Lapic::read_register(std::uint32_t offset) {
    switch (offset) {
        case PPR: return ppr();
        case TIMER_INITIAL: return timer_.initial_count();
        case TIMER_CURRENT: return timer_.current_count();
        case TIMER_DIVIDE: return timer_.divide();
        case ICR_HIGH: return icr_destination_ << 24;
        default: return reg(offset);
    }
}

void Lapic::write_register(std::uint32_t offset, std::uint32_t value) {
    switch (offset) {
        case TPR: set_tpr(static_cast<std::uint8_t>(value)); return;
        case EOI: eoi(); return;
        case LDR: reg(LDR) = value & 0xff00'0000; return;
        case DFR: reg(DFR) = value | 0x0fff'ffff; return;
        case SVR: write_svr(value); return;
        case ESR: latch_errors(); return;
        case ICR_LOW: write_icr(value); return;
        case ICR_HIGH: icr_destination_ = value >> 24; return;
        case TIMER_INITIAL: timer_.set_initial_count(value); return;
        case TIMER_DIVIDE: timer_.set_divide(value); return;
        case LVT_TIMER:
        case LVT_THERMAL:
        case LVT_PMC:
        case LVT_LINT0:
        case LVT_LINT1:
        case LVT_ERROR: write_lvt(offset, value); return;
        default: return;  // read-only
    }
}

void Lapic::write_lvt(std::uint32_t offset, std::uint32_t value) {
    const std::uint32_t kept = reg(offset) & lvt_remote_irr;
    reg(offset) = (value & lvt_writable(offset)) | kept | (software_enabled() ? 0 : masked);
    if (offset == LVT_TIMER) timer_.set_mode(static_cast<LapicTimer::Mode>(value >> 17 & 3));
    if (offset == LVT_LINT0 && ext_int_accepted()) notify();
}

void Lapic::write_svr(std::uint32_t value) {
    reg(SVR) = value & svr_writable;
    // Software disabling masks the whole table (10.4.7.2).
    if (!software_enabled())
        for (const std::uint32_t lvt : all_lvts) reg(lvt) |= masked;
}

void Lapic::latch_errors() {
    reg(ESR) = errors_;
    errors_ = 0;
}

void Lapic::write_icr(std::uint32_t low) {
    reg(ICR_LOW) = low & icr_writable;
    const InterruptMessage message{
        .destination = icr_destination_,
        .destination_mode = static_cast<DestinationMode>(low >> 11 & 1),
        .delivery = delivery_of(low),
        .trigger = TriggerMode::edge,  // IPIs are; the trigger bit says something of INIT only
        .vector = static_cast<std::uint8_t>(low),
    };
    // INIT level de-assert: ignored by processors since the Pentium 4 (10.6.1).
    const bool level = (low & 1u << 15) != 0, assert = (low & 1u << 14) != 0;
    if (message.delivery == DeliveryMode::init && level && !assert) return;
    const bool has_vector = message.delivery == DeliveryMode::fixed || message.delivery == DeliveryMode::lowest_priority;
    if (has_vector && message.vector < 16) {
        report(send_illegal_vector);
        return;
    }
    fabric_.send(*this, message, static_cast<Shorthand>(low >> 18 & 3));
}

// Registers are 32 bits at multiples of 16; the rest of each 16 bytes is reserved.
std::uint64_t Lapic::read(std::uint64_t offset, unsigned size) {
    if (!is_enabled() || is_x2apic()) return ~0ull;
    const auto aligned = static_cast<std::uint32_t>(offset) & 0xff0;
    const unsigned shift = static_cast<unsigned>(offset & 0xf) * 8;
    if (shift + size * 8 > 32) return 0;
    return read_register(aligned) >> shift;
}

void Lapic::write(std::uint64_t offset, unsigned size, std::uint64_t value) {
    if (!is_enabled() || is_x2apic()) return;
    // Other sizes than 32 bits are undefined (10.4.1); they are ignored.
    if (size != 4 || (offset & 0xf) != 0) return;
    write_register(static_cast<std::uint32_t>(offset), static_cast<std::uint32_t>(value));
}

}  // namespace bulkhead::guest
