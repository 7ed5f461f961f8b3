// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "lib/spinlock.hpp"

namespace bulkhead::vmx {

// The VPIDs of the machine: each vCPU has its own while it exists. 0 is the hypervisor's (SDM 28.1).
class VpidAllocator {
  public:
    static constexpr unsigned capacity = 1024;

    [[nodiscard]] std::optional<std::uint16_t> allocate();
    void release(std::uint16_t vpid);

  private:
    SpinLock lock_;
    std::array<std::uint64_t, capacity / 64> used_{1};  // bit 0 is VPID 0
};

}  // namespace bulkhead::vmx
