// SPDX-License-Identifier: Apache-2.0
#include "guest/emulate/bus.hpp"

#include <algorithm>
#include <cstring>

namespace bulkhead::guest::emulator {

namespace {

// The largest power of two up to 8 that fits in what is left and is aligned at `address`.
unsigned piece(GuestPhys address, std::size_t left) {
    unsigned size = 8;
    while (size > left || !address.is_aligned(size)) size /= 2;
    return size;
}

}  // namespace

bool MachineBus::read(GuestPhys from, std::span<std::byte> to) {
    if (!mmio_.claimed(from)) {
        if (!memory_.read(from, to)) std::ranges::fill(to, std::byte{0xff});
        return true;
    }
    while (!to.empty()) {
        const unsigned size = piece(from, to.size());
        const std::uint64_t value = mmio_.read(from, size);
        std::memcpy(to.data(), &value, size);
        to = to.subspan(size);
        from += size;
    }
    return true;
}

bool MachineBus::write(GuestPhys to, std::span<const std::byte> from) {
    if (!mmio_.claimed(to)) {
        (void)memory_.write(to, from);
        return true;
    }
    while (!from.empty()) {
        const unsigned size = piece(to, from.size());
        std::uint64_t value = 0;
        std::memcpy(&value, from.data(), size);
        mmio_.write(to, size, value);
        from = from.subspan(size);
        to += size;
    }
    return true;
}

}  // namespace bulkhead::guest::emulator
