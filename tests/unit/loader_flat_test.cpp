// SPDX-License-Identifier: Apache-2.0
#include "guest/loader_flat.hpp"

#include <gtest/gtest.h>

#include "tests/unit/fake_memory.hpp"

namespace {

using namespace bulkhead;
using namespace bulkhead::guest;
namespace ar = isa::access_rights;

constexpr E820Entry map[] = {{GuestPhys{0}, 0x9fc00, E820Type::usable},
                             {GuestPhys{0xe0000}, 0x20000, E820Type::reserved},
                             {GuestPhys{1 * mib}, 1 * mib, E820Type::usable}};

TEST(LoaderFlat, LoadsAtOneMebibyteInProtectedMode) {
    FakeMemory memory{2 * mib};
    const std::vector<std::byte> image{std::byte{0xf4}, std::byte{0x90}, std::byte{0x55}};
    const auto state = load_flat(image, map, memory);
    ASSERT_TRUE(state);
    for (std::size_t i = 0; i < image.size(); ++i) EXPECT_EQ(memory.at<std::byte>(mib + i), image[i]);
    EXPECT_EQ(state->rip, mib);
    EXPECT_EQ(state->rflags, isa::rflags::FIXED);
    EXPECT_EQ(state->cr0, isa::cr0::PE | isa::cr0::ET);
    EXPECT_EQ(state->cr4 | state->efer | state->cr3, 0u);
    for (const std::uint64_t r : state->gpr.gpr) EXPECT_EQ(r, 0u);
}

TEST(LoaderFlat, SegmentsAreFlat) {
    FakeMemory memory{2 * mib};
    const auto state = load_flat(std::vector<std::byte>(1), map, memory);
    ASSERT_TRUE(state);
    const auto at = [&](isa::Segment s) { return state->segments[static_cast<std::size_t>(s)]; };
    using enum isa::Segment;
    for (const isa::Segment s : {CS, DS, ES, SS, FS, GS}) {
        EXPECT_EQ(at(s).base, 0u);
        EXPECT_EQ(at(s).limit, 0xffffffffu);
        constexpr std::uint32_t wanted = ar::P | ar::S | ar::G | ar::DB;
        EXPECT_EQ(at(s).rights & (wanted | ar::L | ar::unusable), wanted);
        EXPECT_EQ(at(s).rights & ar::type, s == CS ? 0xbu : 3u);
    }
    // What VM entry checks (SDM volume 3, 26.3.1.2).
    EXPECT_EQ(at(TR).rights, ar::P | 0xb);
    EXPECT_TRUE(at(LDTR).rights & ar::unusable);
}

TEST(LoaderFlat, AnImageThatExactlyFits) {
    FakeMemory memory{2 * mib};
    EXPECT_TRUE(load_flat(std::vector<std::byte>(mib), map, memory));
    const auto state = load_flat(std::vector<std::byte>(mib + 1), map, memory);
    ASSERT_FALSE(state);
    EXPECT_EQ(state.error().message(),
              "not enough memory: the flat image has 1048577 bytes, and the guest has 1048576 from 1 MiB on");
}

TEST(LoaderFlat, Refusals) {
    FakeMemory memory{2 * mib};
    const auto empty = load_flat({}, map, memory);
    ASSERT_FALSE(empty);
    EXPECT_EQ(empty.error().message(), "the flat image is empty");
    EXPECT_FALSE(load_flat(std::vector<std::byte>(1), std::span{map}.first(2), memory));
    FakeMemory small{1 * mib};
    EXPECT_FALSE(load_flat(std::vector<std::byte>(1), map, small));
}

}  // namespace
