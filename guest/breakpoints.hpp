// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>

// The breakpoints of the debug registers, for accesses that the processor does not make itself (SDM volume 3, 17.2.4
// and 17.2.5). Instruction breakpoints are met before an exit, by the processor.
namespace bulkhead::guest {

struct Breakpoints {
    std::array<std::uint64_t, 4> address{};  // DR0 to DR3
    std::uint64_t dr7{};

    // The bits of DR6, and of the pending debug exceptions, of a port access (CR4.DE) of 1, 2 or 4 bytes.
    constexpr std::uint64_t match_port(std::uint16_t port, unsigned size) const {
        return match(port, size, [](unsigned kind) { return kind == io; });
    }
    // Of a data access of 1 to 64 bytes.
    constexpr std::uint64_t match_data(std::uint64_t linear, unsigned size, bool write) const {
        return match(linear, size, [=](unsigned kind) { return kind == data || (kind == data_write && write); });
    }
    // In the pending debug exceptions: a breakpoint that was met is enabled (SDM table 24-4).
    static constexpr std::uint64_t enabled_breakpoint = 1u << 12;

  private:
    static constexpr unsigned data_write = 1, io = 2, data = 3;

    constexpr std::uint64_t match(std::uint64_t first, unsigned size, auto wanted) const {
        constexpr std::uint8_t lengths[] = {1, 2, 8, 4};
        std::uint64_t bits = 0;
        bool is_enabled = false;
        for (unsigned n = 0; n < 4; ++n) {
            const auto control = static_cast<unsigned>(dr7 >> (16 + 4 * n));
            const std::uint64_t length = lengths[control >> 2 & 3];
            // The processor ignores the low bits of the address as the length says.
            const std::uint64_t start = address[n] & ~(length - 1);
            const bool overlap = start - first < size || first - start < length;
            if (!wanted(control & 3) || !overlap) continue;
            bits |= 1u << n;
            is_enabled |= (dr7 >> (2 * n) & 3) != 0;
        }
        // What matches but is not enabled is told together with one that is, and is no reason for a #DB.
        return is_enabled ? bits | enabled_breakpoint : 0;
    }
};

}  // namespace bulkhead::guest
