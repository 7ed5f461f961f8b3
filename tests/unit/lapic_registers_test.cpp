// SPDX-License-Identifier: Apache-2.0
// The local APIC's registers in both modes, IA32_APIC_BASE, and what ICR sends (SDM volume 3, chapter 10).
#include <set>

#include "tests/unit/lapic_fixture.hpp"

namespace bulkhead::guest {
namespace {

class LapicRegistersTest : public LapicFixture {
  protected:
    void moved(std::optional<GuestPhys> to) { moves.push_back(to); }

  public:
    static Delegate<void(std::optional<GuestPhys>)> recorder(LapicRegistersTest* test) {
        return Delegate<void(std::optional<GuestPhys>)>::to<&LapicRegistersTest::moved>(test);
    }
    std::vector<std::optional<GuestPhys>> moves;
};

// ---- IA32_APIC_BASE (10.4.3, 10.4.4, table 10-5)

TEST_F(LapicRegistersTest, ModeTransitions) {
    constexpr std::uint64_t invalid = 0xfee00500;
    const std::uint64_t states[] = {disabled, xapic, x2apic};
    const std::uint64_t targets[] = {disabled, xapic, x2apic, invalid};
    const std::set<std::pair<std::uint64_t, std::uint64_t>> illegal = {{x2apic, xapic}, {disabled, x2apic}};
    for (const std::uint64_t from : states)
        for (const std::uint64_t to : targets) {
            lapic.reset();
            ASSERT_TRUE(lapic.write_base(from));
            const bool legal = to != invalid && !illegal.contains({from, to});
            const auto result = lapic.write_base(to);
            EXPECT_EQ(result.has_value(), legal) << std::hex << from << " to " << to;
            EXPECT_EQ(lapic.base(), legal ? to : from);
            if (!legal) {
                EXPECT_EQ(result.error(), isa::general_protection);
            }
        }
}

TEST_F(LapicRegistersTest, ReservedBitsOfTheBase) {
    for (unsigned bit = 0; bit < 64; ++bit) {
        lapic.reset();
        const bool reserved = bit < 8 || bit == 9 || bit >= 36;
        EXPECT_EQ(lapic.write_base(xapic ^ 1ull << bit).has_value(), !reserved) << bit;
    }
}

TEST_F(LapicRegistersTest, ThePageMoves) {
    lapic.on_move(recorder(this));
    EXPECT_EQ(lapic.mmio_base(), GuestPhys{0xfee00000});
    EXPECT_TRUE(lapic.write_base(0x1'2345'6900));
    EXPECT_TRUE(lapic.write_base(0x1'2345'6800)) << "the BSP flag";
    EXPECT_TRUE(lapic.write_base(x2apic));
    EXPECT_TRUE(lapic.write_base(disabled));
    EXPECT_TRUE(lapic.write_base(xapic));
    lapic.reset();
    EXPECT_EQ(moves,
              (std::vector<std::optional<GuestPhys>>{GuestPhys{0x1'2345'6000}, std::nullopt, GuestPhys{0xfee00000}}));
}

TEST_F(LapicRegistersTest, DisablingForgetsEverything) {
    enable();
    write(reg::ID, 0x0900'0000);
    write(reg::TPR, 0x20);
    write(reg::LVT_TIMER, 0x30);
    write(reg::TIMER_INITIAL, 100);
    fixed(0x40);
    ASSERT_TRUE(lapic.write_base(disabled));
    EXPECT_FALSE(lapic.is_enabled());
    EXPECT_FALSE(lapic.interrupt_deliverable());
    EXPECT_FALSE(fixed(0x40));
    EXPECT_FALSE(lapic.accept({.delivery = DeliveryMode::nmi}));
    ASSERT_TRUE(lapic.write_base(xapic));
    EXPECT_EQ(read(reg::ID), 5u << 24);
    EXPECT_EQ(read(reg::SVR), 0xffu);
    EXPECT_EQ(read(reg::TPR), 0u);
    EXPECT_EQ(read(reg::IRR + 32), 0u);
    EXPECT_EQ(read(reg::LVT_TIMER), 0x10000u);
    EXPECT_EQ(timers.earliest(), never);
}

TEST_F(LapicRegistersTest, DisabledThePinsAreIntrAndNmi) {
    ASSERT_TRUE(lapic.write_base(disabled));
    lapic.set_lint(0, true);
    EXPECT_EQ(processor.interrupts, 1);
    EXPECT_EQ(lapic.acknowledge(), bus.external_vector);
    lapic.set_lint(0, false);
    EXPECT_FALSE(lapic.interrupt_deliverable());
    lapic.set_lint(1, true);
    EXPECT_EQ(processor.nmis, 1);
    lapic.set_lint(0, true);
    ASSERT_TRUE(lapic.write_base(xapic));
    EXPECT_FALSE(lapic.interrupt_deliverable()) << "LINT0 is masked now";
}

TEST_F(LapicRegistersTest, X2apicModeKeepsTheStateAndHasItsOwnId) {
    enable();
    write(reg::ID, 0x0900'0000);
    write(reg::LDR, 0x0100'0000);
    write(reg::TPR, 0x30);
    write(reg::LVT_ERROR, 0xfe);
    fixed(0x45);
    enter_x2apic();
    EXPECT_EQ(rdmsr(reg::ID), 5u) << "the initial ID, not what was written";
    EXPECT_EQ(rdmsr(reg::LDR), 1u << 5);
    EXPECT_EQ(rdmsr(reg::SVR), 0x1ffu);
    EXPECT_EQ(rdmsr(reg::TPR), 0x30u);
    EXPECT_EQ(rdmsr(reg::LVT_ERROR), 0xfeu);
    EXPECT_EQ(lapic.acknowledge(), 0x45);
    EXPECT_TRUE(wrmsr(reg::EOI, 0));
}

TEST_F(LapicRegistersTest, InitKeepsIdAndMode) {
    enable();
    write(reg::ID, 0x0900'0000);
    write(reg::TPR, 0x30);
    lapic.init();
    EXPECT_EQ(read(reg::ID), 0x0900'0000u);
    EXPECT_EQ(read(reg::SVR), 0xffu);
    EXPECT_EQ(read(reg::TPR), 0u);
    enter_x2apic();
    lapic.init();
    EXPECT_EQ(lapic.base(), x2apic);
    EXPECT_EQ(rdmsr(reg::ID), 5u);
    EXPECT_EQ(rdmsr(reg::LDR), 1u << 5);
    lapic.reset();
    EXPECT_EQ(lapic.base(), xapic);
}

TEST(LapicTopology, X2apicLogicalIds) {
    Clock clock{.now = 0, .hz = 1'000'000'000};
    TimerQueue timers{clock};
    FakeLapicBus bus;
    RegisterPage page;
    Lapic lapic{{.id = 0x1237, .crystal_hz = 1}, page, timers, bus};
    EXPECT_EQ(lapic.base(), 0xfee00800u) << "not the bootstrap processor";
    ASSERT_TRUE(lapic.write_base(0xfee00c00));
    const auto ldr = lapic.read_msr(static_cast<isa::Msr>(0x80d));
    EXPECT_EQ(ldr.value(), 0x123u << 16 | 1u << 7);
    EXPECT_TRUE(lapic.matches(0x0123'0080, DestinationMode::logical));
    EXPECT_FALSE(lapic.matches(0x0123'0040, DestinationMode::logical));
    EXPECT_FALSE(lapic.matches(0x0122'0080, DestinationMode::logical));
    EXPECT_TRUE(lapic.matches(0x1237, DestinationMode::physical));
    EXPECT_TRUE(lapic.matches(0xffff'ffff, DestinationMode::logical));
}

TEST(LapicTopology, WithoutX2apicTheBitIsReserved) {
    Clock clock{.now = 0, .hz = 1'000'000'000};
    TimerQueue timers{clock};
    FakeLapicBus bus;
    RegisterPage page;
    Lapic lapic{{.crystal_hz = 1, .x2apic = false}, page, timers, bus};
    EXPECT_FALSE(lapic.write_base(0xfee00c00));
}

// ---- accesses to the page

TEST_F(LapicRegistersTest, PartsAndNeighboursOfARegister) {
    EXPECT_EQ(lapic.read(reg::DFR, 1), 0xffu);
    EXPECT_EQ(lapic.read(reg::ID + 3, 1), 5u);
    EXPECT_EQ(lapic.read(reg::ID + 2, 2), 0x0500u);
    EXPECT_EQ(lapic.read(reg::ID + 4, 4), 0u);
    EXPECT_EQ(lapic.read(reg::DFR, 8), 0xffff'ffffu);
    lapic.write(reg::TPR, 1, 0x40);
    lapic.write(reg::TPR + 4, 4, 0x40);
    EXPECT_EQ(read(reg::TPR), 0u) << "32-bit accesses at multiples of 16 alone";
    lapic.write(reg::TPR, 8, 0xffff'ffff'0000'0040);
    EXPECT_EQ(read(reg::TPR), 0x40u);
    EXPECT_EQ(errors(), 0u);
}

TEST_F(LapicRegistersTest, WritableBits) {
    enable();
    const std::pair<std::uint32_t, std::uint32_t> writable[] = {
        {reg::TPR, 0xff},
        {reg::LDR, 0xff00'0000},
        {reg::ID, 0xff00'0000},
        {reg::ICR_HIGH, 0xff00'0000},
        {reg::LVT_TIMER, 0x700ff},
        {reg::LVT_PMC, 0x107ff},
        {reg::LVT_THERMAL, 0x107ff},
        {reg::LVT_LINT0, 0x1a7ff},
        {reg::LVT_LINT1, 0x1a7ff},
        {reg::LVT_ERROR, 0x100ff},
        {reg::TIMER_DIVIDE, 0xb},
        {reg::TIMER_INITIAL, 0xffff'ffff},
        {reg::SVR, 0x3ff},
    };
    for (const auto& [offset, bits] : writable) {
        if (offset == reg::TIMER_INITIAL) write(reg::LVT_TIMER, 0x10000);
        write(offset, 0xffff'ffff);
        EXPECT_EQ(read(offset), bits) << std::hex << offset;
        write(offset, offset == reg::SVR ? 0x100 : 0);
        EXPECT_EQ(read(offset), offset == reg::SVR ? 0x100u : 0u) << std::hex << offset;
    }
}

// ---- x2APIC MSRs (table 10-6)

TEST_F(LapicRegistersTest, OutsideX2apicModeItsMsrsFault) {
    for (std::uint32_t offset = 0; offset < 0x1000; offset += 16) {
        EXPECT_FALSE(rdmsr(offset));
        EXPECT_FALSE(wrmsr(offset, 0));
    }
}

TEST_F(LapicRegistersTest, WhichMsrsThereAre) {
    enter_x2apic();
    std::set<std::uint32_t> readable = {0x802, 0x803, 0x808, 0x80a, 0x80d, 0x80f, 0x828, 0x830, 0x832,
                                        0x833, 0x834, 0x835, 0x836, 0x837, 0x838, 0x839, 0x83e};
    for (std::uint32_t n = 0x810; n < 0x828; ++n) readable.insert(n);
    const std::set<std::uint32_t> writable = {0x808, 0x80b, 0x80f, 0x828, 0x830, 0x832, 0x833,
                                              0x834, 0x835, 0x836, 0x837, 0x838, 0x83e, 0x83f};
    for (std::uint32_t n = 0x800; n < 0x900; ++n) {
        EXPECT_EQ(lapic.read_msr(static_cast<isa::Msr>(n)).has_value(), readable.contains(n)) << std::hex << n;
        EXPECT_EQ(lapic.write_msr(static_cast<isa::Msr>(n), 0).has_value(), writable.contains(n)) << std::hex << n;
    }
}

TEST_F(LapicRegistersTest, ReservedBitsOfTheMsrsFault) {
    enter_x2apic();
    // Read-only bits that can be written back are legal: 12 of an LVT entry, 14 of LINT0 and LINT1.
    const std::pair<std::uint32_t, std::uint64_t> legal[] = {
        {reg::TPR, 0xff},          {reg::EOI, 0},
        {reg::SVR, 0x3ff},         {reg::ESR, 0},
        {reg::LVT_TIMER, 0x710ff}, {reg::LVT_THERMAL, 0x117ff},
        {reg::LVT_PMC, 0x117ff},   {reg::LVT_LINT0, 0x1f7ff},
        {reg::LVT_LINT1, 0x1f7ff}, {reg::LVT_ERROR, 0x110ff},
        {reg::TIMER_DIVIDE, 0xb},  {reg::TIMER_INITIAL, 0xffff'ffff},
        {reg::SELF_IPI, 0xff},     {reg::ICR_LOW, 0xffff'ffff'000c'dfff},
    };
    for (const auto& [offset, bits] : legal)
        for (unsigned bit = 0; bit < 64; ++bit)
            EXPECT_EQ(wrmsr(offset, 1ull << bit), (bits >> bit & 1) != 0)
                << std::hex << offset << " bit " << std::dec << bit;
}

TEST_F(LapicRegistersTest, RegistersByMsr) {
    enter_x2apic();
    EXPECT_TRUE(wrmsr(reg::SVR, 0x1ee));
    EXPECT_EQ(rdmsr(reg::SVR), 0x1eeu);
    EXPECT_EQ(rdmsr(reg::VERSION), 0x0005'0014u);
    fixed(0x99);
    EXPECT_EQ(rdmsr(reg::IRR + 0x40), 1u << 25);
    EXPECT_EQ(lapic.acknowledge(), 0x99);
    EXPECT_EQ(rdmsr(reg::ISR + 0x40), 1u << 25);
    EXPECT_EQ(rdmsr(reg::PPR), 0x90u);
    EXPECT_TRUE(wrmsr(reg::EOI, 0));
    EXPECT_EQ(rdmsr(reg::PPR), 0u);
    EXPECT_TRUE(wrmsr(reg::SELF_IPI, 0xa1));
    EXPECT_EQ(lapic.acknowledge(), 0xa1);
}

TEST_F(LapicRegistersTest, AnIllegalSelfIpiIsTwoErrors) {
    enter_x2apic();
    EXPECT_TRUE(wrmsr(reg::SVR, 0x1ff));
    EXPECT_TRUE(wrmsr(reg::SELF_IPI, 0x0f));
    EXPECT_TRUE(wrmsr(reg::ESR, 0));
    EXPECT_EQ(rdmsr(reg::ESR), 1u << 5 | 1u << 6);
}

// ---- ICR (10.6.1)

TEST_F(LapicRegistersTest, IcrSendsWhenItsLowHalfIsWritten) {
    write(reg::ICR_HIGH, 0x0300'0000);
    EXPECT_TRUE(bus.sent.empty());
    write(reg::ICR_LOW, 0x0000'48a5);
    ASSERT_EQ(bus.sent.size(), 1u);
    const auto& [message, shorthand] = bus.sent[0];
    EXPECT_EQ(message.destination, 3u);
    EXPECT_EQ(message.destination_mode, DestinationMode::logical);
    EXPECT_EQ(message.delivery, DeliveryMode::fixed);
    EXPECT_EQ(message.trigger, TriggerMode::edge);
    EXPECT_EQ(message.vector, 0xa5);
    EXPECT_EQ(shorthand, Shorthand::none);
    EXPECT_EQ(read(reg::ICR_LOW), 0x0000'48a5u);
    EXPECT_EQ(read(reg::ICR_HIGH), 0x0300'0000u);
}

TEST_F(LapicRegistersTest, DeliveryModesOfIcr) {
    const std::pair<unsigned, std::optional<DeliveryMode>> modes[] = {
        {0, DeliveryMode::fixed},   {1, DeliveryMode::lowest_priority},
        {2, DeliveryMode::smi},     {3, std::nullopt},
        {4, DeliveryMode::nmi},     {5, DeliveryMode::init},
        {6, DeliveryMode::startup}, {7, std::nullopt}};
    for (const auto& [code, delivery] : modes) {
        bus.sent.clear();
        write(reg::ICR_LOW, 0x4020 | code << 8);
        EXPECT_EQ(bus.sent.size(), delivery ? 1u : 0u) << code;
        if (delivery && !bus.sent.empty()) {
            EXPECT_EQ(bus.sent[0].message.delivery, *delivery);
        }
    }
}

TEST_F(LapicRegistersTest, ShorthandsOfIcr) {
    for (unsigned code = 0; code < 4; ++code) {
        write(reg::ICR_LOW, 0x4030 | code << 18);
        EXPECT_EQ(bus.sent.back().shorthand, static_cast<Shorthand>(code));
    }
}

// Table 10-3.
TEST_F(LapicRegistersTest, NothingButAFixedInterruptGoesToItselfByShorthand) {
    for (const unsigned mode : {1u, 2u, 4u, 5u, 6u}) {
        write(reg::ICR_LOW, 0x4'4030 | mode << 8);
        EXPECT_TRUE(bus.sent.empty()) << mode;
    }
    write(reg::ICR_LOW, 0x4'4030);
    EXPECT_EQ(bus.sent.size(), 1u);
}

TEST_F(LapicRegistersTest, InitLevelDeassertIsIgnored) {
    write(reg::ICR_LOW, 0x8500);
    EXPECT_TRUE(bus.sent.empty());
    write(reg::ICR_LOW, 0xc500);
    EXPECT_EQ(bus.sent.size(), 1u);
    write(reg::ICR_LOW, 0x4500);
    EXPECT_EQ(bus.sent.size(), 2u);
}

TEST_F(LapicRegistersTest, IpisAreEdgeTriggered) {
    write(reg::ICR_LOW, 0xc0a5);
    EXPECT_EQ(bus.sent.back().message.trigger, TriggerMode::edge);
}

TEST_F(LapicRegistersTest, ABroadcastIsEveryOnesAddressInEachMode) {
    write(reg::ICR_HIGH, 0xff00'0000);
    write(reg::ICR_LOW, 0x4040);
    EXPECT_EQ(bus.sent.back().message.destination, broadcast_destination);
    write(reg::ICR_LOW, 0x4840);
    EXPECT_EQ(bus.sent.back().message.destination, 0xffu) << "logical: just all bits";
    enter_x2apic();
    EXPECT_TRUE(wrmsr(reg::ICR_LOW, 0xffull << 32 | 0x4040));
    EXPECT_EQ(bus.sent.back().message.destination, 0xffu) << "an ID like any other";
    EXPECT_TRUE(wrmsr(reg::ICR_LOW, 0xffff'ffffull << 32 | 0x4040));
    EXPECT_EQ(bus.sent.back().message.destination, broadcast_destination);
    EXPECT_EQ(rdmsr(reg::ICR_LOW), 0xffff'ffff'0000'4040u);
}

TEST_F(LapicRegistersTest, SendingAnIllegalVector) {
    write(reg::ICR_LOW, 0x400f);
    EXPECT_EQ(errors(), 1u << 5);
    write(reg::ICR_LOW, 0x460f);
    EXPECT_EQ(errors(), 0u) << "a start-up IPI may have any";
}

TEST_F(LapicRegistersTest, TheDeliveryStatusIsAlwaysIdle) {
    write(reg::ICR_LOW, 0x5040);
    EXPECT_EQ(read(reg::ICR_LOW), 0x4040u);
}

// ---- suppression of EOI broadcasts (10.8.5)

class LapicSuppressionTest : public LapicFixture {
  protected:
    LapicSuppressionTest() : LapicFixture(true) {}
};

TEST_F(LapicSuppressionTest, IsAdvertisedAndWorks) {
    EXPECT_EQ(read(reg::VERSION), 0x0105'0014u);
    write(reg::SVR, 0xffff'ffff);
    EXPECT_EQ(read(reg::SVR), 0x13ffu);
    fixed(0x61, TriggerMode::level);
    EXPECT_EQ(lapic.acknowledge(), 0x61);
    eoi();
    EXPECT_TRUE(bus.ended.empty());
    write(reg::SVR, 0x1ff);
    fixed(0x61, TriggerMode::level);
    EXPECT_EQ(lapic.acknowledge(), 0x61);
    eoi();
    EXPECT_EQ(bus.ended.size(), 1u);
}

}  // namespace
}  // namespace bulkhead::guest
