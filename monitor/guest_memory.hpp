// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "guest/memory.hpp"
#include "vmx/ept.hpp"

namespace bulkhead::monitor {

// A guest's RAM through its EPT: each access maps what it needs in a window of this CPU and lets it go again.
class GuestMemory final : public guest::Memory {
  public:
    explicit GuestMemory(vmx::Ept& ept) : ept_(ept) {}

    bool read(GuestPhys from, std::span<std::byte> to) override;
    bool write(GuestPhys to, std::span<const std::byte> from) override;
    bool fill(GuestPhys to, std::uint64_t size, std::byte value) override;

  private:
    template <class Visit>
    bool for_each_piece(GuestPhys start, std::uint64_t size, Visit visit);

    vmx::Ept& ept_;
};

}  // namespace bulkhead::monitor
