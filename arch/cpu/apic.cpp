// SPDX-License-Identifier: Apache-2.0
#include "arch/cpu/apic.hpp"

#include <algorithm>
#include <bit>

#include "arch/cpu/clock.hpp"
#include "arch/cpu/instructions.hpp"
#include "arch/isa/apic.hpp"
#include "arch/isa/cpuid.hpp"

namespace bulkhead::cpu::apic {
namespace {

using isa::Msr;
using isa::apic::DeliveryMode;
using isa::apic::Register;

// The same on all CPUs, and constant after the boot CPU's `initialize` and `calibrate_timer`.
volatile std::uint32_t* xapic_page;
bool x2apic_mode;
bool tsc_deadline;
Vectors vectors;
std::uint64_t counts_per_tsc;  // of the count-down timer, 32 fraction bits

constexpr std::uint32_t lvt_masked = 1u << 16;
constexpr std::uint32_t lvt_tsc_deadline = 2u << 17;
constexpr std::uint32_t svr_enable = 1u << 8;
constexpr std::uint32_t icr_pending = 1u << 12;
constexpr std::uint32_t icr_assert = 1u << 14;
constexpr std::uint32_t divide_by_1 = 0xb;

constexpr Msr x2apic_msr(Register reg) {
    return static_cast<Msr>(static_cast<std::uint32_t>(Msr::IA32_X2APIC_FIRST) + reg / 16);
}

std::uint32_t read(std::uint32_t offset) {
    const auto reg = static_cast<Register>(offset);
    return x2apic_mode ? static_cast<std::uint32_t>(rdmsr(x2apic_msr(reg))) : xapic_page[reg / 4];
}

void write(Register reg, std::uint32_t value) {
    if (x2apic_mode)
        wrmsr(x2apic_msr(reg), value);
    else
        xapic_page[reg / 4] = value;
}

// An APIC that is globally disabled goes to x2APIC mode by way of xAPIC mode (SDM volume 3, 10.12.5). The enable bit is
// never cleared: the emulator does not let it be set again.
void enter_mode() {
    const std::uint64_t base = rdmsr(Msr::IA32_APIC_BASE);
    if ((base & isa::apic_base::EN) == 0) wrmsr(Msr::IA32_APIC_BASE, base | isa::apic_base::EN);
    if (x2apic_mode && (base & isa::apic_base::EXTD) == 0)
        wrmsr(Msr::IA32_APIC_BASE, base | isa::apic_base::EN | isa::apic_base::EXTD);
}

void mask_local_sources() {
    // LVT entries beyond the first three came with later APICs (SDM volume 3, 10.5.1).
    const std::uint32_t last_entry = read(Register::VERSION) >> 16 & 0xff;
    write(Register::LVT_TIMER, lvt_masked);
    write(Register::LVT_LINT0, lvt_masked);
    write(Register::LVT_LINT1, static_cast<std::uint32_t>(DeliveryMode::nmi) << 8);
    if (last_entry >= 4) write(Register::LVT_PMC, lvt_masked);
    if (last_entry >= 5) write(Register::LVT_THERMAL, lvt_masked);
    if (last_entry >= 6) write(Register::LVT_CMCI, lvt_masked);
}

void end_stale_interrupts() {
    for (std::uint32_t i = 0; i < 8; ++i)
        for (int n = std::popcount(read(Register::ISR + 0x10 * i)); n > 0; --n) eoi();
}

void send(std::uint32_t destination, std::uint32_t command) {
    if (x2apic_mode) {
        // The write is not serialising: what was stored for the receiver goes first (SDM volume 3, 10.12.3).
        asm volatile("mfence; lfence" ::: "memory");
        wrmsr(x2apic_msr(Register::ICR_LOW), std::uint64_t{destination} << 32 | command);
        return;
    }
    write(Register::ICR_HIGH, destination << 24);
    write(Register::ICR_LOW, command);
    while ((read(Register::ICR_LOW) & icr_pending) != 0) pause();
}

constexpr std::uint32_t command(DeliveryMode mode, std::uint32_t vector) {
    return icr_assert | static_cast<std::uint32_t>(mode) << 8 | vector;
}

}  // namespace

bool has_x2apic() {
    return (cpuid(1).ecx & isa::cpuid::leaf1_ecx::x2APIC) != 0;
}
bool has_tsc_deadline() {
    return (cpuid(1).ecx & isa::cpuid::leaf1_ecx::TSC_DEADLINE) != 0;
}

HostPhys physical_base() {
    return HostPhys{rdmsr(Msr::IA32_APIC_BASE) & 0x000f'ffff'ffff'f000};
}

void initialize(volatile void* page, Vectors wanted) {
    xapic_page = static_cast<volatile std::uint32_t*>(page);
    x2apic_mode = has_x2apic();
    tsc_deadline = has_tsc_deadline();
    vectors = wanted;
}

void enable() {
    enter_mode();
    write(Register::SVR, svr_enable | vectors.spurious);
    write(Register::TPR, 0);
    mask_local_sources();
    end_stale_interrupts();
    take_errors();
    write(Register::LVT_ERROR, vectors.error);
    if (tsc_deadline) {
        write(Register::LVT_TIMER, lvt_tsc_deadline | vectors.timer);
        // A deadline written by MSR must not overtake the mode written by MMIO (SDM volume 3, 10.5.4.1).
        asm volatile("mfence" ::: "memory");
    } else {
        write(Register::TIMER_DIVIDE, divide_by_1);
        write(Register::LVT_TIMER, vectors.timer);
    }
}

std::uint32_t id() {
    return x2apic_mode ? read(Register::ID) : read(Register::ID) >> 24;
}

void eoi() {
    write(Register::EOI, 0);
}

// A write makes the register show, and forgets, what happened since the write before (SDM volume 3, 10.5.3).
std::uint32_t take_errors() {
    write(Register::ESR, 0);
    return read(Register::ESR);
}

void send_fixed(std::uint32_t destination, std::uint8_t vector) {
    send(destination, command(DeliveryMode::fixed, vector));
}
void send_nmi(std::uint32_t destination) {
    send(destination, command(DeliveryMode::nmi, 0));
}
void send_init(std::uint32_t destination) {
    send(destination, command(DeliveryMode::init, 0));
}
void send_startup(std::uint32_t destination, HostPhys entry) {
    send(destination, command(DeliveryMode::startup, static_cast<std::uint32_t>(entry.value / page_size)));
}

void calibrate_timer() {
    if (tsc_deadline) return;
    constexpr std::uint32_t all = ~0u;
    write(Register::LVT_TIMER, lvt_masked);
    write(Register::TIMER_INITIAL, all);
    const std::uint64_t begin = rdtsc();
    delay_us(20'000);
    const std::uint64_t counted = all - read(Register::TIMER_CURRENT);
    const std::uint64_t elapsed = rdtsc() - begin;
    write(Register::TIMER_INITIAL, 0);
    write(Register::LVT_TIMER, vectors.timer);
    counts_per_tsc = (counted << 32) / elapsed;
}

void arm_timer(std::uint64_t deadline) {
    if (tsc_deadline) {
        // Zero would disarm; any other value in the past fires at once.
        wrmsr(Msr::IA32_TSC_DEADLINE, std::max<std::uint64_t>(deadline, 1));
        return;
    }
    const std::uint64_t now = rdtsc();
    const unsigned __int128 ticks = deadline > now ? deadline - now : 0;
    const unsigned __int128 counts = ticks * counts_per_tsc >> 32;
    // A count of zero would stop the timer.
    write(Register::TIMER_INITIAL, counts == 0 ? 1 : counts > ~0u ? ~0u : static_cast<std::uint32_t>(counts));
}

void disarm_timer() {
    if (tsc_deadline)
        wrmsr(Msr::IA32_TSC_DEADLINE, 0);
    else
        write(Register::TIMER_INITIAL, 0);
}

}  // namespace bulkhead::cpu::apic
