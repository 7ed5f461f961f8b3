// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "arch/isa/segment.hpp"

namespace bulkhead::isa {

// The general registers of a processor, in encoding order. VM-entry and VM-exit assembly relies on the layout.
struct Registers {
    std::array<std::uint64_t, 16> gpr{};

    constexpr std::uint64_t& operator[](Gpr r) { return gpr[static_cast<std::size_t>(r)]; }
    constexpr std::uint64_t operator[](Gpr r) const { return gpr[static_cast<std::size_t>(r)]; }
};

}  // namespace bulkhead::isa
