// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

// The hypervisor's own, under other names beside the C library's.
#define memcpy bulkhead_memcpy
#define memmove bulkhead_memmove
#define memset bulkhead_memset
#define memcmp bulkhead_memcmp
#define memchr bulkhead_memchr
#define strlen bulkhead_strlen
#include "lib/memory.cpp"
#undef memcpy
#undef memmove
#undef memset
#undef memcmp
#undef memchr
#undef strlen

namespace {

constexpr std::size_t room = 48;
using Buffer = std::array<unsigned char, room>;

Buffer pattern() {
    Buffer b;
    for (std::size_t i = 0; i < room; ++i) b[i] = static_cast<unsigned char>(i + 1);
    return b;
}

TEST(MemoryFunctions, MoveBetweenAllOffsetsAndSizes) {
    for (std::size_t from = 0; from < room; ++from)
        for (std::size_t to = 0; to < room; ++to)
            for (std::size_t size = 0; size <= room - std::max(from, to); ++size) {
                Buffer ours = pattern(), expected = pattern();
                std::memmove(expected.data() + to, expected.data() + from, size);
                ASSERT_EQ(bulkhead_memmove(ours.data() + to, ours.data() + from, size), ours.data() + to);
                ASSERT_EQ(ours, expected) << from << " to " << to << ", " << size;
            }
}

TEST(MemoryFunctions, CopyAndSetAllOffsetsAndSizes) {
    for (std::size_t at = 0; at < room; ++at)
        for (std::size_t size = 0; size <= room - at; ++size) {
            const Buffer source = pattern();
            Buffer ours{}, expected{};
            std::memcpy(expected.data() + at, source.data(), size);
            ASSERT_EQ(bulkhead_memcpy(ours.data() + at, source.data(), size), ours.data() + at);
            ASSERT_EQ(ours, expected) << at << ", " << size;
            std::memset(expected.data() + at, 0x1fa, size);  // only the low byte counts
            ASSERT_EQ(bulkhead_memset(ours.data() + at, 0x1fa, size), ours.data() + at);
            ASSERT_EQ(ours, expected) << at << ", " << size;
        }
}

TEST(MemoryFunctions, CompareAsUnsigned) {
    const unsigned char low[] = {1, 2, 3}, high[] = {1, 0x80, 3};
    EXPECT_LT(bulkhead_memcmp(low, high, 3), 0);
    EXPECT_GT(bulkhead_memcmp(high, low, 3), 0);
    EXPECT_EQ(bulkhead_memcmp(low, high, 1), 0);
    EXPECT_EQ(bulkhead_memcmp(low, high, 0), 0);
}

TEST(MemoryFunctions, Find) {
    const char text[] = "abcab";
    EXPECT_EQ(bulkhead_memchr(text, 'c', 5), text + 2);
    EXPECT_EQ(bulkhead_memchr(text, 'b' + 0x100, 5), text + 1);
    EXPECT_EQ(bulkhead_memchr(text, 'c', 2), nullptr);
    EXPECT_EQ(bulkhead_strlen(text), 5u);
    EXPECT_EQ(bulkhead_strlen(""), 0u);
}

}  // namespace
