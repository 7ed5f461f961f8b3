// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "arch/isa/apic.hpp"

// Fields of the local APIC's registers (SDM volume 3, figures 10-8 to 10-12 and 10-28).
namespace bulkhead::guest::lapic {

inline constexpr std::uint8_t first_legal_vector = 16;

inline constexpr std::uint32_t lvt_delivery_status = 1u << 12;
inline constexpr std::uint32_t lvt_active_low = 1u << 13;
inline constexpr std::uint32_t lvt_remote_irr = 1u << 14;
inline constexpr std::uint32_t lvt_level = 1u << 15;
inline constexpr std::uint32_t lvt_masked = 1u << 16;

constexpr isa::apic::DeliveryMode lvt_delivery(std::uint32_t entry) {
    return static_cast<isa::apic::DeliveryMode>(entry >> 8 & 7);
}

// There is no CMCI entry: this machine has no machine-check banks.
inline constexpr std::uint32_t lvts[] = {isa::apic::LVT_TIMER, isa::apic::LVT_THERMAL, isa::apic::LVT_PMC,
                                         isa::apic::LVT_LINT0, isa::apic::LVT_LINT1,   isa::apic::LVT_ERROR};

// What software can write in each.
constexpr std::uint32_t lvt_writable(std::uint32_t offset) {
    constexpr std::uint32_t vector = 0xff, delivery = 7u << 8, timer_mode = 3u << 17;
    switch (offset) {
        case isa::apic::LVT_TIMER: return vector | lvt_masked | timer_mode;
        case isa::apic::LVT_THERMAL:
        case isa::apic::LVT_PMC: return vector | delivery | lvt_masked;
        case isa::apic::LVT_LINT0:
        case isa::apic::LVT_LINT1: return vector | delivery | lvt_active_low | lvt_level | lvt_masked;
        case isa::apic::LVT_ERROR: return vector | lvt_masked;
        default: return 0;
    }
}

inline constexpr std::uint32_t svr_enable = 1u << 8;
inline constexpr std::uint32_t svr_suppress_eoi_broadcast = 1u << 12;
// Focus checking, bit 9, does nothing, but systems write it.
inline constexpr std::uint32_t svr_writable = 0xff | svr_enable | 1u << 9 | svr_suppress_eoi_broadcast;

// DFR bits 31:28.
inline constexpr std::uint32_t dfr_flat = 0xf, dfr_cluster = 0x0;

inline constexpr std::uint32_t icr_delivery_status = 1u << 12;
inline constexpr std::uint32_t icr_writable = 0x000c'cfff;
// In x2APIC mode ICR is one register of 64 bits.
inline constexpr std::uint32_t icr_destination_x2apic = isa::apic::ICR_LOW + 4;

// 10.5.3.
namespace esr {
inline constexpr std::uint32_t send_illegal_vector = 1u << 5;
inline constexpr std::uint32_t receive_illegal_vector = 1u << 6;
inline constexpr std::uint32_t illegal_register = 1u << 7;
}  // namespace esr

}  // namespace bulkhead::guest::lapic
