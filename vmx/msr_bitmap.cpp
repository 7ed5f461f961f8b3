// SPDX-License-Identifier: Apache-2.0
#include "vmx/msr_bitmap.hpp"

#include <optional>

namespace bulkhead::vmx {

namespace {

// Four bitmaps of 1 KiB: reads of low and of high MSRs, writes of low and of high MSRs (SDM 24.6.9).
constexpr unsigned quarter_bits = 8 * 1024;
constexpr unsigned write_offset = 2 * quarter_bits;

std::optional<unsigned> read_bit(isa::Msr msr) {
    const auto number = static_cast<std::uint32_t>(msr);
    if (number < quarter_bits) return number;
    if (number >= 0xc000'0000 && number < 0xc000'0000 + quarter_bits) return quarter_bits + (number - 0xc000'0000);
    return std::nullopt;
}

bool includes(MsrAccess all, MsrAccess one) { return (static_cast<unsigned>(all) & static_cast<unsigned>(one)) != 0; }

}  // namespace

bool MsrBitmap::set(isa::Msr msr, MsrAccess access, bool exits) {
    const auto first = read_bit(msr);
    if (!first) return false;
    const auto put = [&](unsigned bit) {
        const auto mask = static_cast<std::uint8_t>(1u << bit % 8);
        bytes_[bit / 8] = static_cast<std::uint8_t>(exits ? bytes_[bit / 8] | mask : bytes_[bit / 8] & ~mask);
    };
    if (includes(access, MsrAccess::read)) put(*first);
    if (includes(access, MsrAccess::write)) put(*first + write_offset);
    return true;
}

bool MsrBitmap::exits(isa::Msr msr, MsrAccess access) const {
    const auto first = read_bit(msr);
    if (!first) return true;
    const auto get = [&](unsigned bit) { return (bytes_[bit / 8] >> bit % 8 & 1) != 0; };
    return (includes(access, MsrAccess::read) && get(*first)) ||
        (includes(access, MsrAccess::write) && get(*first + write_offset));
}

}  // namespace bulkhead::vmx
