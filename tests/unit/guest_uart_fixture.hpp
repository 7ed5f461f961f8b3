// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <deque>
#include <string>

#include "guest/uart.hpp"

namespace bulkhead::guest {
namespace {

constexpr std::uint16_t base = 0x3f8;
[[maybe_unused]] constexpr std::uint16_t RBR = 0, THR = 0, DLL = 0, IER = 1, DLM = 1, IIR = 2, FCR = 2, LCR = 3,
                                         MCR = 4, LSR = 5, MSR = 6, SCR = 7;

class Peer final : public SerialPeer {
  public:
    bool put(std::uint8_t byte) override {
        if (sent.size() >= room) return false;
        sent.push_back(static_cast<char>(byte));
        return true;
    }
    std::optional<std::uint8_t> get() override {
        if (typed.empty()) return std::nullopt;
        const std::uint8_t byte = typed.front();
        typed.pop_front();
        return byte;
    }
    std::string sent;
    std::size_t room = 10'000;
    std::deque<std::uint8_t> typed;
};

class UartTest : public testing::Test {
  protected:
    explicit UartTest(Uart::Pacing pacing = Uart::Pacing::instant) : uart(timers, peer, base, pacing) {
        write(LCR, 0x03);
        write(MCR, 0x0b);  // DTR, RTS, OUT2
    }
    std::uint8_t read(std::uint16_t reg) { return static_cast<std::uint8_t>(uart.in(base + reg, 1)); }
    void write(std::uint16_t reg, std::uint8_t value) { uart.out(base + reg, 1, value); }
    void type(const std::string& text) {
        for (const char c : text) peer.typed.push_back(static_cast<std::uint8_t>(c));
        uart.input_available();
    }
    void pass(Tick ticks) {
        clock.now += ticks;
        timers.expire();
    }
    bool irq() { return uart.irq().level(); }

    // 115200 baud, ten bits a character: 1,152 ticks of 13,271,040 Hz each.
    Clock clock{.now = 1000, .hz = 13'271'040};
    static constexpr Tick character = 1152;
    TimerQueue timers{clock};
    Peer peer;
    Uart uart;
};

}  // namespace
}  // namespace bulkhead::guest
