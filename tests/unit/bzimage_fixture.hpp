// SPDX-License-Identifier: Apache-2.0
// Makes a Linux kernel for the loader's tests, by the offsets of Documentation/arch/x86/boot.rst.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "lib/address.hpp"

namespace {

using Image = std::vector<std::byte>;

template <class T>
void put(Image& image, std::size_t offset, T value) {
    std::memcpy(image.data() + offset, &value, sizeof value);
}

constexpr std::size_t setup_size = 3 * 512, payload_size = 0x4000;
constexpr std::uint32_t init_size = 6 * bulkhead::mib;

// A bzImage of protocol 2.15 with two setup sectors; its payload is numbered.
inline Image bzimage() {
    Image image(setup_size + payload_size);
    for (std::size_t i = 0; i < payload_size; i += 4) put(image, setup_size + i, static_cast<std::uint32_t>(i));
    put<std::uint8_t>(image, 0x1f1, 2);
    put<std::uint32_t>(image, 0x1f4, payload_size / 16);
    put<std::uint16_t>(image, 0x1fe, 0xaa55);
    put<std::uint16_t>(image, 0x200, 0x6aeb);  // JMP over the header, which ends at 26Ch
    put<std::uint32_t>(image, 0x202, 0x53726448);
    put<std::uint16_t>(image, 0x206, 0x20f);
    put<std::uint8_t>(image, 0x211, 1);
    put<std::uint32_t>(image, 0x22c, 0x7fffffff);
    put<std::uint32_t>(image, 0x230, 0x200000);
    put<std::uint8_t>(image, 0x234, 1);
    put<std::uint16_t>(image, 0x236, 0x7f);
    put<std::uint32_t>(image, 0x238, 2047);
    put<std::uint64_t>(image, 0x258, 16 * bulkhead::mib);
    put<std::uint32_t>(image, 0x260, init_size);
    put<std::uint32_t>(image, 0x268, 0xdeadbeef);  // a field of a later protocol
    return image;
}

}  // namespace
