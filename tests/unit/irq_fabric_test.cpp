// SPDX-License-Identifier: Apache-2.0
// The wiring of the interrupt controllers: ISA interrupts to both, messages to the local APICs they are for, and the
// 8259A pair's ways to a processor (SDM volume 3, 10.6 and 10.11; MP specification 1.4, 3.6.2).
#include "guest/irq_fabric.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "guest/pit.hpp"

namespace bulkhead::guest {
namespace {

namespace reg = isa::apic;
using isa::apic::DeliveryMode;
using isa::apic::DestinationMode;

struct Processor final : ProcessorEvents {
    void interrupt_pending() override {}
    void nmi() override { ++nmis; }
    void init() override { ++inits; }
    void startup(std::uint8_t vector) override { startups.push_back(vector); }
    int nmis = 0, inits = 0;
    std::vector<std::uint8_t> startups;
};

// Four processors with software-enabled local APICs.
class IrqFabricTest : public testing::Test {
  protected:
    static constexpr unsigned cpus = 4;

    struct Cpu {
        Cpu(unsigned id, TimerQueue& timers, IrqFabric& fabric)
            : lapic({.id = id, .bootstrap = id == 0, .crystal_hz = 1'000'000}, page, timers, fabric) {}
        RegisterPage page;
        Lapic lapic;
        Processor processor;
    };

    IrqFabricTest() {
        for (unsigned id = 0; id < cpus; ++id) {
            all.push_back(std::make_unique<Cpu>(id, timers, fabric));
            lapic(id).connect(all.back()->processor);
            fabric.attach(lapic(id));
            lapic(id).write(reg::SVR, 4, 0x1ff);
        }
    }
    Lapic& lapic(unsigned id) { return all[id]->lapic; }
    Processor& processor(unsigned id) { return all[id]->processor; }
    void all_to_x2apic() {
        for (unsigned id = 0; id < cpus; ++id)
            ASSERT_TRUE(lapic(id).write_base(lapic(id).base() | isa::apic_base::EXTD));
    }
    // Who got an interrupt, as bits; it is taken and ended.
    unsigned receivers() {
        unsigned bits = 0;
        for (unsigned id = 0; id < cpus; ++id)
            if (lapic(id).acknowledge()) {
                bits |= 1u << id;
                end(id);
            }
        return bits;
    }
    void end(unsigned id) {
        if (lapic(id).is_x2apic())
            EXPECT_TRUE(lapic(id).write_msr(static_cast<isa::Msr>(0x80b), 0));
        else
            lapic(id).write(reg::EOI, 4, 0);
    }
    void ipi(unsigned from, std::uint32_t low, std::uint32_t destination) {
        if (lapic(from).is_x2apic()) {
            EXPECT_TRUE(lapic(from).write_msr(static_cast<isa::Msr>(0x830),
                                              static_cast<std::uint64_t>(destination) << 32 | low));
            return;
        }
        lapic(from).write(reg::ICR_HIGH, 4, destination << 24);
        lapic(from).write(reg::ICR_LOW, 4, low);
    }
    void redirect(unsigned pin, std::uint32_t low, std::uint32_t destination) {
        const auto write = [&](unsigned index, std::uint32_t value) {
            fabric.io_apic().write(0x00, 4, index);
            fabric.io_apic().write(0x10, 4, value);
        };
        write(0x11 + 2 * pin, destination << 24);
        write(0x10 + 2 * pin, low);
    }
    void pic_out(std::uint16_t port, std::uint8_t value) { fabric.pic().out(port, 1, value); }
    void unmask_pic() {
        pic_out(0x21, 0);
        pic_out(0xa1, 0);
    }

    Clock clock{.now = 0, .hz = 1'000'000'000};
    TimerQueue timers{clock};
    IrqFabric fabric;
    std::vector<std::unique_ptr<Cpu>> all;
};

// ---- ISA interrupts

TEST_F(IrqFabricTest, IsaInterruptsAtTheIoApic) {
    for (unsigned pin = 0; pin < 24; ++pin) redirect(pin, 0x40 + pin, 1);
    for (unsigned irq = 0; irq < 16; ++irq) {
        fabric.isa_input(irq)(true);
        const auto vector = lapic(1).acknowledge();
        if (irq == 2) {
            EXPECT_EQ(vector, std::nullopt) << "has no line";
        } else {
            EXPECT_EQ(vector, irq == 0 ? 0x42 : 0x40 + irq);
        }
        end(1);
        fabric.isa_input(irq)(false);
    }
}

TEST_F(IrqFabricTest, IsaInterruptsAtThe8259sThroughLint0) {
    lapic(0).enter_virtual_wire_mode();
    unmask_pic();
    for (unsigned irq = 0; irq < 16; ++irq) {
        if (irq == 2) continue;
        fabric.isa_input(irq)(true);
        EXPECT_FALSE(lapic(1).interrupt_deliverable()) << "LINT0 is masked there";
        EXPECT_EQ(lapic(0).acknowledge(), irq < 8 ? 0x08 + irq : 0x68 + irq);
        EXPECT_FALSE(lapic(0).interrupt_deliverable());
        fabric.isa_input(irq)(false);
        pic_out(0xa0, 0x20);
        pic_out(0x20, 0x20);
    }
}

TEST_F(IrqFabricTest, ExtIntThroughPin0) {
    redirect(0, 0x00700, 2);
    unmask_pic();
    fabric.isa_input(3)(true);
    fabric.isa_input(1)(true);
    EXPECT_FALSE(lapic(0).interrupt_deliverable());
    EXPECT_EQ(lapic(2).acknowledge(), 0x09);
    EXPECT_FALSE(lapic(2).interrupt_deliverable()) << "1 is in service";
    pic_out(0x20, 0x20);
    EXPECT_EQ(lapic(2).acknowledge(), 0x0b);
}

TEST_F(IrqFabricTest, EveryRequestOfAnAutoEoiPairComesThroughPin0) {
    pic_out(0x20, 0x11);
    for (const int icw : {0x30, 0x04, 0x03}) pic_out(0x21, static_cast<std::uint8_t>(icw));
    redirect(0, 0x00700, 0);
    for (const unsigned irq : {1u, 3u, 5u}) fabric.isa_input(irq)(true);
    EXPECT_EQ(lapic(0).acknowledge(), 0x31);
    EXPECT_EQ(lapic(0).acknowledge(), 0x33) << "INTR made a new edge";
    EXPECT_EQ(lapic(0).acknowledge(), 0x35);
    EXPECT_EQ(lapic(0).acknowledge(), std::nullopt);
}

TEST_F(IrqFabricTest, SpuriousVectorsReachTheProcessor) {
    lapic(0).enter_virtual_wire_mode();
    unmask_pic();
    fabric.isa_input(5)(true);
    fabric.isa_input(5)(false);
    EXPECT_EQ(lapic(0).acknowledge(), 0x0f);
    EXPECT_FALSE(lapic(0).interrupt_deliverable());
}

TEST_F(IrqFabricTest, ALocalApicThatComesLaterFindsItsWire) {
    unmask_pic();
    fabric.isa_input(1)(true);
    Cpu late{4, timers, fabric};
    fabric.attach(late.lapic);
    late.lapic.enter_virtual_wire_mode();
    EXPECT_TRUE(late.lapic.interrupt_deliverable());
}

TEST_F(IrqFabricTest, ALevelComesBackUntilTheDeviceIsQuiet) {
    redirect(9, 0x8049, 3);
    fabric.isa_input(9)(true);
    for (int i = 0; i < 3; ++i) {
        EXPECT_EQ(lapic(3).acknowledge(), 0x49);
        EXPECT_EQ(lapic(3).acknowledge(), std::nullopt);
        if (i == 2) fabric.isa_input(9)(false);
        end(3);
    }
    EXPECT_FALSE(lapic(3).interrupt_deliverable());
}

// ---- messages from outside

TEST_F(IrqFabricTest, PhysicalDestinations) {
    const auto deliver = [&](std::uint32_t destination) {
        return fabric.deliver({.destination = destination, .vector = 0x50});
    };
    for (unsigned id = 0; id < cpus; ++id) {
        EXPECT_TRUE(deliver(id));
        EXPECT_EQ(receivers(), 1u << id);
    }
    EXPECT_FALSE(deliver(9)) << "nobody there";
    EXPECT_TRUE(deliver(0xff));
    EXPECT_EQ(receivers(), 0xfu);
    all_to_x2apic();
    EXPECT_TRUE(deliver(2));
    EXPECT_EQ(receivers(), 4u);
    EXPECT_TRUE(deliver(0xff)) << "the I/O APIC does not know about modes";
    EXPECT_EQ(receivers(), 0xfu);
}

TEST_F(IrqFabricTest, FlatLogicalDestinations) {
    for (unsigned id = 0; id < cpus; ++id) lapic(id).write(reg::LDR, 4, 1u << (24 + id));
    for (unsigned set = 1; set < 16; ++set) {
        EXPECT_TRUE(fabric.deliver({.destination = set, .destination_mode = DestinationMode::logical, .vector = 0x50}));
        EXPECT_EQ(receivers(), set);
    }
    EXPECT_FALSE(fabric.deliver({.destination = 0x30, .destination_mode = DestinationMode::logical, .vector = 0x50}));
}

TEST_F(IrqFabricTest, LowestPriorityGoesToOneOfThemAndTakesTurns) {
    for (unsigned id = 0; id < cpus; ++id) lapic(id).write(reg::LDR, 4, 1u << (24 + id));
    const InterruptMessage message{.destination = 0x0e,
                                   .destination_mode = DestinationMode::logical,
                                   .delivery = DeliveryMode::lowest_priority,
                                   .vector = 0x50};
    unsigned seen = 0;
    for (int i = 0; i < 3; ++i) {
        EXPECT_TRUE(fabric.deliver(message));
        const unsigned one = receivers();
        EXPECT_EQ(one & (one - 1), 0u);
        seen |= one;
    }
    EXPECT_EQ(seen, 0x0eu) << "equals take turns";
    lapic(1).set_tpr(0x20);
    lapic(2).set_tpr(0x10);
    lapic(3).set_tpr(0x20);
    for (int i = 0; i < 3; ++i) {
        EXPECT_TRUE(fabric.deliver(message));
        EXPECT_EQ(receivers(), 4u);
    }
    lapic(2).write(reg::SVR, 4, 0xff);
    EXPECT_TRUE(fabric.deliver(message));
    EXPECT_NE(receivers() & 0xa, 0u) << "one that is disabled is no candidate";
    for (const unsigned id : {1u, 3u}) lapic(id).write(reg::SVR, 4, 0xff);
    EXPECT_FALSE(fabric.deliver(message));
}

// ---- IPIs

TEST_F(IrqFabricTest, IpiDestinations) {
    ipi(0, 0x4050, 2);
    EXPECT_EQ(receivers(), 4u);
    ipi(0, 0x4050, 0xff);
    EXPECT_EQ(receivers(), 0xfu);
    all_to_x2apic();
    ipi(3, 0x4050, 1);
    EXPECT_EQ(receivers(), 2u);
    ipi(3, 0x4050, 0xffff'ffff);
    EXPECT_EQ(receivers(), 0xfu);
    ipi(3, 0x4050, 0xff);
    EXPECT_EQ(receivers(), 0u);
    ipi(3, 0x4850, 0x0000'0005);
    EXPECT_EQ(receivers(), 5u) << "logical: cluster 0, members 0 and 2";
    ipi(3, 0x4850, 0x0001'0005);
    EXPECT_EQ(receivers(), 0u) << "another cluster";
}

TEST_F(IrqFabricTest, IpiShorthands) {
    for (const bool x2apic : {false, true}) {
        if (x2apic) all_to_x2apic();
        ipi(1, 0x4'4050, 3);
        EXPECT_EQ(receivers(), 2u) << "self";
        ipi(1, 0x8'4050, 3);
        EXPECT_EQ(receivers(), 0xfu) << "all";
        ipi(1, 0xc'4050, 3);
        EXPECT_EQ(receivers(), 0xdu) << "all but self";
    }
}

TEST_F(IrqFabricTest, StartingTheOthers) {
    ipi(0, 0xc'c500, 0);
    ipi(0, 0xc'8500, 0);  // level de-assert
    ipi(0, 0xc'4600, 0);  // vector 0
    ipi(0, 0xc'469a, 0);
    EXPECT_EQ(processor(0).inits, 0);
    for (unsigned id = 1; id < cpus; ++id) {
        EXPECT_EQ(processor(id).inits, 1);
        EXPECT_EQ(processor(id).startups, (std::vector<std::uint8_t>{0x00, 0x9a}));
    }
}

TEST_F(IrqFabricTest, AnX2apicProcessorStartsOthersThatAreNot) {
    ASSERT_TRUE(lapic(0).write_base(lapic(0).base() | isa::apic_base::EXTD));
    ipi(0, 0x4500, 3);
    ipi(0, 0x4612, 3);
    EXPECT_EQ(processor(3).inits, 1);
    EXPECT_EQ(processor(3).startups, std::vector<std::uint8_t>{0x12});
    EXPECT_EQ(processor(2).inits, 0);
}

TEST_F(IrqFabricTest, NmisAndDisabledLocalApics) {
    ASSERT_TRUE(lapic(2).write_base(0xfee00000));
    ipi(0, 0xc'4400, 0);
    EXPECT_EQ(processor(0).nmis, 0);
    EXPECT_EQ(processor(1).nmis, 1);
    EXPECT_EQ(processor(2).nmis, 0) << "disabled, it is not on the bus";
    EXPECT_EQ(processor(3).nmis, 1);
}

TEST_F(IrqFabricTest, ReceiversOfAnIllegalVectorReportIt) {
    ipi(0, 0xc'4005, 0);
    for (unsigned id = 0; id < cpus; ++id) {
        lapic(id).write(reg::ESR, 4, 0);
        EXPECT_EQ(lapic(id).read(reg::ESR, 4), id == 0 ? 1u << 5 : 1u << 6);
    }
}

// ---- an interrupt that nobody can see

TEST_F(IrqFabricTest, TheTimerIsToldWhetherItIsSeen) {
    Pit pit{timers};
    pit.irq().connect(fabric.isa_input(0));
    fabric.watch(0, Delegate<void(bool)>::to<&Pit::watch>(&pit));
    pit.out(0x43, 1, 0x34);
    pit.out(0x40, 1, 0xa9);
    pit.out(0x40, 1, 0x04);
    EXPECT_EQ(timers.earliest(), never) << "masked at both";
    redirect(2, 0x42, 0);
    const Tick first = timers.earliest();
    EXPECT_NE(first, never);
    clock.now = first;
    timers.expire();
    EXPECT_EQ(lapic(0).acknowledge(), 0x42);
    end(0);
    redirect(2, 0x10042, 0);
    EXPECT_EQ(timers.earliest(), never);
    clock.now += 10 * first;
    pic_out(0x21, 0xfe);
    EXPECT_NE(timers.earliest(), never);
    EXPECT_TRUE(fabric.pic().intr().level()) << "the edges in between are one request";
    redirect(2, 0x42, 0);
    pic_out(0x21, 0xff);
    EXPECT_NE(timers.earliest(), never);
    fabric.reset();
    EXPECT_EQ(timers.earliest(), never);
}

}  // namespace
}  // namespace bulkhead::guest
