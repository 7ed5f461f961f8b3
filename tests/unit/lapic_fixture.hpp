// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <optional>
#include <vector>

#include "guest/lapic.hpp"

namespace bulkhead::guest {
namespace {

namespace reg = isa::apic;
using isa::apic::DeliveryMode;
using isa::apic::DestinationMode;
using isa::apic::TriggerMode;

struct FakeProcessor final : ProcessorEvents {
    void interrupt_pending() override { ++interrupts; }
    void nmi() override { ++nmis; }
    void init() override { ++inits; }
    void startup(std::uint8_t vector) override { startups.push_back(vector); }
    int interrupts = 0, nmis = 0, inits = 0;
    std::vector<std::uint8_t> startups;
};

struct FakeLapicBus final : LapicBus {
    bool send(const InterruptMessage& message, Shorthand shorthand, const Lapic&) override {
        sent.push_back({message, shorthand});
        return true;
    }
    void end_of_interrupt(std::uint8_t vector) override { ended.push_back(vector); }
    std::uint8_t acknowledge_external() override { return external_vector; }

    struct Sent {
        InterruptMessage message;
        Shorthand shorthand;
    };
    std::vector<Sent> sent;
    std::vector<std::uint8_t> ended;
    std::uint8_t external_vector = 0x33;
};

// One local APIC, of the processor 5, on a TSC of 1 GHz and a crystal of 100 MHz.
class LapicFixture : public testing::Test {
  protected:
    explicit LapicFixture(bool suppression = false)
        : lapic({.id = 5,
                 .bootstrap = true,
                 .crystal_hz = 100'000'000,
                 .physical_address_bits = 36,
                 .eoi_broadcast_suppression = suppression},
                page, timers, bus) {
        lapic.connect(processor);
    }

    static constexpr std::uint64_t xapic = 0xfee00900, x2apic = 0xfee00d00, disabled = 0xfee00100;
    static constexpr std::uint32_t lvts[] = {reg::LVT_TIMER, reg::LVT_THERMAL, reg::LVT_PMC,
                                             reg::LVT_LINT0, reg::LVT_LINT1,   reg::LVT_ERROR};

    std::uint32_t read(std::uint32_t offset) { return static_cast<std::uint32_t>(lapic.read(offset, 4)); }
    void write(std::uint32_t offset, std::uint32_t value) { lapic.write(offset, 4, value); }
    void enable() { write(reg::SVR, 0x1ff); }
    void enter_x2apic() { ASSERT_TRUE(lapic.write_base(x2apic)); }
    static isa::Msr msr(std::uint32_t offset) { return static_cast<isa::Msr>(0x800 + offset / 16); }
    std::optional<std::uint64_t> rdmsr(std::uint32_t offset) {
        const auto value = lapic.read_msr(msr(offset));
        return value ? std::optional{*value} : std::nullopt;
    }
    bool wrmsr(std::uint32_t offset, std::uint64_t value) { return lapic.write_msr(msr(offset), value).has_value(); }

    bool fixed(std::uint8_t vector, TriggerMode trigger = TriggerMode::edge) {
        return lapic.accept({.delivery = DeliveryMode::fixed, .trigger = trigger, .vector = vector});
    }
    bool bit(std::uint32_t bank, std::uint8_t vector) {
        return (read(bank + vector / 32 * 16) >> vector % 32 & 1) != 0;
    }
    // The errors so far: ESR shows them after a write (10.5.3).
    std::uint32_t errors() {
        write(reg::ESR, 0);
        return read(reg::ESR);
    }
    void eoi() { write(reg::EOI, 0); }
    void go_to(Tick tick) {
        clock.now = tick;
        timers.expire();
    }

    Clock clock{.now = 0, .hz = 1'000'000'000};
    TimerQueue timers{clock};
    FakeLapicBus bus;
    FakeProcessor processor;
    RegisterPage page;
    Lapic lapic;
};

}  // namespace
}  // namespace bulkhead::guest
