// SPDX-License-Identifier: Apache-2.0
// Against Documentation/arch/x86/boot.rst and zero-page.rst of Linux; the offsets are written out here on purpose.
#include "guest/loader_linux.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <string>

#include "arch/isa/msr.hpp"
#include "tests/unit/bzimage_fixture.hpp"
#include "tests/unit/fake_memory.hpp"

namespace {

using namespace bulkhead;
using namespace bulkhead::guest;
namespace ar = isa::access_rights;

std::vector<E820Entry> memory_map(std::uint64_t size) {
    return {{GuestPhys{0}, 0x9fc00, E820Type::usable},
            {GuestPhys{0x9fc00}, 0x400, E820Type::reserved},
            {GuestPhys{mib}, size - mib, E820Type::usable}};
}

class LoaderLinux : public testing::Test {
  protected:
    explicit LoaderLinux() { resize(32 * mib); }
    void resize(std::uint64_t size) {
        memory = std::make_unique<FakeMemory>(size);
        map = memory_map(size);
    }
    std::expected<InitialState, LoadError> load() {
        return load_linux({kernel, initrd, cmdline, map, GuestPhys{0xf0000}}, *memory);
    }
    void expect_refusal(std::string_view text) {
        const auto state = load();
        ASSERT_FALSE(state);
        EXPECT_EQ(state.error().message(), text);
    }
    template <class T>
    T param(const InitialState& state, std::uint64_t offset) {
        return memory->at<T>(state.gpr[isa::Gpr::RSI] + offset);
    }

    Image kernel = bzimage(), initrd;
    std::string_view cmdline = "console=ttyS0";
    std::vector<E820Entry> map;
    std::unique_ptr<FakeMemory> memory;
};

TEST_F(LoaderLinux, LoadsAtThePreferredAddress) {
    const auto state = load();
    ASSERT_TRUE(state) << state.error().message();
    EXPECT_EQ(state->rip, 16 * mib + 0x200);
    EXPECT_EQ(memory->at<std::uint32_t>(16 * mib + 0x1234), 0x1234u);
    EXPECT_EQ(memory->at<std::uint32_t>(16 * mib + payload_size - 4), payload_size - 4);
}

TEST_F(LoaderLinux, EntryState) {
    const auto state = load();
    ASSERT_TRUE(state);
    EXPECT_EQ(state->rflags, isa::rflags::FIXED);
    EXPECT_EQ(state->cr0 & (isa::cr0::PE | isa::cr0::PG), isa::cr0::PE | isa::cr0::PG);
    EXPECT_EQ(state->cr4, isa::cr4::PAE);
    EXPECT_EQ(state->efer, isa::efer::LMA | isa::efer::LME);
    const auto at = [&](isa::Segment s) { return state->segments[static_cast<std::size_t>(s)]; };
    EXPECT_EQ(at(isa::Segment::CS).selector, 0x10);
    EXPECT_EQ(at(isa::Segment::CS).rights, ar::P | ar::S | ar::G | ar::L | 0xb);
    for (const auto s : {isa::Segment::DS, isa::Segment::ES, isa::Segment::SS}) {
        EXPECT_EQ(at(s).selector, 0x18);
        EXPECT_EQ(at(s).rights, ar::P | ar::S | ar::G | ar::DB | 3);
    }
    // The descriptors behind the selectors: 64-bit code, execute and read; data, read and write.
    EXPECT_GE(state->gdtr_limit, 0x1f);
    EXPECT_EQ(memory->at<std::uint64_t>(state->gdtr_base + 0x10) >> 40 & 0xf09f, 0xa09bu);
    EXPECT_EQ(memory->at<std::uint64_t>(state->gdtr_base + 0x18) >> 40 & 0xf09f, 0xc093u);
}

TEST_F(LoaderLinux, TheFirst4GiBAreMappedToThemselves) {
    const auto state = load();
    ASSERT_TRUE(state);
    for (const std::uint64_t address :
         {0x0ull, 0x11000ull, 0x1000200ull, 0x7fffffffull, 0xfee00000ull, 0xffffffffull}) {
        std::uint64_t table = state->cr3;
        std::uint64_t entry = 0;
        for (const unsigned shift : {39, 30, 21}) {
            entry = memory->at<std::uint64_t>(table + ((address >> shift) & 511) * 8);
            ASSERT_EQ(entry & 3, 3u) << address;
            table = entry & 0x000ffffffffff000;
        }
        EXPECT_TRUE(entry & 0x80);
        EXPECT_EQ((entry & ~0x1fffffull) | (address & 0x1fffff), address);
    }
}

TEST_F(LoaderLinux, BootParameters) {
    for (std::uint64_t at = 0; at < mib; at += 8) memory->set(at, ~0ull);  // nothing may be taken for granted
    const auto state = load();
    ASSERT_TRUE(state);
    EXPECT_EQ(param<std::uint64_t>(*state, 0x70), 0xf0000u);
    EXPECT_EQ(param<std::uint8_t>(*state, 0x1ef), 0) << "sentinel";
    EXPECT_EQ(param<std::uint32_t>(*state, 0x202), 0x53726448u);
    EXPECT_EQ(param<std::uint8_t>(*state, 0x210), 0xff);
    EXPECT_EQ(param<std::uint32_t>(*state, 0x268), 0xdeadbeefu) << "the header is copied to its own end";
    EXPECT_EQ(param<std::uint32_t>(*state, 0x26c), 0u) << "and no further";
    EXPECT_EQ(param<std::uint64_t>(*state, 0x0c0), 0u) << "ext_ramdisk_image and size";
    EXPECT_EQ(param<std::uint32_t>(*state, 0x0c8), 0u) << "ext_cmd_line_ptr";
    EXPECT_EQ(param<std::uint32_t>(*state, 0x21c), 0u) << "no initrd";
    EXPECT_EQ(param<std::uint64_t>(*state, 0x250), 0u) << "setup_data";
}

TEST_F(LoaderLinux, CommandLineEndsInZero) {
    const auto state = load();
    ASSERT_TRUE(state);
    const auto at = param<std::uint32_t>(*state, 0x228);
    std::string text;
    for (std::uint64_t i = 0; memory->at<char>(at + i); ++i) text += memory->at<char>(at + i);
    EXPECT_EQ(text, cmdline);
}

TEST_F(LoaderLinux, MemoryMapGoesIntoBootParameters) {
    const auto state = load();
    ASSERT_TRUE(state);
    ASSERT_EQ(param<std::uint8_t>(*state, 0x1e8), 3);
    EXPECT_EQ(param<std::uint64_t>(*state, 0x2d0), 0u);
    EXPECT_EQ(param<std::uint64_t>(*state, 0x2d0 + 8), 0x9fc00u);
    EXPECT_EQ(param<std::uint32_t>(*state, 0x2d0 + 16), 1u);
    EXPECT_EQ(param<std::uint32_t>(*state, 0x2d0 + 20 + 16), 2u);
    EXPECT_EQ(param<std::uint64_t>(*state, 0x2d0 + 40), mib);
}

TEST_F(LoaderLinux, InitrdGoesHighAndNotOverTheKernel) {
    initrd = Image(5 * mib + 123, std::byte{0xab});
    const auto state = load();
    ASSERT_TRUE(state) << state.error().message();
    const auto at = param<std::uint32_t>(*state, 0x218);
    EXPECT_EQ(param<std::uint32_t>(*state, 0x21c), initrd.size());
    EXPECT_EQ(at, (32 * mib - initrd.size()) & ~0xfffull);
    EXPECT_EQ(memory->at<std::byte>(at + initrd.size() - 1), std::byte{0xab});

    put<std::uint32_t>(kernel, 0x22c, 0x17fffff);  // initrd_addr_max: right behind the kernel there is no room
    const auto below = load();
    ASSERT_TRUE(below) << below.error().message();
    EXPECT_LE(param<std::uint32_t>(*below, 0x218) + initrd.size(), 16 * mib);
}

TEST_F(LoaderLinux, ARelocatableKernelMovesWhereMemoryIsSmall) {
    resize(9 * mib);
    const auto state = load();
    ASSERT_TRUE(state) << state.error().message();
    EXPECT_EQ(state->rip, 2 * mib + 0x200);
    EXPECT_EQ(param<std::uint32_t>(*state, 0x214), 2 * mib);
}

TEST_F(LoaderLinux, NotEnoughMemory) {
    resize(7 * mib);
    expect_refusal("not enough memory: the kernel needs 6144 KiB and the largest usable range has 6144 KiB");
    put<std::uint8_t>(kernel, 0x234, 0);
    resize(20 * mib);
    expect_refusal("not enough memory: the kernel needs 6144 KiB at its fixed address and the largest usable range has "
                   "19456 KiB");
}

TEST_F(LoaderLinux, InitrdThatDoesNotFit) {
    initrd = Image(20 * mib);
    expect_refusal("not enough memory: the initrd of 20480 KiB does not fit beside the kernel's 6144 KiB below "
                   "0x7fffffff");
}

TEST_F(LoaderLinux, CommandLineTooLong) {
    const std::string longest(2047, 'x');
    cmdline = longest;
    EXPECT_TRUE(load());
    const std::string longer(2048, 'x');
    cmdline = longer;
    expect_refusal("the command line has 2048 characters, and the kernel takes 2047");
}

TEST_F(LoaderLinux, Truncated) {
    kernel.resize(kernel.size() - 15);
    EXPECT_TRUE(load()) << "syssize counts whole paragraphs";
    kernel.pop_back();
    expect_refusal("the kernel is truncated: 17904 bytes instead of 17920");
    kernel.resize(0x200);
    expect_refusal("the kernel is truncated: 512 bytes are less than the header of a bzImage");
    kernel.clear();
    EXPECT_FALSE(load());
}

TEST_F(LoaderLinux, WrongKinds) {
    put<std::uint16_t>(kernel, 0x206, 0x209);
    expect_refusal("the kernel has boot protocol 2.9: 2.10 or newer is needed (Linux 2.6.31)");
    kernel = bzimage();
    put<std::uint8_t>(kernel, 0x211, 0);
    expect_refusal("the kernel is a zImage, which loads below 1 MiB: a bzImage is needed");
    kernel = bzimage();
    put<std::uint32_t>(kernel, 0x202, 0);
    expect_refusal("the kernel is not a Linux bzImage");
    kernel.assign(1 * mib, std::byte{0x7f});
    expect_refusal("the kernel is not a Linux bzImage");
}

// boot.rst, "32-bit boot protocol": protected mode without paging, entered at the load address.
TEST_F(LoaderLinux, AKernelWithout64BitEntryPointIsEnteredInProtectedMode) {
    put<std::uint16_t>(kernel, 0x236, 0x7e);
    const auto state = load();
    ASSERT_TRUE(state) << state.error().message();
    EXPECT_EQ(state->rip, 16 * mib);
    EXPECT_EQ(state->cr0 & (isa::cr0::PE | isa::cr0::PG), isa::cr0::PE);
    EXPECT_EQ(state->cr4 | state->efer | state->cr3, 0u);
    EXPECT_EQ(state->rflags, isa::rflags::FIXED);
    EXPECT_EQ(param<std::uint32_t>(*state, 0x202), 0x53726448u) << "ESI points to boot_params";
    for (const isa::Gpr r : {isa::Gpr::RBP, isa::Gpr::RDI, isa::Gpr::RBX}) EXPECT_EQ(state->gpr[r], 0u);
    const auto at = [&](isa::Segment s) { return state->segments[static_cast<std::size_t>(s)]; };
    EXPECT_EQ(at(isa::Segment::CS).selector, 0x10);
    EXPECT_EQ(at(isa::Segment::CS).rights, ar::P | ar::S | ar::G | ar::DB | 0xb);
    EXPECT_EQ(at(isa::Segment::DS).selector, 0x18);
    EXPECT_EQ(memory->at<std::uint64_t>(state->gdtr_base + 0x10), 0x00cf9b000000ffffu);
    EXPECT_EQ(memory->at<std::uint64_t>(state->gdtr_base + 0x18), 0x00cf93000000ffffu);
}

TEST_F(LoaderLinux, Protocol210HasNoFlagsOf64BitEntry) {
    put<std::uint16_t>(kernel, 0x206, 0x20a);
    put<std::uint16_t>(kernel, 0x200, 0x62eb);  // the header ends at 264h
    const auto state = load();
    ASSERT_TRUE(state) << state.error().message();
    EXPECT_EQ(state->cr0 & isa::cr0::PG, 0u);
    EXPECT_EQ(param<std::uint32_t>(*state, 0x264), 0u);
}

// Any damage to the header is either harmless or refused: nothing is read or written outside.
TEST_F(LoaderLinux, DamagedHeaders) {
    resize(24 * mib);
    for (std::size_t at = 0x1f1; at < 0x268; ++at)
        for (const unsigned value : {0x00u, 0x01u, 0x7fu, 0x80u, 0xffu}) {
            kernel = bzimage();
            kernel[at] = static_cast<std::byte>(value);
            const auto state = load();
            EXPECT_TRUE(state || !state.error().message().empty());
        }
}

TEST_F(LoaderLinux, AMapThatPromisesTooMuch) {
    map = memory_map(64 * mib);
    initrd = Image(mib);
    expect_refusal("the memory map names memory that the guest does not have");
    map.clear();
    EXPECT_FALSE(load());
}

}  // namespace
