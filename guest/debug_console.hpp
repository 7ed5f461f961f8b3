// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "guest/bus.hpp"
#include "guest/console.hpp"
#include "lib/ring.hpp"

namespace bulkhead::guest {

// A console without registers: each byte written to port E9h (Bochs) or 402h (QEMU's debugcon, as firmware uses it)
// goes to the guest's console at once. Both read as E9h, by which a program knows that they are there.
class DebugConsole final : public PortDevice {
  public:
    static constexpr std::uint16_t ports[] = {0xe9, 0x402};

    explicit DebugConsole(SerialPeer& peer) : peer_(peer) {}

    // The console has no room: what was written waits here, and a vCPU that wrote must wait as well, since the port
    // cannot tell it. There is room for what each vCPU writes until that is looked at: a part of a REP OUTS.
    bool stalled() const { return !backlog_.empty(); }
    // There may be room again.
    void transmit_room();

    std::uint32_t in(std::uint16_t port, unsigned size) override;
    void out(std::uint16_t port, unsigned size, std::uint32_t value) override;

  private:
    SerialPeer& peer_;
    Ring<std::uint8_t, 16 * 1024> backlog_;
};

}  // namespace bulkhead::guest
