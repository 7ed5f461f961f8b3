// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "guest/bus.hpp"
#include "guest/line.hpp"
#include "lib/address.hpp"

namespace bulkhead::guest {

// What test programs run against, after QEMU's pc-testdev: a 32-bit register at ports E0h to E3h that keeps what is
// written to it, by bytes, words or as a whole; ports from 2000h on that drive an interrupt line each; and RAM that is
// reached as a device's registers are, by exits and the instruction emulator.
class TestDevice final : public PortDevice, public MmioDevice {
  public:
    static constexpr std::uint16_t loop_first = 0xe0, loop_last = 0xe3;
    static constexpr unsigned lines = 24;
    static constexpr std::uint16_t line_first = 0x2000, line_last = line_first + lines - 1;
    static constexpr GuestPhys ram_base{0xff00'0000};
    static constexpr std::size_t ram_size = 64 * kib;

    // `ram` is `ram_size` bytes, and outlives the device.
    explicit TestDevice(std::span<std::byte> ram) : ram_(ram) {}

    InterruptLine& line(unsigned n) { return lines_[n]; }

    std::uint32_t in(std::uint16_t port, unsigned size) override;
    void out(std::uint16_t port, unsigned size, std::uint32_t value) override;
    std::uint64_t read(std::uint64_t offset, unsigned size) override;
    void write(std::uint64_t offset, unsigned size, std::uint64_t value) override;

  private:
    std::array<std::uint8_t, loop_last - loop_first + 1> loop_{};
    std::array<InterruptLine, lines> lines_;
    std::span<std::byte> ram_;
};

}  // namespace bulkhead::guest
