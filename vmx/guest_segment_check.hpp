// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "vmx/guest_state_check.hpp"

// The part of guest_state_check that is about segment registers (SDM 26.3.1.2), and what both parts share.
namespace bulkhead::vmx {

// Keeps the first rule that does not hold.
struct FirstViolation {
    std::optional<GuestStateViolation> found;

    void require(bool holds, std::string_view field, std::string_view rule, std::string_view section,
                 std::uint64_t value) {
        if (!holds && !found) found = GuestStateViolation{field, rule, section, value};
    }
};

struct SegmentCheckContext {
    bool ia32e{}, v86{}, protected_mode{}, unrestricted{};
    unsigned linear_bits{};

    bool is_canonical(std::uint64_t address) const {
        const unsigned unused = 64 - linear_bits;
        return static_cast<std::uint64_t>(static_cast<std::int64_t>(address << unused) >> unused) == address;
    }
};

void check_segments(FirstViolation& violation, const SegmentCheckContext& context);

}  // namespace bulkhead::vmx
