// SPDX-License-Identifier: Apache-2.0
#include "monitor/host_devices.hpp"

#include <array>

#include "arch/cpu/clock.hpp"
#include "arch/cpu/instructions.hpp"
#include "arch/cpu/panic.hpp"
#include "monitor/system.hpp"

namespace bulkhead::monitor {
namespace {

HostDevices* devices;
LastWords* last_words;
constexpr std::uint64_t ticks_per_second = 10;
// Half the pace of 115200 baud, so that the UART's own interrupt comes first wherever it comes at all: the timer's way
// costs an exit of the guest that runs.
constexpr std::uint64_t characters_per_second = 115'200 / 10 / 2;

// A fault's report goes to the console's partition 0, past its locks.
void write_last_words(char c) {
    if (c == '\0')
        last_words->finish();
    else
        last_words->write({&c, 1});
}

}  // namespace

HostDevices& host_devices() { return *devices; }
void set_host_devices(HostDevices* d) { devices = d; }

HostDevices::HostDevices(Console& console, drivers::Uart& uart)
    : console_(console),
      uart_(uart),
      tick_(cpu::tsc_hz() / ticks_per_second),
      character_(cpu::tsc_hz() / characters_per_second) {
    console_.set_wake(Delegate<void()>::to<&HostDevices::wake_transmitter>(this));
    last_words = &last_words_;
    cpu::set_raw_sink(write_last_words);
}

void HostDevices::start() {
    next_tick_ = cpu::rdtsc() + tick_;
    const LockGuard guard{lock_};
    uart_.enable_receive_interrupt(true);
    uart_.enable_transmit_interrupt(true);
}

void HostDevices::wake_transmitter() {
    pending_.store(true, std::memory_order_relaxed);
    the_system.doorbells[0].ring();
}

void HostDevices::service() {
    const std::uint64_t now = cpu::rdtsc();
    const bool tick = now >= next_tick_;
    if (!pending_.exchange(false, std::memory_order_relaxed) && now < next_service()) return;
    while (const auto event = next_event()) {
        if (*event == drivers::Uart::Event::receive) receive();
        if (*event == drivers::Uart::Event::transmit) transmit();
    }
    transmit();
    if (!tick) return;
    next_tick_ = now + tick_;
    console_.tick();
    // An interrupt that got lost delays the console and does not stop it.
    receive();
}

std::optional<drivers::Uart::Event> HostDevices::next_event() {
    const LockGuard guard{lock_};
    const auto event = uart_.next_event();
    if (event == drivers::Uart::Event::none) return std::nullopt;
    return event;
}

// What came is handed to the console outside the transmitter's lock: a key may restart or end guests.
void HostDevices::receive() {
    for (;;) {
        std::optional<char> byte;
        {
            const LockGuard guard{lock_};
            byte = uart_.receive();
        }
        if (!byte) return;
        console_.receive(static_cast<std::uint8_t>(*byte));
    }
}

void HostDevices::transmit() {
    const LockGuard guard{lock_};
    // Without a UART nobody reads: the guests' output goes nowhere, and they are not held up by it.
    if (uart_.present() && !uart_.transmitter_ready()) {
        if (fifo_empty_at_ != never) fifo_empty_at_ = cpu::rdtsc() + uart_.fifo_depth() * character_;
        return;
    }
    std::array<std::uint8_t, 16> bytes;
    const std::size_t room = std::min(uart_.fifo_depth(), bytes.size());
    const std::size_t count = console_.take(std::span{bytes}.first(room));
    uart_.enable_transmit_interrupt(count != 0);
    uart_.transmit({reinterpret_cast<const char*>(bytes.data()), count});
    fifo_empty_at_ = count == 0 ? never : cpu::rdtsc() + count * character_;
}

void HostDevices::drain() {
    std::array<std::uint8_t, 16> bytes;
    while (const std::size_t count = console_.take(bytes))
        for (std::size_t i = 0; i < count; ++i) put_polled(bytes[i]);
    uart_.drain();
}

}  // namespace bulkhead::monitor
