// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

// The local APIC's registers by their offset in the xAPIC page; the x2APIC MSR is 800h + offset / 16 (SDM volume 3,
// tables 10-1 and 10-6).
namespace bulkhead::isa::apic {

inline constexpr std::uint64_t default_base = 0xfee00000;

enum Register : std::uint32_t {
    ID = 0x20,
    VERSION = 0x30,
    TPR = 0x80,
    APR = 0x90,
    PPR = 0xa0,
    EOI = 0xb0,
    RRD = 0xc0,
    LDR = 0xd0,
    DFR = 0xe0,
    SVR = 0xf0,
    ISR = 0x100,
    TMR = 0x180,
    IRR = 0x200,
    ESR = 0x280,
    LVT_CMCI = 0x2f0,
    ICR_LOW = 0x300,
    ICR_HIGH = 0x310,
    LVT_TIMER = 0x320,
    LVT_THERMAL = 0x330,
    LVT_PMC = 0x340,
    LVT_LINT0 = 0x350,
    LVT_LINT1 = 0x360,
    LVT_ERROR = 0x370,
    TIMER_INITIAL = 0x380,
    TIMER_CURRENT = 0x390,
    TIMER_DIVIDE = 0x3e0,
    SELF_IPI = 0x3f0,
};

enum class DeliveryMode : std::uint8_t {
    fixed = 0,
    lowest_priority = 1,
    smi = 2,
    nmi = 4,
    init = 5,
    startup = 6,
    ext_int = 7
};
enum class DestinationMode : std::uint8_t { physical = 0, logical = 1 };
enum class TriggerMode : std::uint8_t { edge = 0, level = 1 };

}  // namespace bulkhead::isa::apic
