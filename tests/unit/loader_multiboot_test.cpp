// SPDX-License-Identifier: Apache-2.0
// Against the Multiboot Specification 0.6.96; the offsets are written out here on purpose.
#include "guest/loader_multiboot.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "tests/unit/elf_fixture.hpp"
#include "tests/unit/fake_memory.hpp"

namespace {

using namespace bulkhead;
using namespace bulkhead::guest;
namespace ar = isa::access_rights;

class LoaderMultiboot : public testing::Test {
  protected:
    LoaderMultiboot() { resize(16 * mib); }
    void resize(std::uint64_t size) {
        memory = std::make_unique<FakeMemory>(size);
        map = pc_map(size);
    }
    std::expected<InitialState, LoadError> load() { return load_multiboot({kernel, cmdline, modules, map}, *memory); }
    void expect_refusal(std::string_view text) {
        const auto state = load();
        ASSERT_FALSE(state);
        EXPECT_EQ(state.error().message(), text);
    }
    template <class T = std::uint32_t>
    T info(const InitialState& state, std::uint64_t offset) {
        return memory->at<T>(state.gpr[isa::Gpr::RBX] + offset);
    }
    std::string text(std::uint64_t at) {
        std::string text;
        for (; memory->at<char>(at); ++at) text += memory->at<char>(at);
        return text;
    }

    Image kernel = elf_kernel();
    std::string_view cmdline = "one two";
    std::vector<BootModule> modules;
    std::vector<E820Entry> map;
    std::unique_ptr<FakeMemory> memory;
};

TEST_F(LoaderMultiboot, MachineStateAtTheEntry) {
    const auto state = load();
    ASSERT_TRUE(state) << state.error().message();
    EXPECT_EQ(state->rip, 0x100020u);
    EXPECT_EQ(state->gpr[isa::Gpr::RAX], 0x2badb002u);
    EXPECT_EQ(state->cr0 & (isa::cr0::PE | isa::cr0::PG), isa::cr0::PE);
    EXPECT_EQ(state->efer | state->cr4 | state->cr3, 0u);
    EXPECT_EQ(state->rflags & (isa::rflags::IF | isa::rflags::VM), 0u);
    for (std::size_t s = 0; s < 6; ++s) {
        EXPECT_EQ(state->segments[s].base, 0u);
        EXPECT_EQ(state->segments[s].limit, 0xffffffffu);
        EXPECT_TRUE(state->segments[s].rights & ar::DB);
    }
    // The descriptors behind the selectors: 32-bit code and data.
    const auto cs = state->segments[static_cast<std::size_t>(isa::Segment::CS)].selector;
    EXPECT_EQ(memory->at<std::uint64_t>(state->gdtr_base + cs), 0x00cf9b000000ffffu);
    const auto ds = state->segments[static_cast<std::size_t>(isa::Segment::DS)].selector;
    EXPECT_EQ(memory->at<std::uint64_t>(state->gdtr_base + ds), 0x00cf93000000ffffu);
}

TEST_F(LoaderMultiboot, ElfSegmentsAndTheirBss) {
    for (std::uint64_t at = 0x100000; at < 0x104000; at += 8) memory->set(at, ~0ull);
    ASSERT_TRUE(load());
    EXPECT_EQ(memory->at<std::uint32_t>(0x100000), 0x1badb002u);
    EXPECT_EQ(memory->at<std::byte>(0x100fff), numbered(0x1000)[0xfff]);
    EXPECT_EQ(memory->at<std::uint64_t>(0x101000), 0u);
    EXPECT_EQ(memory->at<std::uint64_t>(0x102ff8), 0u);
    EXPECT_EQ(memory->at<std::uint64_t>(0x103000), ~0ull);
}

TEST_F(LoaderMultiboot, AnEntryPointInVirtualMemoryIsMeantPhysically) {
    Image data = numbered(0x1000);
    put_header(data, 0, 0);
    kernel = make_elf(false, 0xc0200010, {{1, 0xc0200000, 0x200000, data, 0}});
    EXPECT_EQ(load()->rip, 0x200010u);
    kernel = make_elf(false, 0x200010, {{1, 0xc0200000, 0x200000, data, 0}});
    EXPECT_EQ(load()->rip, 0x200010u) << "or is physical already";
    kernel = make_elf(false, 0x300000, {{1, 0xc0200000, 0x200000, data, 0}});
    expect_refusal("the kernel's entry point 300000 is in none of its segments below 4 GiB");
}

TEST_F(LoaderMultiboot, A64BitFileIsEnteredIn32BitModeToo) {
    kernel = elf_kernel(3, true);
    EXPECT_EQ(load()->rip, 0x100020u);
}

TEST_F(LoaderMultiboot, Information) {
    const auto state = load();
    ASSERT_TRUE(state);
    EXPECT_EQ(info(*state, 0), 0x245u) << "memory, command line, memory map, loader's name";
    EXPECT_EQ(info(*state, 4), 639u);
    EXPECT_EQ(info(*state, 8), 15u * 1024);
    EXPECT_EQ(text(info(*state, 16)), "one two");
    EXPECT_EQ(text(info(*state, 64)), "Bulkhead");
    EXPECT_LT(state->gpr[isa::Gpr::RBX] + 88, 0x9fc00u) << "in base memory";
}

TEST_F(LoaderMultiboot, MemoryMap) {
    const auto state = load();
    const std::uint32_t length = info(*state, 44), at = info(*state, 48);
    ASSERT_EQ(length, 4u * 24);
    for (std::size_t i = 0; i < 4; ++i) {
        const std::uint64_t entry = at + i * 24;
        EXPECT_EQ(memory->at<std::uint32_t>(entry), 20u);
        EXPECT_EQ(memory->at<std::uint64_t>(entry + 4), map[i].first.value);
        EXPECT_EQ(memory->at<std::uint64_t>(entry + 12), map[i].size);
        EXPECT_EQ(memory->at<std::uint32_t>(entry + 20), static_cast<std::uint32_t>(map[i].type));
    }
}

TEST_F(LoaderMultiboot, ModulesFollowTheKernelAtPages) {
    const Image first = numbered(0x1801), second = numbered(3);
    modules = {{first, "first -v"}, {second, ""}};
    const auto state = load();
    ASSERT_TRUE(state) << state.error().message();
    EXPECT_TRUE(info(*state, 0) & 8);
    ASSERT_EQ(info(*state, 20), 2u);
    const std::uint32_t list = info(*state, 24);
    EXPECT_EQ(memory->at<std::uint32_t>(list), 0x103000u);
    EXPECT_EQ(memory->at<std::uint32_t>(list + 4), 0x104801u);
    EXPECT_EQ(text(memory->at<std::uint32_t>(list + 8)), "first -v");
    EXPECT_EQ(memory->at<std::byte>(0x104800), first[0x1800]);
    EXPECT_EQ(memory->at<std::uint32_t>(list + 16), 0x105000u);
    EXPECT_EQ(memory->at<std::uint32_t>(list + 20), 0x105003u);
    EXPECT_EQ(text(memory->at<std::uint32_t>(list + 24)), "");
}

TEST_F(LoaderMultiboot, TheInformationKeepsOffAKernelInBaseMemory) {
    Image data = numbered(0x1000);
    put_header(data, 0, 0);
    kernel = make_elf(false, 0x90000, {{1, 0x90000, 0x90000, data, 0x9fc00 - 0x90000}});
    auto state = load();
    ASSERT_TRUE(state) << state.error().message();
    EXPECT_LE(state->gpr[isa::Gpr::RBX], 0x8f000u);
    kernel = make_elf(false, 0x1000, {{1, 0x1000, 0x1000, data, 0x9fc00 - 0x1000}});
    state = load();
    ASSERT_TRUE(state) << state.error().message();
    EXPECT_GE(state->gpr[isa::Gpr::RBX], 0x100000u);
}

TEST_F(LoaderMultiboot, AddressesInTheHeader) {
    kernel = addressed_kernel(0x201000, 0x204000);
    for (std::uint64_t at = 0x200000; at < 0x205000; at += 8) memory->set(at, ~0ull);
    const auto state = load();
    ASSERT_TRUE(state) << state.error().message();
    EXPECT_EQ(state->rip, 0x200100u);
    EXPECT_EQ(memory->at<std::byte>(0x200000), kernel[0]);
    EXPECT_EQ(memory->at<std::byte>(0x200fff), kernel[0xfff]);
    EXPECT_EQ(memory->at<std::uint64_t>(0x201000), 0u) << "bss";
    EXPECT_EQ(memory->at<std::uint64_t>(0x204000), ~0ull);
}

TEST_F(LoaderMultiboot, ZeroAddressesMeanTheWholeFileAndNoBss) {
    kernel = addressed_kernel(0, 0);
    memory->set(0x202000, ~0ull);
    ASSERT_TRUE(load());
    EXPECT_EQ(memory->at<std::byte>(0x201fff), kernel[0x1fff]);
    EXPECT_EQ(memory->at<std::uint64_t>(0x202000), ~0ull);
}

TEST_F(LoaderMultiboot, TheTextMayStartBehindTheStartOfTheFile) {
    kernel = addressed_kernel(0, 0);
    put<std::uint32_t>(kernel, 0x4c + 4, 0x200020);  // load_addr
    ASSERT_TRUE(load());
    EXPECT_EQ(memory->at<std::byte>(0x200020), kernel[0x20]);
    EXPECT_EQ(memory->at<std::uint8_t>(0x20001f), 0u);
}

TEST_F(LoaderMultiboot, AddressesThatContradictThemselves) {
    const std::string_view contradiction = "the kernel's Multiboot header contradicts itself";
    const std::pair<std::size_t, std::uint32_t> damages[] = {
        {0, 0x1fffff},   // header_addr below load_addr
        {0, 0x200041},   // the text would start before the file
        {8, 0x1fffff},   // load_end_addr below load_addr
        {12, 0x200fff},  // bss_end_addr below load_end_addr
        {16, 0x1fffff},  // entry_addr outside
        {16, 0x204000},
    };
    for (const auto& [at, value] : damages) {
        kernel = addressed_kernel(0x201000, 0x204000);
        put(kernel, 0x4c + at, value);
        expect_refusal(contradiction);
    }
}

TEST_F(LoaderMultiboot, TheHeaderIsFoundInTheFirst8KiBOnly) {
    const auto padded = [](std::size_t at) {
        Image image(at + 12 + 20 + 64);
        put_header(image, at, 0x10000);
        const std::uint32_t addresses[] = {static_cast<std::uint32_t>(0x200000 + at), 0x200000, 0, 0, 0x200000};
        std::memcpy(image.data() + at + 12, addresses, sizeof addresses);
        return image;
    };
    kernel = padded(8192 - 12);
    EXPECT_TRUE(load());
    kernel = padded(8192 - 8);
    expect_refusal("the kernel has no Multiboot header in its first 8192 bytes");
    kernel = padded(42);
    EXPECT_FALSE(load()) << "not on a 4-byte boundary";
    kernel = padded(40);
    put<std::uint32_t>(kernel, 48, 0);
    EXPECT_FALSE(load()) << "wrong checksum";
}

TEST_F(LoaderMultiboot, Truncated) {
    const Image whole = kernel;
    for (const std::size_t size : {whole.size() - 1, std::size_t{0x200}}) {
        kernel = Image(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
        const auto state = load();
        ASSERT_FALSE(state);
        EXPECT_TRUE(state.error().message().starts_with("the kernel is truncated: its segment 0 is 4096 bytes at 54"))
            << state.error().message();
    }
    kernel = addressed_kernel(0x202001, 0x204000);
    expect_refusal("the kernel is truncated: 8192 bytes of 8193 are there");
    kernel.resize(0x4c + 19);
    expect_refusal("the kernel is truncated within its Multiboot header");
    kernel.clear();
    expect_refusal("the kernel has no Multiboot header in its first 0 bytes");
}

TEST_F(LoaderMultiboot, WrongKinds) {
    kernel = Image(0x1000);
    put_header(kernel, 0, 0);
    expect_refusal("the kernel is no ELF file, and its Multiboot header has no addresses (flag 16)");
    kernel = elf_kernel();
    put<std::uint16_t>(kernel, 18, 183);
    expect_refusal("the kernel is for another machine: ELF machine 183 is not x86");
    kernel = elf_kernel();
    put<std::uint16_t>(kernel, 16, 3);
    expect_refusal("the kernel is no executable: its ELF type is 3");
    kernel = elf_kernel();
    put<std::uint16_t>(kernel, 44, 0);
    expect_refusal("the kernel has no ELF segments");
    put<std::uint16_t>(kernel, 44, 41);
    expect_refusal("the kernel has 41 ELF segments, 40 are the most");
}

TEST_F(LoaderMultiboot, WhatTheHeaderAsksForAndCannotHave) {
    kernel = elf_kernel(4);
    expect_refusal("the kernel asks for a video mode, and the guest has no display (Multiboot flag 2)");
    kernel = elf_kernel(8);
    expect_refusal("the kernel asks for something unknown by its Multiboot flags 00000008");
    kernel = elf_kernel(0x80000003);
    EXPECT_TRUE(load()) << "the upper half may be ignored";
}

TEST_F(LoaderMultiboot, NotEnoughMemory) {
    resize(2 * mib);
    const Image big(mib);
    modules = {{big, ""}};
    expect_refusal("not enough memory: module 1 of 1024 KiB does not fit behind the kernel");
    modules.clear();
    kernel = make_elf(false, 0x200000, {{1, 0x200000, 0x200000, elf_kernel(), 0}});
    expect_refusal("not enough memory: no usable range holds the kernel's 5 KiB at 0x200000");
    kernel = addressed_kernel(0, 0);
    expect_refusal("not enough memory: no usable range holds the kernel's 8 KiB at 0x200000");
    kernel = elf_kernel();
    map = pc_map(64 * mib);
    modules = {{big, ""}};
    EXPECT_FALSE(load()) << "the map names memory that is not there";
}

// Any damage is either harmless or refused: nothing is read or written outside.
TEST_F(LoaderMultiboot, DamagedFiles) {
    for (const Image& whole : {elf_kernel(), elf_kernel(3, true), addressed_kernel(0x201000, 0x204000)})
        for (std::size_t at = 0; at < 0x100; ++at)
            for (const unsigned value : {0x00u, 0x01u, 0x7fu, 0x80u, 0xffu}) {
                kernel = whole;
                kernel[at] = static_cast<std::byte>(value);
                const auto state = load();
                EXPECT_TRUE(state || !state.error().message().empty());
            }
}

}  // namespace
