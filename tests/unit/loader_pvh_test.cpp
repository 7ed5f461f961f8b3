// SPDX-License-Identifier: Apache-2.0
// Against Xen's docs/misc/pvh.pandoc and start_info.h; the offsets are written out here on purpose.
#include "guest/loader_pvh.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "tests/unit/elf_fixture.hpp"
#include "tests/unit/fake_memory.hpp"

namespace {

using namespace bulkhead;
using namespace bulkhead::guest;

class LoaderPvh : public testing::TestWithParam<bool> {
  protected:
    std::expected<InitialState, LoadError> load() {
        return load_pvh({kernel, initrd, cmdline, modules, map, GuestPhys{0xf0000}}, memory);
    }
    void expect_refusal(std::string_view text) {
        const auto state = load();
        ASSERT_FALSE(state);
        EXPECT_EQ(state.error().message(), text);
    }
    template <class T>
    T info(const InitialState& state, std::uint64_t offset) {
        return memory.at<T>(state.gpr[isa::Gpr::RBX] + offset);
    }
    std::string text(std::uint64_t at) {
        std::string text;
        for (; memory.at<char>(at); ++at) text += memory.at<char>(at);
        return text;
    }

    Image kernel = pvh_kernel(GetParam()), initrd;
    std::string_view cmdline = "console=ttyS0";
    std::vector<BootModule> modules;
    std::vector<E820Entry> map = pc_map(16 * mib);
    FakeMemory memory{16 * mib};
};

using u32 = std::uint32_t;
using u64 = std::uint64_t;

TEST_P(LoaderPvh, EntersWhereTheNoteSays) {
    const auto state = load();
    ASSERT_TRUE(state) << state.error().message();
    EXPECT_EQ(state->rip, 0x200040u);
    EXPECT_EQ(state->cr0 & (isa::cr0::PE | isa::cr0::PG), isa::cr0::PE);
    EXPECT_EQ(state->cr4 | state->efer, 0u);
    EXPECT_EQ(state->rflags & (isa::rflags::IF | isa::rflags::VM | isa::rflags::TF), 0u);
    for (std::size_t s = 0; s < 6; ++s) {
        EXPECT_EQ(state->segments[s].base, 0u);
        EXPECT_EQ(state->segments[s].limit, 0xffffffffu);
        EXPECT_TRUE(state->segments[s].rights & isa::access_rights::DB);
    }
    EXPECT_EQ(state->segments[static_cast<std::size_t>(isa::Segment::TR)].limit, 0x67u);
    EXPECT_EQ(memory.at<std::byte>(0x200fff), numbered(0x1000)[0xfff]);
}

TEST_P(LoaderPvh, StartInfo) {
    const auto state = load();
    ASSERT_TRUE(state);
    EXPECT_EQ(info<u32>(*state, 0), 0x336ec578u);
    EXPECT_EQ(info<u32>(*state, 4), 1u);
    EXPECT_EQ(info<u32>(*state, 8), 0u);
    EXPECT_EQ(info<u32>(*state, 12), 0u);
    EXPECT_EQ(text(info<u64>(*state, 24)), "console=ttyS0");
    EXPECT_EQ(info<u64>(*state, 32), 0xf0000u);
    ASSERT_EQ(info<u32>(*state, 48), 4u);
    for (std::size_t i = 0; i < 4; ++i) {
        const u64 entry = info<u64>(*state, 40) + i * 24;
        EXPECT_EQ(memory.at<u64>(entry), map[i].first.value);
        EXPECT_EQ(memory.at<u64>(entry + 8), map[i].size);
        EXPECT_EQ(memory.at<u32>(entry + 16), static_cast<u32>(map[i].type));
    }
}

TEST_P(LoaderPvh, TheInitrdIsTheFirstModule) {
    initrd = numbered(0x1001);
    const Image other = numbered(10);
    modules = {{other, "words"}};
    const auto state = load();
    ASSERT_TRUE(state) << state.error().message();
    ASSERT_EQ(info<u32>(*state, 12), 2u);
    const u64 list = info<u64>(*state, 16);
    EXPECT_EQ(memory.at<u64>(list), 0x202000u);
    EXPECT_EQ(memory.at<u64>(list + 8), initrd.size());
    EXPECT_EQ(memory.at<u64>(list + 16), 0u) << "no string";
    EXPECT_EQ(memory.at<std::byte>(0x203000), initrd[0x1000]);
    EXPECT_EQ(memory.at<u64>(list + 32), 0x204000u);
    EXPECT_EQ(text(memory.at<u64>(list + 48)), "words");
}

TEST_P(LoaderPvh, Refusals) {
    kernel = make_elf(GetParam(), 0x200000, {{1, 0x200000, 0x200000, numbered(64), 0}});
    expect_refusal("the kernel has no PVH entry point (ELF note XEN_ELFNOTE_PHYS32_ENTRY)");
    kernel = pvh_kernel(GetParam(), 0x202000);
    expect_refusal("the kernel's PVH entry point 202000 is in none of its segments");
    kernel = numbered(4096);
    expect_refusal("the kernel is not an ELF file");
    kernel = pvh_kernel(GetParam());
    kernel.pop_back();
    EXPECT_FALSE(load());
    kernel.resize(40);
    expect_refusal("the kernel is truncated: 40 bytes are less than an ELF header");
    kernel = pvh_kernel(GetParam());
    map = pc_map(2 * mib);
    expect_refusal("not enough memory: no usable range holds the kernel's 8 KiB at 0x200000");
}

TEST_P(LoaderPvh, DamagedFiles) {
    const Image whole = kernel;
    for (std::size_t at = 0; at < whole.size(); at += at < 0x100 || at + 0x80 > whole.size() ? 1 : 64)
        for (const unsigned value : {0x00u, 0x01u, 0x7fu, 0x80u, 0xffu}) {
            kernel = whole;
            kernel[at] = static_cast<std::byte>(value);
            const auto state = load();
            EXPECT_TRUE(state || !state.error().message().empty());
        }
}

INSTANTIATE_TEST_SUITE_P(Classes, LoaderPvh, testing::Bool(),
                         [](const auto& kind) { return kind.param ? "Elf64" : "Elf32"; });

}  // namespace
