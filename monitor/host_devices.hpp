// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <optional>

#include "drivers/uart.hpp"
#include "lib/spinlock.hpp"
#include "monitor/console.hpp"

namespace bulkhead::monitor {

// The hypervisor's own devices: the host UART between the wire and the console. The boot CPU takes its interrupts and
// calls `service`; any CPU may start the transmitter.
class HostDevices {
  public:
    HostDevices(Console& console, drivers::Uart& uart);

    // From now on the UART is the console's, interrupt-driven.
    void start();
    // An interrupt of the UART: it is looked at in the next `service`.
    void interrupt() { pending_.store(true, std::memory_order_relaxed); }
    // Receives, transmits and keeps the console's clock.
    void service();
    // On the host's TSC: when `service` wants to be called without an interrupt.
    std::uint64_t next_service() const { return std::min(next_tick_, fifo_empty_at_); }
    // Waits until everything the console has is on the wire. Interrupts are off; nobody else transmits any more.
    void drain();

  private:
    void put_polled(std::uint8_t byte) { uart_.put_polled(static_cast<char>(byte)); }
    void wake_transmitter();
    std::optional<drivers::Uart::Event> next_event();
    void receive();
    void transmit();

    Console& console_;
    drivers::Uart& uart_;
    LastWords last_words_{console_, Delegate<void(std::uint8_t)>::to<&HostDevices::put_polled>(this)};
    SpinLock lock_;
    std::atomic<bool> pending_{true};
    std::uint64_t next_tick_{};
    std::uint64_t tick_{};
    const std::uint64_t character_;
    // While bytes are on their way: when the transmitter has surely run empty. Its interrupt says so earlier, but a
    // processor may keep it back (one emulator does while a guest runs with interrupts masked).
    static constexpr std::uint64_t never = ~0ull;
    std::uint64_t fifo_empty_at_{never};
};

HostDevices& host_devices();
void set_host_devices(HostDevices* devices);

}  // namespace bulkhead::monitor
