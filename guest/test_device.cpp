// SPDX-License-Identifier: Apache-2.0
#include "guest/test_device.hpp"

#include <algorithm>
#include <cstring>

namespace bulkhead::guest {

// The lines can only be written.
std::uint32_t TestDevice::in(std::uint16_t port, unsigned size) {
    return bytewise_in(port, size, [this](std::uint16_t p) {
        return p >= loop_first && p <= loop_last ? loop_[p - loop_first] : std::uint8_t{0xff};
    });
}

void TestDevice::out(std::uint16_t port, unsigned size, std::uint32_t value) {
    bytewise_out(port, size, value, [this](std::uint16_t p, std::uint8_t v) {
        if (p >= loop_first && p <= loop_last) loop_[p - loop_first] = v;
        if (p >= line_first && p <= line_last) lines_[p - line_first].set(v != 0);
    });
}

// An access that reaches past the end finds nobody there.
std::uint64_t TestDevice::read(std::uint64_t offset, unsigned size) {
    std::uint64_t value = ~0ull;
    if (offset < ram_.size()) std::memcpy(&value, &ram_[offset], std::min<std::size_t>(size, ram_.size() - offset));
    return value;
}

void TestDevice::write(std::uint64_t offset, unsigned size, std::uint64_t value) {
    if (offset < ram_.size()) std::memcpy(&ram_[offset], &value, std::min<std::size_t>(size, ram_.size() - offset));
}

}  // namespace bulkhead::guest
