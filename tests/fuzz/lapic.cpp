// SPDX-License-Identifier: Apache-2.0
// A local APIC in both of its modes: registers, MSRs, messages, pins and time, while its processor takes what it is
// given.
#include "guest/lapic.hpp"

#include "tests/fuzz/fuzz.hpp"

using namespace bulkhead;
using fuzz::require;
namespace reg = isa::apic;

namespace {

struct Processor final : guest::ProcessorEvents {
    void interrupt_pending() override {}
    void nmi() override {}
    void init() override {}
    void startup(std::uint8_t) override {}
};

struct Bus final : guest::LapicBus {
    bool send(const guest::InterruptMessage& message, guest::Shorthand, const guest::Lapic&) override {
        require(lapic->is_enabled(), "a disabled local APIC sends nothing");
        if (loops_back) static_cast<void>(lapic->accept(message));
        return loops_back;
    }
    void end_of_interrupt(std::uint8_t) override {}
    std::uint8_t acknowledge_external() override {
        external = true;
        return 0x33;
    }
    guest::Lapic* lapic{};
    bool loops_back{}, external{};
};

struct Bench {
    fuzz::Time time;
    Bus bus;
    Processor processor;
    guest::RegisterPage page;
    guest::Lapic lapic{{.id = 5, .bootstrap = true, .crystal_hz = 25'000'000}, page, time.timers, bus};
};

std::uint8_t highest(const guest::RegisterPage& page, std::uint32_t bank) {
    for (unsigned vector = 256; vector-- != 0;)
        if (page.test(bank, static_cast<std::uint8_t>(vector))) return static_cast<std::uint8_t>(vector);
    return 0;
}

// SDM volume 3, 10.8.3.1 and 10.8.4.
void check(Bench& bench) {
    const std::uint8_t service = highest(bench.page, reg::ISR), request = highest(bench.page, reg::IRR);
    const std::uint8_t task = bench.lapic.tpr();
    require(bench.lapic.ppr() == (task >> 4 >= service >> 4 ? task : service & 0xf0), "PPR is made of TPR and ISR");
    require(bench.lapic.highest_requested() == request, "the highest requested vector is that of IRR");
    for (const std::uint32_t bank : {reg::IRR, reg::ISR, reg::TMR})
        require((bench.page.read(bank) & 0xffff) == 0, "vectors 0 to 15 are never there");
}

void acknowledge(Bench& bench) {
    const bool deliverable = bench.lapic.interrupt_deliverable();
    const std::uint8_t priority = bench.lapic.ppr();
    bench.bus.external = false;
    const auto vector = bench.lapic.acknowledge();
    require(vector.has_value() == deliverable, "what is said to be deliverable is delivered");
    if (!vector || bench.bus.external) return;
    require(*vector >> 4 > priority >> 4, "a vector is above the processor's priority");
    require(bench.page.test(reg::ISR, *vector) && !bench.page.test(reg::IRR, *vector), "it is in service now");
}

guest::InterruptMessage message(fuzz::Input& in) {
    return {.delivery = static_cast<reg::DeliveryMode>(in.below(8)),
            .trigger = in.chance() ? reg::TriggerMode::level : reg::TriggerMode::edge,
            .vector = in.any<std::uint8_t>()};
}

void access_msr(fuzz::Input& in, guest::Lapic& lapic) {
    const auto msr = in.below(8) == 0 ? isa::Msr::IA32_TSC_DEADLINE : static_cast<isa::Msr>(0x800 + in.below(0x100));
    if (in.chance())
        static_cast<void>(lapic.read_msr(msr));
    else
        static_cast<void>(lapic.write_msr(msr, in.chance() ? in.any<std::uint32_t>() : in.any<std::uint64_t>()));
}

void access_memory(fuzz::Input& in, guest::Lapic& lapic) {
    const std::uint64_t offset = in.chance() ? in.below(0x40) * 16 : in.below(page_size - 8);
    if (in.chance())
        static_cast<void>(lapic.read(offset, in.size(8)));
    else
        lapic.write(offset, in.size(8), in.any<std::uint32_t>());
}

void write_base(fuzz::Input& in, guest::Lapic& lapic) {
    const std::uint64_t before = lapic.base();
    const std::uint64_t value = in.chance() ? 0xfee0'0100 | std::uint64_t{in.below(4)} << 10 : in.any<std::uint64_t>();
    const bool written = lapic.write_base(value).has_value();
    require(lapic.base() == (written ? value : before), "IA32_APIC_BASE is what was written, or what it was");
    require(lapic.is_enabled() || !lapic.is_x2apic(), "there is no x2APIC mode without the enable bit");
}

}  // namespace

FUZZ_TARGET(in) {
    Bench bench;
    guest::Lapic& lapic = bench.lapic;
    lapic.connect(bench.processor);
    bench.bus.lapic = &lapic;
    bench.bus.loops_back = in.chance();
    if (in.chance()) lapic.enter_virtual_wire_mode();
    in.repeat([&] {
        switch (in.below(16)) {
            case 0:
            case 1:
            case 2:
                if (lapic.mmio_base()) access_memory(in, lapic);
                break;
            case 3:
            case 4:
            case 5:
                access_msr(in, lapic);
                break;
            case 6:
            case 7:
                static_cast<void>(lapic.accept(message(in)));
                break;
            case 8:
                lapic.set_lint(in.below(2), in.chance());
                break;
            case 9:
                lapic.set_cr8(static_cast<std::uint8_t>(in.below(16)));
                break;
            case 10:
                if (in.below(4) == 0) lapic.init();
                break;
            case 11:
                write_base(in, lapic);
                break;
            case 12:
            case 13:
                bench.time.pass(in);
                break;
            default:
                acknowledge(bench);
                break;
        }
        check(bench);
    });
}
