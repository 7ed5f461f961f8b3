// SPDX-License-Identifier: Apache-2.0
// Firmware runs the script of the table loader as QEMU describes it (hw/acpi/bios-linker-loader.c); the tables are then
// where systems look for them, and whole.
#include "guest/acpi_loader.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "fake_memory.hpp"

namespace bulkhead::guest {
namespace {

template <class T>
T get(const std::vector<std::byte>& bytes, std::size_t offset) {
    T value{};
    if (offset + sizeof value <= bytes.size()) std::memcpy(&value, &bytes[offset], sizeof value);
    return value;
}

unsigned sum(FakeMemory& memory, std::uint64_t at, std::uint64_t size) {
    unsigned total = 0;
    for (std::uint64_t i = 0; i < size; ++i) total += memory.at<std::uint8_t>(at + i);
    return total & 0xff;
}

// A firmware: reads files from the device, allocates, and does what the script says.
class Firmware {
  public:
    Firmware(FwCfg& device, FakeMemory& memory) : device_(device), memory_(memory) {}

    std::vector<std::byte> file(const std::string& name) {
        device_.out(0x510, 2, 0x19);
        for (std::uint32_t left = number(); left != 0; --left) {
            const std::uint32_t size = number(), key = number() >> 16;
            const auto present = bytes(56);
            if (name != reinterpret_cast<const char*>(present.data())) continue;
            device_.out(0x510, 2, key);
            return bytes(size);
        }
        ADD_FAILURE() << "no file " << name;
        return {};
    }

    void run() {
        const auto script = file("etc/table-loader");
        ASSERT_EQ(script.size() % 128, 0u);
        for (std::size_t at = 0; at < script.size(); at += 128) obey(script, at);
    }
    std::uint64_t place(const std::string& name) const { return places_.at(name); }

  private:
    std::uint32_t number() {
        std::uint32_t value = 0;
        for (int i = 0; i < 4; ++i) value = value << 8 | device_.in(0x511, 1);
        return value;
    }
    std::vector<std::byte> bytes(std::size_t size) {
        std::vector<std::byte> data(size);
        for (std::byte& b : data) b = static_cast<std::byte>(device_.in(0x511, 1));
        return data;
    }
    static std::string name_at(const std::vector<std::byte>& script, std::size_t at) {
        return reinterpret_cast<const char*>(&script[at]);
    }

    void obey(const std::vector<std::byte>& script, std::size_t at) {
        const std::string name = name_at(script, at + 4);
        switch (get<std::uint32_t>(script, at)) {
            case 1: return allocate(name, get<std::uint32_t>(script, at + 60), get<std::uint8_t>(script, at + 64));
            case 2: {
                const std::uint64_t to = place(name) + get<std::uint32_t>(script, at + 116);
                const std::uint64_t base = place(name_at(script, at + 60));
                if (get<std::uint8_t>(script, at + 120) == 8)
                    return memory_.set(to, memory_.at<std::uint64_t>(to) + base);
                ASSERT_EQ(get<std::uint8_t>(script, at + 120), 4);
                return memory_.set(to, static_cast<std::uint32_t>(memory_.at<std::uint32_t>(to) + base));
            }
            case 3: {
                const std::uint64_t byte = place(name) + get<std::uint32_t>(script, at + 60);
                const std::uint64_t start = place(name) + get<std::uint32_t>(script, at + 64);
                const unsigned total = sum(memory_, start, get<std::uint32_t>(script, at + 68));
                return memory_.set(byte, static_cast<std::uint8_t>(memory_.at<std::uint8_t>(byte) - total));
            }
            default: FAIL() << "unknown command";
        }
    }
    void allocate(const std::string& name, std::uint32_t alignment, std::uint8_t zone) {
        const auto data = file(name);
        std::uint64_t& next = zone == 1 ? high_ : f_segment_;
        next = (next + alignment - 1) / alignment * alignment;
        places_[name] = next;
        ASSERT_TRUE(memory_.write(GuestPhys{next}, data));
        next += data.size();
    }

    FwCfg& device_;
    FakeMemory& memory_;
    std::uint64_t high_ = 0x123457, f_segment_ = 0xf1234;
    std::map<std::string, std::uint64_t> places_;
};

class AcpiLoaderTest : public testing::Test {
  protected:
    void SetUp() override {
        ASSERT_TRUE(loader.build({.vcpus = 3, .dsdt = built_in_pc_dsdt(), .display_and_keyboard = true}));
        ASSERT_TRUE(loader.add_to(device));
        firmware.run();
        rsdp = firmware.place("etc/acpi/rsdp");
    }
    std::string signature(std::uint64_t at) {
        std::string text;
        for (int i = 0; i < 4; ++i) text += static_cast<char>(memory.at<std::uint8_t>(at + i));
        return text;
    }
    unsigned total(std::uint64_t at, std::uint64_t size) { return sum(memory, at, size); }
    unsigned table_sum(std::uint64_t at) { return total(at, memory.at<std::uint32_t>(at + 4)); }

    FakeMemory memory{4 * mib};
    Clock clock{.now = 0, .hz = 1'000'000};
    TimerQueue timers{clock};
    FwCfg device{memory, timers};
    AcpiLoader loader;
    Firmware firmware{device, memory};
    std::uint64_t rsdp = 0;
};

TEST_F(AcpiLoaderTest, TheRootPointerIsInTheFSegment) {
    EXPECT_EQ(rsdp % 16, 0u);
    EXPECT_GE(rsdp, 0xf0000u);
    EXPECT_EQ(signature(rsdp), "RSD ");
    EXPECT_EQ(total(rsdp, 20), 0u);
    EXPECT_EQ(total(rsdp, 36), 0u);
}

TEST_F(AcpiLoaderTest, BothRootsLeadToTheTables) {
    const std::uint64_t rsdt = memory.at<std::uint32_t>(rsdp + 16), xsdt = memory.at<std::uint64_t>(rsdp + 24);
    EXPECT_EQ(signature(rsdt), "RSDT");
    EXPECT_EQ(signature(xsdt), "XSDT");
    EXPECT_EQ(table_sum(rsdt), 0u);
    EXPECT_EQ(table_sum(xsdt), 0u);
    for (int i = 0; i < 2; ++i) {
        const std::uint64_t table = memory.at<std::uint32_t>(rsdt + 36 + 4 * i);
        EXPECT_EQ(memory.at<std::uint64_t>(xsdt + 36 + 8 * i), table);
        EXPECT_EQ(signature(table), i == 0 ? "FACP" : "APIC");
        EXPECT_EQ(table_sum(table), 0u);
    }
}

TEST_F(AcpiLoaderTest, TheFadtLeadsToItsOwn) {
    const std::uint64_t fadt = memory.at<std::uint32_t>(memory.at<std::uint32_t>(rsdp + 16) + 36);
    const std::uint64_t facs = memory.at<std::uint32_t>(fadt + 36), dsdt = memory.at<std::uint32_t>(fadt + 40);
    EXPECT_EQ(signature(facs), "FACS");
    EXPECT_EQ(facs % 64, 0u);
    EXPECT_EQ(signature(dsdt), "DSDT");
    EXPECT_EQ(table_sum(dsdt), 0u);
    EXPECT_EQ(memory.at<std::uint64_t>(fadt + 140), dsdt);
    EXPECT_EQ(memory.at<std::uint16_t>(fadt + 109), 0x3u) << "legacy devices, an 8042, and a VGA";
}

TEST_F(AcpiLoaderTest, WhatDoesNotFitIsAnError) {
    EXPECT_EQ(loader.build({.vcpus = 10'000, .dsdt = built_in_dsdt()}).error(), TableError::no_room);
}

}  // namespace
}  // namespace bulkhead::guest
