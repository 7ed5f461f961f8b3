// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>

namespace bulkhead::guest {

// The far end of a guest's serial line: its partition of the console.
class SerialPeer {
  public:
    // False when the partition has no room now: the transmitter stays busy, and `Uart::transmit_room` tells it to try
    // again.
    [[nodiscard]] virtual bool put(std::uint8_t byte) = 0;
    // The next byte that was typed, if the UART has room for it.
    virtual std::optional<std::uint8_t> get() = 0;

  protected:
    ~SerialPeer() = default;
};

}  // namespace bulkhead::guest
