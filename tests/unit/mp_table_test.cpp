// SPDX-License-Identifier: Apache-2.0
// The MP table and the BIOS data area, found and read as an old kernel does, by the offsets of the MultiProcessor
// Specification 1.4 (chapter 4).
#include "guest/mp_table.hpp"

#include <gtest/gtest.h>

#include <map>
#include <optional>

#include "guest/acpi_tables.hpp"
#include "guest/bios_data.hpp"
#include "guest/memory_map.hpp"
#include "tests/unit/fake_memory.hpp"

namespace {

using namespace bulkhead;
using namespace bulkhead::guest;
using u8 = std::uint8_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;

class MpTable : public testing::TestWithParam<unsigned> {
  protected:
    void SetUp() override {
        ASSERT_TRUE(write_bios_data(memory));
        ASSERT_TRUE(write_acpi_tables(memory, {.vcpus = GetParam(), .dsdt = built_in_dsdt()}));
        ASSERT_TRUE(
            write_mp_table(memory, {.vcpus = GetParam(), .cpu_signature = 0x50654, .cpu_features = 0xbfebfbff}));
    }
    // 4: on a 16-byte boundary in the extended BIOS data area, the last KiB of base memory, or F0000h to FFFFFh.
    u32 find_pointer() {
        const u32 ebda = memory.at<u16>(0x40e) * 16u, base_end = memory.at<u16>(0x413) * 1024u;
        for (const auto& [first, end] :
             {std::pair{ebda, ebda + 1024}, {base_end - 1024, base_end}, {0xf0000u, 0x100000u}})
            for (u32 at = first; at < end; at += 16)
                if (memory.at<u32>(at) == 0x5f504d5f) return at;
        return 0;
    }
    unsigned sum(u32 at, u32 size) {
        unsigned total = 0;
        for (u32 i = 0; i < size; ++i) total += memory.at<u8>(at + i);
        return total & 0xff;
    }
    // Calls with the address of each entry of a type.
    template <class Visit>
    void each(u8 type, Visit visit) {
        const u32 table = memory.at<u32>(find_pointer() + 4);
        u32 at = table + 44;
        for (unsigned i = 0; i < memory.at<u16>(table + 34); ++i) {
            const u8 kind = memory.at<u8>(at);
            if (kind == type) visit(at);
            at += kind == 0 ? 20 : 8;
        }
        EXPECT_EQ(at, table + memory.at<u16>(table + 4)) << "the entries fill the table";
    }

    FakeMemory memory{1 * mib};
};

TEST_P(MpTable, FloatingPointer) {
    const u32 at = find_pointer();
    ASSERT_NE(at, 0u);
    EXPECT_EQ(memory.at<u8>(at + 8), 1u);
    EXPECT_EQ(memory.at<u8>(at + 9), 4u) << "1.4";
    EXPECT_EQ(sum(at, 16), 0u);
    EXPECT_EQ(memory.at<u8>(at + 11), 0u) << "there is a table";
    EXPECT_EQ(memory.at<u8>(at + 12) & 0x80, 0u) << "virtual wire mode";
}

TEST_P(MpTable, Header) {
    const u32 table = memory.at<u32>(find_pointer() + 4);
    EXPECT_EQ(memory.at<u32>(table), 0x504d4350u) << "PCMP";
    EXPECT_EQ(memory.at<u8>(table + 6), 4u);
    EXPECT_EQ(sum(table, memory.at<u16>(table + 4)), 0u);
    EXPECT_EQ(memory.at<u32>(table + 36), 0xfee00000u);
    EXPECT_EQ(memory.at<u16>(table + 40), 0u) << "no extended entries";
}

TEST_P(MpTable, Processors) {
    unsigned count = 0;
    each(0, [&](u32 at) {
        EXPECT_EQ(memory.at<u8>(at + 1), count) << "APIC ID";
        EXPECT_EQ(memory.at<u8>(at + 2) & 0xf0, 0x10u) << "an integrated APIC";
        EXPECT_EQ(memory.at<u8>(at + 3), count == 0 ? 3u : 1u) << "enabled, and the first is the bootstrap one";
        EXPECT_EQ(memory.at<u32>(at + 4), 0x50654u);
        EXPECT_EQ(memory.at<u32>(at + 8), 0xbfebfbffu);
        ++count;
    });
    EXPECT_EQ(count, GetParam());
}

// What the MADT says: its entries from offset 44 on, found by the root pointer.
struct Madt {
    unsigned processors{}, io_apic_id{};
    u32 io_apic_address{};
    std::map<unsigned, std::pair<u32, u16>> overrides;
};

Madt read_madt(FakeMemory& memory) {
    Madt found;
    const u32 rsdt = memory.at<u32>(0xf0000 + 16);
    for (u32 i = 36; i < memory.at<u32>(rsdt + 4); i += 4) {
        const u32 madt = memory.at<u32>(rsdt + i);
        if (memory.at<u32>(madt) != 0x43495041) continue;
        for (u32 at = madt + 44; at < madt + memory.at<u32>(madt + 4); at += memory.at<u8>(at + 1)) {
            switch (memory.at<u8>(at)) {
                case 0:
                    ++found.processors;
                    break;
                case 1:
                    found.io_apic_id = memory.at<u8>(at + 2);
                    found.io_apic_address = memory.at<u32>(at + 4);
                    break;
                case 2:
                    found.overrides[memory.at<u8>(at + 3)] = {memory.at<u32>(at + 4), memory.at<u16>(at + 8)};
                    break;
                default:
                    break;
            }
        }
    }
    return found;
}

TEST_P(MpTable, AgreesWithTheMadt) {
    const Madt madt = read_madt(memory);
    EXPECT_EQ(madt.processors, GetParam());
    std::optional<u8> isa;
    each(1, [&](u32 at) {
        if (memory.at<u32>(at + 2) == 0x20415349) isa = memory.at<u8>(at + 1);
    });
    ASSERT_TRUE(isa);
    each(2, [&](u32 at) {
        EXPECT_EQ(memory.at<u8>(at + 1), madt.io_apic_id);
        EXPECT_EQ(memory.at<u8>(at + 3), 1u) << "usable";
        EXPECT_EQ(memory.at<u32>(at + 4), madt.io_apic_address);
    });
    std::map<unsigned, std::pair<unsigned, u16>> pins;
    each(3, [&](u32 at) {
        EXPECT_EQ(memory.at<u8>(at + 1), 0u) << "vectored";
        EXPECT_EQ(memory.at<u8>(at + 4), *isa);
        EXPECT_EQ(memory.at<u8>(at + 6), madt.io_apic_id);
        pins[memory.at<u8>(at + 5)] = {memory.at<u8>(at + 7), memory.at<u16>(at + 2)};
    });
    EXPECT_EQ(pins.size(), 15u) << "all but the cascade";
    for (unsigned irq = 0; irq < 16; ++irq) {
        if (irq == 2) continue;
        const bool other = madt.overrides.contains(irq);
        EXPECT_EQ(pins[irq].first, other ? madt.overrides.at(irq).first : irq) << irq;
        EXPECT_EQ(pins[irq].second, other ? madt.overrides.at(irq).second : 0) << irq;
    }
}

TEST_P(MpTable, LocalInterrupts) {
    std::map<unsigned, unsigned> kinds;
    each(4, [&](u32 at) {
        EXPECT_EQ(memory.at<u8>(at + 6), 0xffu) << "at all local APICs";
        kinds[memory.at<u8>(at + 7)] = memory.at<u8>(at + 1);
    });
    EXPECT_EQ(kinds, (std::map<unsigned, unsigned>{{0, 3}, {1, 1}})) << "LINT0: ExtINT, LINT1: NMI";
}

INSTANTIATE_TEST_SUITE_P(Processors, MpTable, testing::Values(1u, 4u, 16u));

TEST(MpTableFailure, WithoutMemoryThere) {
    FakeMemory memory{512 * kib};
    EXPECT_FALSE(write_mp_table(memory, {.vcpus = 1}));
    EXPECT_FALSE(write_bios_data(memory));
}

TEST(BiosData, BaseMemoryEndsAtItsExtendedArea) {
    FakeMemory memory{1 * mib};
    ASSERT_TRUE(write_bios_data(memory));
    EXPECT_EQ(memory.at<u16>(0x400), 0x3f8u);
    EXPECT_EQ(memory.at<u16>(0x40e) * 16u, layout::ebda.value);
    EXPECT_EQ(memory.at<u16>(0x413), 639u);
    EXPECT_EQ(memory.at<u16>(0x410), 1u << 9 | 1u << 1) << "a serial port and an FPU, no display, no diskette drive";
    EXPECT_EQ(memory.at<u8>(layout::ebda.value), 1u) << "KiB";
}

}  // namespace
