// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>

#include "guest/lapic.hpp"
#include "guest/lapic_bits.hpp"

// The local APIC's registers as software sees them: the page of xAPIC mode and the MSRs of x2APIC mode.
namespace bulkhead::guest {

using namespace isa::apic;
using namespace lapic;

namespace {

constexpr bool is_lvt(std::uint32_t offset) { return std::ranges::find(lvts, offset) != std::end(lvts); }

constexpr bool is_vector_bank(std::uint32_t offset) { return offset >= ISR && offset < ESR; }

enum class Access : std::uint8_t { none = 0, read = 1, write = 2, both = 3 };

constexpr bool allows(Access access, Access wanted) {
    return (static_cast<unsigned>(access) & static_cast<unsigned>(wanted)) != 0;
}

// Table 10-1. APR and RRD are there, but not supported by any processor that has VMX.
constexpr Access xapic_access(std::uint32_t offset) {
    if (is_vector_bank(offset)) return Access::read;
    if (is_lvt(offset)) return Access::both;
    switch (offset) {
        case VERSION:
        case APR:
        case PPR:
        case RRD:
        case TIMER_CURRENT: return Access::read;
        case EOI: return Access::write;
        case ID:
        case TPR:
        case LDR:
        case DFR:
        case SVR:
        case ESR:
        case ICR_LOW:
        case ICR_HIGH:
        case TIMER_INITIAL:
        case TIMER_DIVIDE: return Access::both;
        default: return Access::none;
    }
}

// Table 10-6.
constexpr Access x2apic_access(std::uint32_t offset) {
    switch (offset) {
        case ID:
        case LDR: return Access::read;
        case APR:
        case RRD:
        case DFR:
        case ICR_HIGH: return Access::none;
        case SELF_IPI: return Access::write;
        default: return xapic_access(offset);
    }
}

// What WRMSR takes as one. The delivery status and the remote IRR of an LVT entry, and the former delivery status of
// ICR, can be written back as they were read.
constexpr std::uint64_t x2apic_legal(std::uint32_t offset) {
    if (is_lvt(offset)) {
        const bool lint = offset == LVT_LINT0 || offset == LVT_LINT1;
        return lvt_writable(offset) | lvt_delivery_status | (lint ? lvt_remote_irr : 0);
    }
    switch (offset) {
        case TPR:
        case SELF_IPI: return 0xff;
        case SVR: return svr_writable;
        case ICR_LOW: return 0xffff'ffff'0000'0000 | icr_writable | icr_delivery_status;
        case TIMER_INITIAL: return 0xffff'ffff;
        case TIMER_DIVIDE: return 0xb;
        default: return 0;  // EOI and ESR
    }
}

// The rules above by register number, so that an access costs a load.
template <class Rule>
constexpr auto tabulate(Rule rule) {
    std::array<decltype(rule(0u)), 64> table{};
    for (std::uint32_t i = 0; i < table.size(); ++i) table[i] = rule(16 * i);
    return table;
}
constexpr auto xapic_accesses = tabulate(xapic_access);
constexpr auto x2apic_accesses = tabulate(x2apic_access);
constexpr auto x2apic_legal_bits = tabulate([](std::uint32_t offset) { return x2apic_legal(offset); });

constexpr std::uint32_t x2apic_offset(isa::Msr msr) {
    return (static_cast<std::uint32_t>(msr) - static_cast<std::uint32_t>(isa::Msr::IA32_X2APIC_FIRST)) * 16;
}

}  // namespace

bool x2apic_read_is_plain(isa::Msr msr) {
    const std::uint32_t offset = x2apic_offset(msr);
    return offset <= SELF_IPI && offset != TIMER_CURRENT && allows(x2apic_accesses[offset / 16], Access::read);
}

bool x2apic_write_is_virtual(isa::Msr msr) {
    const std::uint32_t offset = x2apic_offset(msr);
    return offset == TPR || offset == EOI;
}

// ---- xAPIC mode

// Registers are read by 32-bit accesses at multiples of 16 (10.4.1). Of what the SDM leaves undefined, a smaller access
// gets its part of the register, a wider one zeros above it.
std::uint64_t Lapic::read(std::uint64_t offset, unsigned size) {
    const auto reg = static_cast<std::uint32_t>(offset) & 0xff0;
    const auto byte = static_cast<std::uint32_t>(offset) & 0xf;
    const Access access = offset < SELF_IPI ? xapic_accesses[reg / 16] : Access::none;
    if (access == Access::none) {
        report_error(esr::illegal_register);
        return 0;
    }
    if (byte >= 4 || !allows(access, Access::read)) return 0;
    const std::uint64_t value = read_register(reg) >> (8 * byte);
    return size >= 8 ? value : value & ((1ull << (8 * size)) - 1);
}

void Lapic::write(std::uint64_t offset, unsigned size, std::uint64_t value) {
    const auto reg = static_cast<std::uint32_t>(offset) & 0xff0;
    const Access access = offset < SELF_IPI ? xapic_accesses[reg / 16] : Access::none;
    if (access == Access::none) {
        report_error(esr::illegal_register);
        return;
    }
    if ((offset & 0xf) != 0 || size < 4 || !allows(access, Access::write)) return;
    const auto value32 = static_cast<std::uint32_t>(value);
    switch (reg) {
        case ID: page_.write(ID, value32 & 0xff00'0000); return;
        case LDR: page_.write(LDR, value32 & 0xff00'0000); return;
        case DFR: page_.write(DFR, value32 | 0x0fff'ffff); return;
        case ICR_HIGH: page_.write(ICR_HIGH, value32 & 0xff00'0000); return;
        case ICR_LOW: {
            page_.write(ICR_LOW, value32 & icr_writable);
            const bool logical = (value32 & 1u << 11) != 0;
            send(value32, widen_destination(static_cast<std::uint8_t>(page_.read(ICR_HIGH) >> 24),
                                            static_cast<DestinationMode>(logical)));
            return;
        }
        default: write_register(reg, value32);
    }
}

// ---- x2APIC mode

std::expected<std::uint64_t, isa::Fault> Lapic::read_msr(isa::Msr msr) {
    if (msr == isa::Msr::IA32_TSC_DEADLINE) return timer_.deadline();
    const std::uint32_t offset = x2apic_offset(msr);
    if (!is_x2apic() || offset > SELF_IPI || !allows(x2apic_accesses[offset / 16], Access::read))
        return std::unexpected(isa::general_protection);
    if (offset == ICR_LOW)
        return static_cast<std::uint64_t>(page_.read(icr_destination_x2apic)) << 32 | page_.read(ICR_LOW);
    return read_register(offset);
}

std::expected<void, isa::Fault> Lapic::write_msr(isa::Msr msr, std::uint64_t value) {
    if (msr == isa::Msr::IA32_TSC_DEADLINE) {
        timer_.set_deadline(value);
        return {};
    }
    const std::uint32_t offset = x2apic_offset(msr);
    if (!is_x2apic() || offset > SELF_IPI || !allows(x2apic_accesses[offset / 16], Access::write) ||
        (value & ~x2apic_legal_bits[offset / 16]) != 0 || (offset == SVR && (value & ~svr_legal()) != 0))
        return std::unexpected(isa::general_protection);
    const auto low = static_cast<std::uint32_t>(value);
    switch (offset) {
        case ICR_LOW:
            page_.write(ICR_LOW, low & icr_writable);
            page_.write(icr_destination_x2apic, static_cast<std::uint32_t>(value >> 32));
            send(low, static_cast<std::uint32_t>(value >> 32));
            break;
        case SELF_IPI: self_ipi(static_cast<std::uint8_t>(low)); break;
        default: write_register(offset, low);
    }
    return {};
}

// ---- both modes

std::uint32_t Lapic::read_register(std::uint32_t offset) {
    return offset == TIMER_CURRENT ? timer_.current_count() : page_.read(offset);
}

void Lapic::write_register(std::uint32_t offset, std::uint32_t value) {
    switch (offset) {
        case TPR: set_tpr(static_cast<std::uint8_t>(value)); return;
        case EOI: end_of_interrupt(); return;
        case SVR: write_svr(value); return;
        case ESR: write_esr(); return;
        case TIMER_INITIAL:
            timer_.set_initial_count(value);
            page_.write(TIMER_INITIAL, timer_.initial_count());
            return;
        case TIMER_DIVIDE:
            timer_.set_divide(value);
            page_.write(TIMER_DIVIDE, value & 0xb);
            return;
        default: write_lvt(offset, value);
    }
}

void Lapic::write_lvt(std::uint32_t offset, std::uint32_t value) {
    const std::uint32_t before = page_.read(offset);
    std::uint32_t entry = value & lvt_writable(offset);
    if (!is_software_enabled()) entry |= lvt_masked;  // 10.4.7.2
    const bool level = lvt_delivery(entry) == DeliveryMode::fixed && (entry & lvt_level) != 0;
    if (level) entry |= before & lvt_remote_irr;
    if (offset == LVT_TIMER) {
        // An expiry that is due has the entry as it was.
        timer_.set_mode(static_cast<LapicTimer::Mode>(entry >> 17 & 3));
        timer_.enable_interrupt((entry & lvt_masked) == 0);
    }
    page_.write(offset, entry);
    if (offset != LVT_LINT0) return;
    refresh_external();
    if (level && lint_level_[0]) signal_lint(0);
}

void Lapic::write_svr(std::uint32_t value) {
    page_.write(SVR, value & svr_legal());
    if (is_software_enabled()) return;
    for (const std::uint32_t lvt : lvts) write_lvt(lvt, page_.read(lvt));
}

// The errors since the last write become readable (10.5.3).
void Lapic::write_esr() {
    page_.write(ESR, errors_);
    errors_ = 0;
}

// 10.6.1.
void Lapic::send(std::uint32_t command, std::uint32_t destination) {
    const auto delivery = static_cast<DeliveryMode>(command >> 8 & 7);
    const bool level = (command & 1u << 15) != 0, assert = (command & 1u << 14) != 0;
    const auto vector = static_cast<std::uint8_t>(command);
    switch (delivery) {
        case DeliveryMode::fixed:
        case DeliveryMode::lowest_priority:
            if (vector < first_legal_vector) report_error(esr::send_illegal_vector);
            break;
        // The level de-assert only sets arbitration IDs, and on no processor since the Pentium 4 (10.6.1).
        case DeliveryMode::init:
            if (level && !assert) return;
            break;
        case DeliveryMode::smi:
        case DeliveryMode::nmi:
        case DeliveryMode::startup: break;
        default: return;  // reserved
    }
    // No shorthand for the sender alone goes with the other modes (table 10-3).
    const auto shorthand = static_cast<Shorthand>(command >> 18 & 3);
    if (shorthand == Shorthand::self && delivery != DeliveryMode::fixed) return;
    // IPIs are edge triggered, whatever bit 15 says.
    bus_.send({.destination = destination,
               .destination_mode = static_cast<DestinationMode>(command >> 11 & 1),
               .delivery = delivery,
               .trigger = TriggerMode::edge,
               .vector = vector},
              shorthand, *this);
}

void Lapic::self_ipi(std::uint8_t vector) {
    page_.write(SELF_IPI, vector);
    if (vector < first_legal_vector) report_error(esr::send_illegal_vector);
    request(vector, TriggerMode::edge);
}

}  // namespace bulkhead::guest
