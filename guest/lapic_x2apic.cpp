// SPDX-License-Identifier: Apache-2.0
#include "guest/lapic.hpp"

// The registers as x2APIC mode shows them: MSR 800h + offset / 16, with #GP for what is not there (SDM volume 3, 10.12.1).
namespace bulkhead::guest {
namespace {

using namespace isa::apic;

std::unexpected<isa::Fault> fault() { return std::unexpected(isa::general_protection); }

enum class Access : std::uint8_t { none, read, write, both };

Access access_of(std::uint32_t offset) {
    if (offset >= ISR && offset < IRR + 0x80) return Access::read;
    switch (offset) {
        case ID:
        case VERSION:
        case PPR:
        case LDR:
        case TIMER_CURRENT: return Access::read;
        case EOI:
        case SELF_IPI: return Access::write;
        case TPR:
        case SVR:
        case ESR:
        case ICR_LOW:
        case LVT_TIMER:
        case LVT_THERMAL:
        case LVT_PMC:
        case LVT_LINT0:
        case LVT_LINT1:
        case LVT_ERROR:
        case TIMER_INITIAL:
        case TIMER_DIVIDE: return Access::both;
        default: return Access::none;
    }
}

// The bits that may be written as one.
std::uint64_t legal_bits(std::uint32_t offset) {
    switch (offset) {
        case TPR:
        case SELF_IPI: return 0xff;
        case SVR: return 0x3ff;
        case ICR_LOW: return 0xffff'ffff'000c'cfff;
        case LVT_TIMER: return 0x710ff;
        case LVT_THERMAL:
        case LVT_PMC: return 0x117ff;
        case LVT_LINT0:
        case LVT_LINT1: return 0x1f7ff;
        case LVT_ERROR: return 0x110ff;
        case TIMER_INITIAL: return 0xffff'ffff;
        case TIMER_DIVIDE: return 0xb;
        default: return 0;  // EOI and ESR take nothing but zero
    }
}

}  // namespace

std::expected<std::uint64_t, isa::Fault> Lapic::read_msr(isa::Msr msr) {
    if (msr == isa::Msr::IA32_TSC_DEADLINE) return timer_.deadline();
    const std::uint32_t offset = (static_cast<std::uint32_t>(msr) - static_cast<std::uint32_t>(isa::Msr::IA32_X2APIC_FIRST)) << 4;
    const Access access = access_of(offset);
    if (!is_x2apic() || (access != Access::read && access != Access::both)) return fault();
    if (offset == ICR_LOW) return std::uint64_t{icr_destination_} << 32 | reg(ICR_LOW);
    return read_register(offset);
}

std::expected<void, isa::Fault> Lapic::write_msr(isa::Msr msr, std::uint64_t value) {
    if (msr == isa::Msr::IA32_TSC_DEADLINE) {
        timer_.set_deadline(value);
        return {};
    }
    const std::uint32_t offset = (static_cast<std::uint32_t>(msr) - static_cast<std::uint32_t>(isa::Msr::IA32_X2APIC_FIRST)) << 4;
    const Access access = access_of(offset);
    if (!is_x2apic() || (access != Access::write && access != Access::both)) return fault();
    if ((value & ~legal_bits(offset)) != 0) return fault();
    const auto low = static_cast<std::uint32_t>(value);
    if (offset == ICR_LOW) icr_destination_ = static_cast<std::uint32_t>(value >> 32);
    if (offset == SELF_IPI)
        write_register(ICR_LOW, (low & 0xff) | 1u << 18);
    else
        write_register(offset, low);
    return {};
}

}  // namespace bulkhead::guest
