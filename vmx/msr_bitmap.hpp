// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>

#include "arch/isa/msr.hpp"
#include "lib/address.hpp"

namespace bulkhead::vmx {

enum class MsrAccess : std::uint8_t { read = 1, write = 2, read_and_write = 3 };

// An allow-list (SDM 24.6.9): every access of an MSR exits, but those that were allowed. It is a page that the
// processor reads: it lives in a frame. MSRs outside 0-1FFFh and C0000000h-C0001FFFh exit always.
class alignas(page_size) MsrBitmap {
  public:
    MsrBitmap() { trap_all(); }

    // False, and nothing changed, for an MSR that the bitmap cannot name.
    [[nodiscard]] bool allow(isa::Msr msr, MsrAccess access) { return set(msr, access, false); }
    [[nodiscard]] bool trap(isa::Msr msr, MsrAccess access) { return set(msr, access, true); }
    void trap_all() { bytes_.fill(0xff); }

    [[nodiscard]] bool exits(isa::Msr msr, MsrAccess access) const;

  private:
    bool set(isa::Msr msr, MsrAccess access, bool exits);

    std::array<std::uint8_t, page_size> bytes_;
};

static_assert(sizeof(MsrBitmap) == page_size);

}  // namespace bulkhead::vmx
