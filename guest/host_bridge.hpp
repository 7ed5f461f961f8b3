// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "guest/pci_function.hpp"
#include "guest/shadow_memory.hpp"

namespace bulkhead::guest {

// The 82441FX (PMC) of Intel's 440FX chip set (data sheet 290549): the host bridge of most virtual PCs, which every
// system knows. Systems without SMBIOS tables (Linux's pci_sanity_check) accept configuration mechanism #1 only when
// they find a host bridge.
class HostBridge final : public PciFunction {
  public:
    // Without `shadow` the area below 1 MiB is RAM, and the registers that would say otherwise cannot be written. With
    // it they are as after reset, and the subsystem is the one by which firmware knows that QEMU's firmware
    // configuration device is there.
    explicit HostBridge(ShadowMemory* shadow);

  private:
    void written(unsigned offset, std::uint8_t before) override;

    ShadowMemory* shadow_;
};

}  // namespace bulkhead::guest
