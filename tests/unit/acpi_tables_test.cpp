// SPDX-License-Identifier: Apache-2.0
// The ACPI tables, found and read as a guest's kernel does: from the root pointer in firmware's area, by the offsets of
// the specification (2.0, chapter 5.2).
#include "guest/acpi_tables.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "guest/memory_map.hpp"

namespace bulkhead::guest {
namespace {

class FlatMemory final : public Memory {
  public:
    explicit FlatMemory(std::size_t size) : bytes(size, std::byte{0xcc}) {}
    bool read(GuestPhys from, std::span<std::byte> to) override {
        if (from.value > bytes.size() || to.size() > bytes.size() - from.value) return false;
        std::memcpy(to.data(), bytes.data() + from.value, to.size());
        return true;
    }
    bool write(GuestPhys to, std::span<const std::byte> from) override {
        if (to.value > bytes.size() || from.size() > bytes.size() - to.value) return false;
        std::memcpy(bytes.data() + to.value, from.data(), from.size());
        return true;
    }
    bool fill(GuestPhys, std::uint64_t, std::byte) override { return false; }
    std::vector<std::byte> bytes;
};

class Reader {
  public:
    Reader(const FlatMemory& memory, std::uint64_t at) : memory_(memory), at_(at) {}
    template <class T = std::uint32_t>
    std::uint64_t operator()(std::size_t offset) const {
        T value;
        std::memcpy(&value, memory_.bytes.data() + at_ + offset, sizeof value);
        return value;
    }
    std::string text(std::size_t offset, std::size_t size) const {
        return {reinterpret_cast<const char*>(memory_.bytes.data()) + at_ + offset, size};
    }
    unsigned sum(std::size_t size) const {
        unsigned total = 0;
        for (std::size_t i = 0; i < size; ++i) total += static_cast<unsigned>(memory_.bytes[at_ + i]);
        return total & 0xff;
    }
    std::uint64_t address() const { return at_; }
    std::size_t length() const { return (*this)(4); }

  private:
    const FlatMemory& memory_;
    std::uint64_t at_;
};
using u8 = std::uint8_t;
using u16 = std::uint16_t;
using u64 = std::uint64_t;

class AcpiTablesTest : public testing::Test {
  protected:
    void SetUp() override { ASSERT_TRUE(write_acpi_tables(memory, {.vcpus = 4, .dsdt = built_in_dsdt()})); }

    Reader rsdp() const {
        for (std::uint64_t at = 0xe0000; at < 0x100000; at += 16)
            if (Reader{memory, at}.text(0, 8) == "RSD PTR ") return {memory, at};
        ADD_FAILURE() << "no root pointer";
        return {memory, 0};
    }
    Reader at(std::uint64_t address) const { return {memory, address}; }
    Reader table(const std::string& signature) const {
        const Reader xsdt = at(rsdp().operator()<u64>(24));
        for (std::size_t i = 36; i < xsdt.length(); i += 8)
            if (at(xsdt.operator()<u64>(i)).text(0, 4) == signature) return at(xsdt.operator()<u64>(i));
        ADD_FAILURE() << signature;
        return at(0);
    }

    FlatMemory memory{1 * mib};
};

TEST_F(AcpiTablesTest, RootPointer) {
    EXPECT_EQ(rsdp().sum(20), 0u);
    EXPECT_EQ(rsdp().sum(36), 0u);
    EXPECT_EQ(rsdp().operator()<u8>(15), 2u);
    EXPECT_EQ(rsdp()(20), 36u);
}

TEST_F(AcpiTablesTest, BothRootsListTheSameValidTables) {
    const Reader rsdt = at(rsdp()(16)), xsdt = at(rsdp().operator()<u64>(24));
    EXPECT_EQ(rsdt.text(0, 4), "RSDT");
    EXPECT_EQ(xsdt.text(0, 4), "XSDT");
    EXPECT_EQ(rsdt.sum(rsdt.length()), 0u);
    EXPECT_EQ(xsdt.sum(xsdt.length()), 0u);
    ASSERT_EQ((rsdt.length() - 36) / 4, (xsdt.length() - 36) / 8);
    for (std::size_t i = 0; i < (rsdt.length() - 36) / 4; ++i) {
        EXPECT_EQ(rsdt(36 + 4 * i), xsdt.operator()<u64>(36 + 8 * i));
        const Reader t = at(rsdt(36 + 4 * i));
        EXPECT_EQ(t.sum(t.length()), 0u) << t.text(0, 4);
        EXPECT_GE(t.address(), layout::acpi_tables.value);
        EXPECT_LE(t.address() + t.length(), layout::rsdp.value);
    }
}

TEST_F(AcpiTablesTest, Fadt) {
    const Reader fadt = table("FACP");
    EXPECT_EQ(fadt.length(), 244u);
    EXPECT_EQ(fadt.operator()<u8>(8), 3u);
    EXPECT_EQ(fadt.operator()<u16>(46), 9u) << "SCI";
    EXPECT_EQ(fadt(48), 0u) << "no SMI command port: always in ACPI mode";
    EXPECT_EQ(fadt(56), 0x600u);
    EXPECT_EQ(fadt(64), 0x604u);
    EXPECT_EQ(fadt(76), 0x608u);
    EXPECT_EQ(fadt.operator()<u8>(88), 4u);
    EXPECT_EQ(fadt.operator()<u8>(89), 2u);
    EXPECT_EQ(fadt.operator()<u8>(91), 4u);
    EXPECT_GT(fadt.operator()<u16>(96), 100u) << "no C2";
    EXPECT_GT(fadt.operator()<u16>(98), 1000u) << "no C3";
    EXPECT_EQ(fadt.operator()<u8>(108), 0x32u);
    EXPECT_EQ(fadt.operator()<u16>(109), 0x0005u) << "legacy devices, but no 8042 keyboard and no VGA";
    EXPECT_EQ(fadt(112) & (1u << 10), 1u << 10) << "reset register";
    EXPECT_EQ(fadt(112) & (1u << 8), 0u) << "24-bit timer";
    EXPECT_EQ(fadt(112) & (1u << 20), 0u) << "not hardware-reduced";
    EXPECT_EQ(fadt(112) & (1u << 4), 0u) << "the power button is in PM1";
    EXPECT_EQ(fadt.operator()<u8>(116), 1u);
    EXPECT_EQ(fadt.operator()<u64>(120), 0xcf9u);
    EXPECT_EQ(fadt.operator()<u8>(128), 0x06u);
    EXPECT_EQ(fadt.operator()<u64>(140), fadt(40));
    EXPECT_EQ(at(fadt(40)).text(0, 4), "DSDT");
    // The 64-bit blocks say the same as the 32-bit ones.
    for (const auto& [wide, narrow, length] : {std::tuple{148, 56, 88}, {172, 64, 89}, {208, 76, 91}}) {
        const auto w = static_cast<std::size_t>(wide);
        EXPECT_EQ(fadt.operator()<u8>(w), 1u) << "system I/O";
        EXPECT_EQ(fadt.operator()<u8>(w + 1), 8 * fadt.operator()<u8>(static_cast<std::size_t>(length)));
        EXPECT_EQ(fadt.operator()<u64>(w + 4), fadt(static_cast<std::size_t>(narrow)));
    }
}

TEST_F(AcpiTablesTest, Facs) {
    const Reader facs = at(table("FACP")(36));
    EXPECT_EQ(facs.text(0, 4), "FACS");
    EXPECT_EQ(facs.length(), 64u);
    EXPECT_EQ(facs.address() % 64, 0u);
    EXPECT_EQ(facs(16), 0u) << "the global lock is free";
}

TEST_F(AcpiTablesTest, Madt) {
    const Reader madt = table("APIC");
    EXPECT_EQ(madt(36), 0xfee00000u);
    EXPECT_EQ(madt(40), 1u) << "PCAT_COMPAT";
    std::vector<unsigned> processors;
    std::map<unsigned, std::pair<std::uint64_t, std::uint64_t>> overrides;
    bool ioapic = false, nmi = false;
    std::size_t i = 44;
    while (i < madt.length()) {
        const auto type = madt.operator()<u8>(i), length = madt.operator()<u8>(i + 1);
        ASSERT_NE(length, 0u);
        if (type == 0) {
            EXPECT_EQ(madt(i + 4), 1u);
            processors.push_back(static_cast<unsigned>(madt.operator()<u8>(i + 3)));
        } else if (type == 1) {
            EXPECT_EQ(madt(i + 4), 0xfec00000u);
            EXPECT_EQ(madt(i + 8), 0u);
            ioapic = true;
        } else if (type == 2) {
            overrides[static_cast<unsigned>(madt.operator()<u8>(i + 3))] = {madt(i + 4), madt.operator()<u16>(i + 8)};
        } else if (type == 4) {
            EXPECT_EQ(madt.operator()<u8>(i + 2), 0xffu);
            EXPECT_EQ(madt.operator()<u8>(i + 5), 1u) << "LINT1";
            nmi = true;
        }
        i += length;
    }
    EXPECT_EQ(i, madt.length());
    EXPECT_EQ(processors, (std::vector<unsigned>{0, 1, 2, 3}));
    EXPECT_TRUE(ioapic && nmi);
    EXPECT_EQ(overrides.at(0), (std::pair<std::uint64_t, std::uint64_t>{2, 0}));
    EXPECT_EQ(overrides.at(9), (std::pair<std::uint64_t, std::uint64_t>{9, 0xd})) << "level, active high";
    EXPECT_EQ(overrides.size(), 2u);
}

// ACPICA's own disassembler reads every table, and finds in the DSDT what the fixed tables promise.
TEST_F(AcpiTablesTest, TheDisassemblerAccepts) {
    std::string pattern = (std::filesystem::temp_directory_path() / "acpi_tables.XXXXXX").string();
    const std::filesystem::path directory = mkdtemp(pattern.data());
    std::string dsdt_source;
    for (const auto& [name, t] : {std::pair{"facp", table("FACP")},
                                  {"apic", table("APIC")},
                                  {"facs", at(table("FACP")(36))},
                                  {"dsdt", at(table("FACP")(40))},
                                  {"xsdt", at(rsdp().operator()<u64>(24))}}) {
        const std::string base = (directory / name).string();
        std::ofstream(base + ".dat", std::ios::binary) << t.text(0, t.length());
        ASSERT_EQ(std::system(("iasl -d " + base + ".dat >" + base + ".log 2>&1").c_str()), 0) << name;
        std::stringstream source, log;
        source << std::ifstream(base + ".dsl").rdbuf();
        log << std::ifstream(base + ".log").rdbuf();
        for (const char* complaint : {"Incorrect checksum", "Invalid", "Error", "Warning"})
            EXPECT_EQ((source.str() + log.str()).find(complaint), std::string::npos) << complaint << "\n" << log.str();
        if (std::string(name) == "dsdt") dsdt_source = source.str();
    }
    std::filesystem::remove_all(directory);
    for (const char* id : {"PNP0A03", "PNP0501", "PNP0B00", "PNP0000", "PNP0100", "QEMU0002", "_S5"})
        EXPECT_NE(dsdt_source.find(id), std::string::npos) << id;
    for (const char* id : {"PNP0303", "PNP0103", "PNP0200"}) EXPECT_EQ(dsdt_source.find(id), std::string::npos) << id;
}

TEST(AcpiTables, FailureIsReported) {
    FlatMemory small{512 * kib};
    EXPECT_EQ(write_acpi_tables(small, {.vcpus = 1, .dsdt = built_in_dsdt()}).error(), TableError::not_memory);
    FlatMemory memory{1 * mib};
    EXPECT_EQ(write_acpi_tables(memory, {.vcpus = 1, .dsdt = {}}).error(), TableError::bad_dsdt);
    std::vector<std::byte> dsdt(built_in_dsdt().begin(), built_in_dsdt().end());
    dsdt[40] ^= std::byte{1};
    EXPECT_EQ(write_acpi_tables(memory, {.vcpus = 1, .dsdt = dsdt}).error(), TableError::bad_dsdt);
    EXPECT_EQ(write_acpi_tables(memory, {.vcpus = 10'000, .dsdt = built_in_dsdt()}).error(), TableError::no_room);
    // A table of 64 KiB leaves no room for the others.
    dsdt.assign(layout::acpi_tables_size, std::byte{});
    std::memcpy(dsdt.data(), "DSDT\0\0\1\0", 8);
    unsigned sum = 0;
    for (const std::byte b : dsdt) sum += static_cast<unsigned>(b);
    dsdt[9] = static_cast<std::byte>(-sum);
    EXPECT_EQ(write_acpi_tables(memory, {.vcpus = 1, .dsdt = dsdt}).error(), TableError::no_room);
}

}  // namespace
}  // namespace bulkhead::guest
