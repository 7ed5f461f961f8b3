// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <compare>
#include <cstdint>

namespace bulkhead {

// An address in one of the address spaces of the machine. Two spaces never mix without a cast that says so.
template <class Space>
struct Address {
    std::uint64_t value{};

    constexpr Address() = default;
    constexpr explicit Address(std::uint64_t v) : value(v) {}

    constexpr auto operator<=>(const Address&) const = default;
    constexpr Address operator+(std::uint64_t bytes) const { return Address{value + bytes}; }
    constexpr Address operator-(std::uint64_t bytes) const { return Address{value - bytes}; }
    constexpr std::uint64_t operator-(Address other) const { return value - other.value; }
    constexpr Address& operator+=(std::uint64_t bytes) {
        value += bytes;
        return *this;
    }
    // `alignment` is a power of two.
    constexpr Address align_down(std::uint64_t alignment) const { return Address{value & ~(alignment - 1)}; }
    constexpr Address align_up(std::uint64_t alignment) const {
        return Address{(value + alignment - 1) & ~(alignment - 1)};
    }
    constexpr bool is_aligned(std::uint64_t alignment) const { return (value & (alignment - 1)) == 0; }
    constexpr std::uint64_t offset_in(std::uint64_t alignment) const { return value & (alignment - 1); }
};

using HostPhys = Address<struct HostPhysSpace>;
using HostVirt = Address<struct HostVirtSpace>;
using GuestPhys = Address<struct GuestPhysSpace>;
// A guest linear address (after segmentation, before paging).
using GuestVirt = Address<struct GuestVirtSpace>;

inline constexpr std::uint64_t kib = 1024;
inline constexpr std::uint64_t mib = 1024 * kib;
inline constexpr std::uint64_t gib = 1024 * mib;
inline constexpr std::uint64_t page_size = 4 * kib;
inline constexpr std::uint64_t large_page_size = 2 * mib;

}  // namespace bulkhead
