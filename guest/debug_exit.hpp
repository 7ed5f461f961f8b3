// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include "guest/bus.hpp"
#include "lib/delegate.hpp"

namespace bulkhead::guest {

// Two ways by which a test program ends its machine and says how it went: a value written to port F4h, as to QEMU's
// isa-debug-exit, and the word "Shutdown" written byte by byte to port 8900h, as to Bochs.
class DebugExit final : public PortDevice {
  public:
    static constexpr std::uint16_t first_port = 0xf4, last_port = 0xf7, shutdown_port = 0x8900;
    static constexpr std::uint64_t shutdown_status = 0;

    // `exit` is called with the status: the written value times two plus one, or `shutdown_status`.
    explicit DebugExit(Delegate<void(std::uint64_t)> exit) : exit_(exit) {}

    std::uint32_t in(std::uint16_t port, unsigned size) override;
    void out(std::uint16_t port, unsigned size, std::uint32_t value) override;

  private:
    void take_letter(char letter);

    Delegate<void(std::uint64_t)> exit_;
    std::size_t letters_{};  // how many of the word have come
};

}  // namespace bulkhead::guest
