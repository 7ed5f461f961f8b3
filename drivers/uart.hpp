// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace bulkhead::drivers {

inline constexpr std::uint16_t com1_port = 0x3f8;
inline constexpr unsigned com1_irq = 4;

// A host UART of the 8250 family (National Semiconductor PC16550D data sheet). Not synchronised: the console's lock
// covers it.
class Uart {
  public:
    enum class Event : std::uint8_t { none, receive, transmit, line_status, modem_status };

    constexpr explicit Uart(std::uint16_t port) : port_(port) {}

    // 115200 baud, 8 data bits, no parity, one stop bit, interrupts off. False when no UART answers; every other
    // operation then does nothing.
    bool initialize();
    bool present() const { return present_; }
    std::size_t fifo_depth() const { return depth_; }

    // It has run empty: `transmit` takes `fifo_depth` bytes.
    bool transmitter_ready() const;
    // Hands over as many bytes as the transmitter surely has room for now, and says how many: none while it has not
    // run empty, a FIFO's depth at most when it has.
    std::size_t transmit(std::span<const char> bytes);
    // Waits for room, for a bounded time. For panic output and before interrupts are there.
    void put_polled(char byte);
    // Waits, for a bounded time, until the last bit is on the wire.
    void drain();
    std::optional<char> receive();

    void enable_receive_interrupt(bool on);
    void enable_transmit_interrupt(bool on);
    // The cause with the highest priority. The line is edge-triggered: a handler asks until there is none, or no
    // further interrupt comes. Asking acknowledges `transmit`, `line_status` and `modem_status`.
    Event next_event();

  private:
    std::uint8_t read(unsigned reg) const;
    void write(unsigned reg, std::uint8_t value) const;
    bool detect() const;
    void set_interrupt(std::uint8_t bit, bool on);
    bool wait_for(std::uint8_t status) const;

    std::uint16_t port_;
    bool present_{};
    std::uint8_t interrupts_{};
    std::size_t depth_{1};
};

}  // namespace bulkhead::drivers
