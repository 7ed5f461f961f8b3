// SPDX-License-Identifier: Apache-2.0
#include "drivers/acpi.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "tests/unit/acpi_fixture.hpp"

namespace bulkhead::drivers::acpi {
namespace {

class AcpiTest : public testing::Test {
  protected:
    void root(const std::vector<std::uint64_t>& tables) {
        Bytes rsdt_body, xsdt_body;
        for (const std::uint64_t t : tables) {
            put(rsdt_body, rsdt_body.size(), t, 4);
            put(xsdt_body, xsdt_body.size(), t, 8);
        }
        memory.place(0x1000, table("RSDT", rsdt_body));
        memory.place(0x2000, table("XSDT", xsdt_body));
    }
    std::expected<Platform, Error> read(const Bytes& pointer) {
        return read_platform(std::as_bytes(std::span(pointer)), MapPhysical::to<&FakeMemory::map>(&memory));
    }
    Platform read_with_madt(const std::vector<Bytes>& entries) {
        memory.place(0x3000, madt(entries));
        root({0x3000});
        const auto platform = read(rsdp(2, 0x1000, 0x2000));
        EXPECT_TRUE(platform);
        return platform.value_or(Platform{});
    }
    Platform read_with_fadt(const Bytes& fadt_table, const Bytes& aml = s5_aml) {
        memory.place(0x3000, madt({lapic(0, 1)}));
        memory.place(0x4000, fadt_table);
        memory.place(0x5000, table("DSDT", aml));
        root({0x4000, 0x3000});
        const auto platform = read(rsdp(2, 0x1000, 0x2000));
        EXPECT_TRUE(platform);
        return platform.value_or(Platform{});
    }
    FakeMemory memory;
};

std::vector<std::uint32_t> ids(const Platform& p) {
    return {p.processors().begin(), p.processors().end()};
}

TEST_F(AcpiTest, AnOrdinaryPc) {
    memory.place(0x3000, madt({lapic(0, 1), lapic(2, 1), lapic(1, 0), ioapic(4, 0xfec0'0000, 0),
                               source_override(0, 2, 0), source_override(9, 9, 0xd)}));
    memory.place(0x4000, fadt(0x5000));
    memory.place(0x5000, table("DSDT", s5_aml));
    memory.place(0x6000, table("HPET", Bytes(20)));
    root({0x6000, 0x4000, 0x3000});
    for (const unsigned revision : {0u, 2u}) {
        const auto p = read(rsdp(revision, 0x1000, 0x2000));
        ASSERT_TRUE(p) << revision;
        EXPECT_EQ(ids(*p), (std::vector<std::uint32_t>{0, 2}));
        ASSERT_EQ(p->io_apic_count, 1u);
        EXPECT_EQ(p->io_apics[0].id, 4);
        EXPECT_EQ(p->io_apics[0].address, HostPhys{0xfec0'0000});
        EXPECT_EQ(p->io_apics[0].gsi_base, 0u);
        EXPECT_EQ(p->local_apic, HostPhys{0xfee0'0000});
        EXPECT_TRUE(p->has_legacy_pics);
        EXPECT_EQ(p->isa_routes[0], (IsaRoute{.gsi = 2}));
        EXPECT_EQ(p->isa_routes[4], (IsaRoute{.gsi = 4}));
        EXPECT_EQ(p->isa_routes[9], (IsaRoute{9, isa::apic::TriggerMode::level, Polarity::active_high}));
        EXPECT_EQ(p->pm_timer, (PmTimerBlock{0xb008, false}));
        EXPECT_EQ(p->reset, (ResetRegister{AddressSpace::io, 0xcf9, 6}));
        EXPECT_EQ(p->soft_off, (SoftOff{0xb004, 0, 5, 6, 0xb2, 0xf1}));
        EXPECT_EQ(p->century_register, 0x32);
        EXPECT_FALSE(p->madt_truncated);
    }
}

TEST_F(AcpiTest, ADamagedPointerIsAnError) {
    root({});
    Bytes bad = rsdp(0, 0x1000, 0);
    bad[10] ^= 1;
    EXPECT_EQ(read(bad).error(), Error::bad_rsdp);
    bad = rsdp(0, 0x1000, 0);
    bad[0] ^= 1;
    fix_sum(bad, 8, 20);
    EXPECT_EQ(read(bad).error(), Error::bad_rsdp);
    bad = rsdp(0, 0x1000, 0);
    bad.resize(19);
    EXPECT_EQ(read(bad).error(), Error::bad_rsdp);
    EXPECT_EQ(read({}).error(), Error::bad_rsdp);
}

TEST_F(AcpiTest, FallsBackFromTheXsdtToTheRsdt) {
    memory.place(0x3000, madt({lapic(7, 1)}));
    root({0x3000});
    Bytes pointer = rsdp(2, 0x1000, 0x2000);
    pointer[30] ^= 1;  // the extended checksum is wrong, the first one is right
    ASSERT_TRUE(read(pointer));
    EXPECT_EQ(ids(*read(rsdp(2, 0x1000, 0xdead'0000))), std::vector<std::uint32_t>{7});
    EXPECT_EQ(ids(*read(rsdp(2, 0x1000, 0))), std::vector<std::uint32_t>{7});
    EXPECT_EQ(ids(*read(rsdp(2, 0xdead'0000, 0x2000))), std::vector<std::uint32_t>{7});
    EXPECT_EQ(read(rsdp(2, 0xdead'0000, 0xdead'0000)).error(), Error::bad_root);
    EXPECT_EQ(read(rsdp(0, 0x2000, 0)).error(), Error::bad_root) << "an XSDT is no RSDT";
}

TEST_F(AcpiTest, ARootThatLiesAboutItsLengthIsAnError) {
    for (const std::uint64_t length : {0ull, 35ull, 1000ull, 0xffff'ffffull}) {
        Bytes rsdt = table("RSDT", Bytes(4));
        put(rsdt, 4, length, 4);
        fix_sum(rsdt, 9, rsdt.size());
        memory.place(0x1000, rsdt);
        EXPECT_EQ(read(rsdp(0, 0x1000, 0)).error(), Error::bad_root) << length;
    }
}

TEST_F(AcpiTest, NoMadtOrADamagedOneIsAnError) {
    root({0x4000, 0, 0xdead'beef});
    EXPECT_EQ(read(rsdp(2, 0x1000, 0x2000)).error(), Error::no_madt);
    Bytes bad = madt({lapic(0, 1)});
    bad.back() ^= 1;
    memory.place(0x3000, bad);
    root({0x3000});
    EXPECT_EQ(read(rsdp(2, 0x1000, 0x2000)).error(), Error::no_madt);
    // A good one behind a damaged one is found.
    memory.place(0x6000, madt({lapic(3, 1)}));
    root({0x3000, 0x6000});
    EXPECT_EQ(ids(*read(rsdp(2, 0x1000, 0x2000))), std::vector<std::uint32_t>{3});
}

TEST_F(AcpiTest, AMadtWithoutAUsableProcessorIsAnError) {
    memory.place(0x3000, madt({lapic(0, 0), lapic(0xff, 1), x2apic(0xffff'ffff, 1), ioapic(0, 0xfec0'0000, 0)}));
    root({0x3000});
    EXPECT_EQ(read(rsdp(2, 0x1000, 0x2000)).error(), Error::no_processors);
    // As short as a table can be.
    memory.place(0x3000, table("APIC", {}));
    EXPECT_EQ(read(rsdp(2, 0x1000, 0x2000)).error(), Error::no_processors);
}

TEST_F(AcpiTest, BothKindsOfProcessorEntriesCountOnce) {
    const Platform p = read_with_madt({lapic(0, 1), x2apic(0, 1), x2apic(0x1234, 1), lapic(1, 1), x2apic(5, 0)});
    EXPECT_EQ(ids(p), (std::vector<std::uint32_t>{0, 0x1234, 1}));
}

TEST_F(AcpiTest, OnlineCapableIsNotEnabled) {
    EXPECT_EQ(ids(read_with_madt({lapic(0, 3), lapic(1, 2)})), std::vector<std::uint32_t>{0});
}

TEST_F(AcpiTest, MoreProcessorsThanThereIsRoomForAreCounted) {
    std::vector<Bytes> entries;
    for (std::uint32_t i = 0; i < 70; ++i) entries.push_back(x2apic(i, 1));
    for (unsigned i = 0; i < 10; ++i) entries.push_back(ioapic(static_cast<std::uint8_t>(i), 0xfec0'0000, 24 * i));
    const Platform p = read_with_madt(entries);
    EXPECT_EQ(p.processor_count, max_processors);
    EXPECT_EQ(p.processors_left_out, 70 - max_processors);
    EXPECT_EQ(p.io_apic_count, max_io_apics);
}

TEST_F(AcpiTest, OverridesOfInterruptsAndOfTheApicsAddress) {
    Bytes address{5, 12, 0, 0};
    put(address, 4, 0x12'3456'7000, 8);
    Bytes other_bus = source_override(3, 30, 0);
    other_bus[2] = 1;
    const Platform p = read_with_madt({lapic(0, 1), address, source_override(5, 20, 0xf), source_override(6, 21, 0x5),
                                       source_override(16, 22, 0), other_bus});
    EXPECT_EQ(p.local_apic, HostPhys{0x12'3456'7000});
    EXPECT_EQ(p.isa_routes[5], (IsaRoute{20, isa::apic::TriggerMode::level, Polarity::active_low}));
    EXPECT_EQ(p.isa_routes[6], (IsaRoute{21, isa::apic::TriggerMode::edge, Polarity::active_high}));
    EXPECT_EQ(p.isa_routes[3], (IsaRoute{.gsi = 3}));
    EXPECT_FALSE(read_with_madt({lapic(0, 1)}).madt_truncated);
}

TEST_F(AcpiTest, AMalformedEntryEndsTheMadt) {
    const std::vector<Bytes> malformed{
        {0, 0}, {0, 1}, {0}, {0, 7, 9, 9, 1, 0, 0}, {9, 8, 0, 0, 1, 0, 0, 0}, {0, 8, 9}, {1, 200, 0, 0}, {0x55, 0}};
    for (const Bytes& entry : malformed) {
        const Platform p = read_with_madt({lapic(3, 1), entry, lapic(4, 1)});
        EXPECT_TRUE(p.madt_truncated);
        EXPECT_EQ(ids(p)[0], 3u);
        EXPECT_EQ(p.processor_count, 1u);
    }
    // An unknown type is skipped by its length.
    EXPECT_EQ(ids(read_with_madt({{0x80, 5, 1, 2, 3}, lapic(4, 1)})), std::vector<std::uint32_t>{4});
}

TEST_F(AcpiTest, WithoutAnIntactFadtTheRestStands) {
    Bytes bad = fadt(0x5000);
    bad[200] ^= 1;
    const Platform p = read_with_fadt(bad);
    EXPECT_EQ(p.processor_count, 1u);
    EXPECT_FALSE(p.pm_timer);
    EXPECT_FALSE(p.reset);
    EXPECT_FALSE(p.soft_off);
    EXPECT_EQ(p.century_register, 0);
}

TEST_F(AcpiTest, AnAcpi1FadtHasNoExtendedFields) {
    Bytes old = fadt(0x5000);
    old.resize(116);
    put(old, 4, 116, 4);
    put(old, 112, 1u << 8 | 1u << 10, 4);
    fix_sum(old, 9, old.size());
    const Platform p = read_with_fadt(old);
    EXPECT_EQ(p.pm_timer, (PmTimerBlock{0xb008, true}));
    EXPECT_FALSE(p.reset);
    EXPECT_EQ(p.soft_off, (SoftOff{0xb004, 0, 5, 6, 0xb2, 0xf1}));
}

TEST_F(AcpiTest, ExtendedFieldsComeFirst) {
    Bytes t = fadt(0xdead'0000);
    put(t, 140, 0x5000, 8);                 // X_DSDT
    put_generic_address(t, 172, 1, 0x404);  // X_PM1a_CNT_BLK
    put_generic_address(t, 184, 1, 0x504);  // X_PM1b_CNT_BLK
    put_generic_address(t, 208, 1, 0x408);  // X_PM_TMR_BLK
    fix_sum(t, 9, t.size());
    const Platform p = read_with_fadt(t);
    EXPECT_EQ(p.pm_timer, (PmTimerBlock{0x408, false}));
    EXPECT_EQ(p.soft_off, (SoftOff{0x404, 0x504, 5, 6, 0xb2, 0xf1}));
    // Registers in memory are not ports, and no port is above ffffh.
    Bytes in_memory = t;
    put_generic_address(in_memory, 208, 0, 0xfed0'0000);
    fix_sum(in_memory, 9, in_memory.size());
    EXPECT_FALSE(read_with_fadt(in_memory).pm_timer);
    put_generic_address(t, 208, 1, 0x1'0000);
    fix_sum(t, 9, t.size());
    EXPECT_FALSE(read_with_fadt(t).pm_timer);
}

TEST_F(AcpiTest, WhatTheFadtDoesNotOfferIsAbsent) {
    EXPECT_FALSE(read_with_fadt(edited(fadt(0x5000), 91, 0, 1)).pm_timer);
    EXPECT_FALSE(read_with_fadt(edited(fadt(0x5000), 112, 0, 4)).reset);
    EXPECT_FALSE(read_with_fadt(edited(fadt(0x5000), 116, 0x7f, 1)).reset);
    EXPECT_FALSE(read_with_fadt(edited(fadt(0x5000), 64, 0, 4)).soft_off);
    EXPECT_FALSE(read_with_fadt(edited(fadt(0x5000), 112, 1u << 20, 4)).soft_off) << "hardware-reduced";
    EXPECT_FALSE(read_with_fadt(fadt(0xdead'0000)).soft_off);
    EXPECT_FALSE(read_with_fadt(fadt(0x3000)).soft_off) << "a MADT is no DSDT";
}

TEST_F(AcpiTest, SleepTypesInTheirSpellings) {
    const auto types = [&](const Bytes& aml) -> std::optional<std::pair<int, int>> {
        const Platform p = read_with_fadt(fadt(0x5000), aml);
        if (!p.soft_off) return std::nullopt;
        return std::pair<int, int>(p.soft_off->sleep_type_a, p.soft_off->sleep_type_b);
    };
    using Pair = std::pair<int, int>;
    EXPECT_EQ(types({0x08, '\\', '_', 'S', '5', '_', 0x12, 0x06, 0x02, 0x00, 0x01, 0, 0}), Pair(0, 1));
    EXPECT_EQ(types({0x08, '_', 'S', '5', '_', 0x12, 0x07, 0x02, 0x0b, 0x07, 0x00, 0x0a, 0x03}), Pair(7, 3));
    EXPECT_EQ(types({0x08, '_', 'S', '5', '_', 0x12, 0x09, 0x02, 0x0c, 5, 0, 0, 0, 0x0a, 0x03}), Pair(5, 3));
    EXPECT_EQ(types({0x08, '_', 'S', '5', '_', 0x12, 0x05, 0x01, 0x0b, 0x05, 0x06}), Pair(5, 6));
    // A two-byte length: 1 << 4 | 0.
    Bytes longer{0x08, '_', 'S', '5', '_', 0x12, 0x40, 0x01, 0x02, 0x0a, 0x05, 0x0a, 0x06};
    longer.resize(6 + 16);
    EXPECT_EQ(types(longer), Pair(5, 6));

    EXPECT_FALSE(types({}));
    EXPECT_FALSE(types({'_', 'S', '5', '_', 0x12, 0x06, 0x02, 0x00, 0x01, 0, 0})) << "no NameOp";
    EXPECT_FALSE(types({0x08, '_', 'S', '5', '_'}));
    EXPECT_FALSE(types({0x08, '_', 'S', '5', '_', 0x12}));
    EXPECT_FALSE(types({0x08, '_', 'S', '5', '_', 0x0a, 0x05})) << "not a package";
    EXPECT_FALSE(types({0x08, '_', 'S', '5', '_', 0x12, 0x00, 0x02, 0x00, 0x01})) << "length 0";
    EXPECT_FALSE(types({0x08, '_', 'S', '5', '_', 0x12, 0x30, 0x02, 0x00, 0x01})) << "longer than the table";
    EXPECT_FALSE(types({0x08, '_', 'S', '5', '_', 0x12, 0xff, 0xff, 0xff, 0xff})) << "longer than the table";
    EXPECT_FALSE(types({0x08, '_', 'S', '5', '_', 0x12, 0x02, 0x00})) << "no elements";
    EXPECT_FALSE(types({0x08, '_', 'S', '5', '_', 0x12, 0x03, 0x02, 0x01, 0x01})) << "elements beyond the package";
    EXPECT_FALSE(types({0x08, '_', 'S', '5', '_', 0x12, 0x05, 0x02, 0x01, 0x0d, 'x'})) << "not an integer";
}

TEST_F(AcpiTest, GarbageIsNeverAHang) {
    std::mt19937 random(11);
    const Bytes pointer = rsdp(2, 0x1000, 0x2000);
    for (int round = 0; round < 3000; ++round) {
        Bytes m = madt({lapic(0, 1), x2apic(9, 1), ioapic(1, 0xfec0'0000, 0), source_override(0, 2, 0)});
        Bytes f = fadt(0x5000);
        Bytes d = table("DSDT", s5_aml);
        for (Bytes* t : {&m, &f, &d}) {
            for (unsigned i = 0; i < random() % 6; ++i)
                (*t)[8 + random() % (t->size() - 8)] = static_cast<std::uint8_t>(random());
            fix_sum(*t, 9, t->size());
        }
        memory.place(0x3000, m);
        memory.place(0x4000, f);
        memory.place(0x5000, d);
        root({0x3000, 0x4000});
        memory.maps = 0;
        const auto platform = read(pointer);
        EXPECT_LT(memory.maps, 30u);
        if (platform) {
            EXPECT_LE(platform->processor_count, max_processors);
        }
    }
}

TEST(AcpiError, EveryErrorHasWords) {
    for (const Error e : {Error::bad_rsdp, Error::bad_root, Error::no_madt, Error::no_processors})
        EXPECT_GT(describe(e).size(), 10u);
}

}  // namespace
}  // namespace bulkhead::drivers::acpi
