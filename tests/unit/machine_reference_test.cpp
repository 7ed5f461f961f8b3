// SPDX-License-Identifier: Apache-2.0
// docs/machine.md is what the code says: its tables are held against those that the machine is made of. A table that
// differs is printed as it should be.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cstdio>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "guest/cpuid_table.hpp"
#include "guest/machine.hpp"
#include "guest/msr_table.hpp"

namespace bulkhead::guest {
namespace {

using Lines = std::vector<std::string>;

// The rows of the first table under a heading or another line, without its head.
Lines table_under(const std::string& heading) {
    std::ifstream file{"docs/machine.md"};
    EXPECT_TRUE(file.is_open()) << "run from the root of the tree";
    std::string line;
    while (std::getline(file, line) && line != heading) continue;
    while (std::getline(file, line) && !line.starts_with("|---")) continue;
    Lines rows;
    while (std::getline(file, line) && line.starts_with("|")) rows.push_back(line);
    return rows;
}

void expect_table(const std::string& heading, const Lines& wanted) {
    std::string should, is;
    for (const std::string& line : wanted) should += line + "\n";
    for (const std::string& line : table_under(heading)) is += line + "\n";
    EXPECT_EQ(is, should) << "the table under '" << heading << "' should be\n" << should << "(end)";
}

std::string hex(std::uint64_t value) {
    char text[20];
    std::snprintf(text, sizeof text, "%llX", static_cast<unsigned long long>(value));
    return (text[0] > '9' ? "0" : "") + std::string{text} + "h";
}

// ---- CPUID

std::string condition(cpuid_table::Show show) {
    using enum cpuid_table::Show;
    switch (show) {
        case host: return "the processor has it";
        case always: return "always";
        case smp: return "more than one vCPU";
        case xsave: return "the processor has it, and XSAVE";
        case avx: return "the processor has it, and XCR0 offers AVX";
        case avx512: return "the processor has it, and XCR0 offers AVX-512";
        case pku: return "the processor has it, and XCR0 offers PKRU";
        case xsavec: return "the processor has it, in the SDM's format";
        case xsaves: return "the processor has it, in the SDM's format, and VMX enables it";
        case rdtscp:
        case invpcid: return "the processor has it, and VMX enables it";
        case spec_ctrl:
        case arch_capabilities: return "the processor has it, and its MSR";
    }
    return {};
}

std::string place(const cpuid_table::Row& row) {
    const char* const registers[] = {"EAX", "EBX", "ECX", "EDX"};
    std::string text = hex(row.leaf);
    if (row.leaf == 7 || row.leaf == 0xd) text += "." + std::to_string(row.subleaf);
    return text + " " + registers[static_cast<unsigned>(row.reg)];
}

TEST(MachineReference, CpuidFeatures) {
    // What has the same place and condition is together.
    Lines wanted, starts;
    for (const cpuid_table::Row& row : cpuid_table::rows) {
        if (!cpuid_table::is_feature(row)) continue;
        const std::string start = "| " + place(row) + " | " + condition(row.show) + " | ";
        const std::string feature = "`" + std::string{row.name} + "` " + std::to_string(std::countr_zero(row.mask));
        const auto found = std::ranges::find(starts, start) - starts.begin();
        if (found == std::ssize(starts)) {
            starts.push_back(start);
            wanted.push_back(start + feature);
        } else {
            wanted[static_cast<std::size_t>(found)] += ", " + feature;
        }
    }
    for (std::string& line : wanted) line += " |";
    expect_table("### Features", wanted);
}

TEST(MachineReference, CpuidFields) {
    Lines wanted;
    for (const cpuid_table::Row& row : cpuid_table::rows) {
        if (cpuid_table::is_feature(row)) continue;
        const std::string text = row.mask == cpuid_table::whole ? "all" : hex(row.mask);
        const std::string line = "| " + place(row) + " | " + text + " | " + std::string{row.name} + " |";
        wanted.push_back(line);
    }
    expect_table("### Fields", wanted);
}

// ---- MSRs

std::string words(MsrAccess access) {
    switch (access) {
        case MsrAccess::read: return "read";
        case MsrAccess::write: return "write";
        case MsrAccess::read_write: return "both";
    }
    return {};
}

std::string values(const MsrRow& row) {
    if (row.access == MsrAccess::read) return "";
    switch (row.check) {
        case MsrCheck::canonical: return "canonical addresses";
        case MsrCheck::memory_types: return "eight memory types";
        case MsrCheck::pat_types: return "eight memory types, UC- too";
        case MsrCheck::mtrr_variable: return "by the address width, and a memory type";
        case MsrCheck::mtrr_default: return hex(row.legal) + ", and a memory type";
        case MsrCheck::misc_enable:
            return hex(row.legal) + ", of which " + hex(row.legal & ~msr_table::misc_enable_read_only) + " changes";
        case MsrCheck::bits: break;
    }
    switch (row.home) {
        case MsrHome::apic_base:
        case MsrHome::x2apic: return "as the SDM says";
        case MsrHome::efer: return "what CPUID offers";
        default: return row.legal == msr_table::any ? "any" : hex(row.legal);
    }
}

std::string home(MsrHome home) {
    switch (home) {
        case MsrHome::stored: return "kept";
        case MsrHome::constant: return "constant";
        case MsrHome::apic_base:
        case MsrHome::x2apic:
        case MsrHome::tsc_deadline: return "local APIC";
        case MsrHome::tsc:
        case MsrHome::tsc_adjust: return "TSC offset";
        case MsrHome::efer:
        case MsrHome::vmcs: return "the vCPU's";
        case MsrHome::direct: return "the vCPU's, without an exit";
        case MsrHome::checked: return "the vCPU's, read without an exit";
        case MsrHome::command: return "done on the processor";
    }
    return {};
}

std::string needs(MsrShown shown) {
    switch (shown) {
        case MsrShown::always: return "";
        case MsrShown::apic: return "`APIC`";
        case MsrShown::x2apic: return "`x2APIC`";
        case MsrShown::tsc_deadline: return "`TSC_DEADLINE`";
        case MsrShown::tsc_adjust: return "`TSC_ADJUST`";
        case MsrShown::sep: return "`SEP`";
        case MsrShown::mtrr: return "`MTRR`";
        case MsrShown::pat: return "`PAT`";
        case MsrShown::mca: return "`MCA`";
        case MsrShown::spec_ctrl: return "`IBRS`, `STIBP` or `SSBD`";
        case MsrShown::ibpb: return "`IBRS`";
        case MsrShown::l1d_flush: return "`L1D_FLUSH`";
        case MsrShown::arch_capabilities: return "`ARCH_CAPABILITIES`";
        case MsrShown::xsaves: return "`XSAVES`";
        case MsrShown::long_mode: return "`LM`";
        case MsrShown::rdtscp: return "`RDTSCP`";
        case MsrShown::count: break;
    }
    return "?";
}

TEST(MachineReference, Msrs) {
    Lines wanted;
    for (const MsrRow& row : msr_table::rows) {
        std::string numbers = hex(msr_table::first_of(row));
        if (row.count > 1) numbers += " to " + hex(msr_table::last_of(row));
        std::string line;
        for (const std::string& cell : {numbers, std::string{row.name}, words(row.access), hex(row.reset), values(row),
                                        home(row.home), needs(row.shown)})
            line += cell.empty() ? "| " : "| " + cell + " ";
        wanted.push_back(line + "|");
    }
    expect_table("## MSRs", wanted);
}

// ---- devices

class Nobody final : public SerialPeer, public MachineEvents {
  public:
    bool put(std::uint8_t) override { return true; }
    std::optional<std::uint8_t> get() override { return std::nullopt; }
    void power_off() override {}
    void reset() override {}
    void exit(std::uint64_t) override {}
};

class MachineReferenceDevices : public testing::Test {
  protected:
    Clock clock_{.now = 0, .hz = 1'000'000'000};
    TimerQueue timers_{clock_};
    Nobody nobody_;
    std::unique_ptr<Machine> machine_ = std::make_unique<Machine>(
        MachineConfig{.memory = 64 * mib, .vcpus = 1, .crystal_hz = 1'000'000'000}, timers_, nobody_, nobody_);
};

// The first cell of each row is a place or a range of places.
void expect_places(const std::string& heading, std::vector<std::pair<std::uint64_t, std::uint64_t>> wanted) {
    std::ranges::sort(wanted);
    std::string should, is;
    for (const auto& [first, last] : wanted) should += hex(first) + (last != first ? " to " + hex(last) : "") + "\n";
    for (const std::string& row : table_under(heading)) is += row.substr(2, row.find(" |") - 2) + "\n";
    EXPECT_EQ(is, should);
}

TEST_F(MachineReferenceDevices, Ports) {
    std::vector<std::pair<std::uint64_t, std::uint64_t>> places;
    for (const PortBus::Range& range : machine_->ports().ranges()) places.emplace_back(range.first, range.last);
    expect_places("### Ports", places);
}

// What a guest with drives has beside that.
TEST_F(MachineReferenceDevices, PortsOfDrives) {
    class Nothing final : public BlockStore {
      public:
        std::uint64_t size() const override { return 0; }
        std::expected<void, BlockError> read(std::uint64_t, std::span<std::byte>) override { return {}; }
        std::expected<void, BlockError> write(std::uint64_t, std::span<const std::byte>) override { return {}; }
    } store;
    const Drive drives[] = {{DriveKind::disk, &store}};
    const auto with_drives = std::make_unique<Machine>(
        MachineConfig{.memory = 64 * mib, .vcpus = 1, .crystal_hz = 1'000'000'000, .drives = drives}, timers_, nobody_,
        nobody_);
    std::vector<std::pair<std::uint64_t, std::uint64_t>> places;
    for (const PortBus::Range& range : with_drives->ports().ranges().subspan(machine_->ports().ranges().size()))
        places.emplace_back(range.first, range.last);
    expect_places("A guest with `disk` or `cdrom` has these too:", places);
}

TEST_F(MachineReferenceDevices, MemoryMappedRegisters) {
    std::vector<std::pair<std::uint64_t, std::uint64_t>> places;
    for (const MmioBus::Range& range : machine_->mmio().ranges())
        places.emplace_back(range.first.value, range.first.value + range.size - 1);
    expect_places("### Memory-mapped registers", places);
}

}  // namespace
}  // namespace bulkhead::guest
