// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>

#include "lib/address.hpp"

namespace bulkhead::vmx {

// An allow-list (SDM 24.6.4): an access exits unless every port it touches was allowed. Bitmap A (ports 0-7FFFh) and
// bitmap B (8000h-FFFFh), one after the other in two frames. An access that wraps around port FFFFh exits always.
class alignas(page_size) IoBitmap {
  public:
    IoBitmap() { trap_all(); }

    void allow(std::uint16_t port) { bytes_[port / 8] &= static_cast<std::uint8_t>(~(1u << port % 8)); }
    void trap(std::uint16_t port) { bytes_[port / 8] |= static_cast<std::uint8_t>(1u << port % 8); }
    void trap_all() { bytes_.fill(0xff); }

    [[nodiscard]] bool exits(std::uint16_t port, unsigned size = 1) const {
        for (std::uint32_t p = port; p < port + size; ++p)
            if (p > 0xffff || (bytes_[p / 8] >> p % 8 & 1) != 0) return true;
        return false;
    }

  private:
    std::array<std::uint8_t, 2 * page_size> bytes_;
};

static_assert(sizeof(IoBitmap) == 2 * page_size);

}  // namespace bulkhead::vmx
