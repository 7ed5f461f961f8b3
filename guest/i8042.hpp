// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>

#include "guest/bus.hpp"
#include "guest/keyboard.hpp"
#include "guest/line.hpp"
#include "lib/delegate.hpp"

namespace bulkhead::guest {

// The keyboard controller at ports 60h and 64h, without an auxiliary port, and the system control port 92h: the A20
// gate and the ways to reset the machine.
class I8042 final : public PortDevice {
  public:
    // `reset`: the reset pulse, from command FEh or from port 92h. There need not be a keyboard; if there is one, it
    // outlives the controller.
    explicit I8042(Delegate<void()> reset, Keyboard* keyboard = nullptr);

    InterruptLine& irq() { return irq_; }
    // The keyboard may have something to send.
    void key_available() { listen(); }
    // Both gates drive one A20 mask, as on a PC's chip set.
    bool a20() const { return a20_; }

    std::uint32_t in(std::uint16_t port, unsigned size) override;
    void out(std::uint16_t port, unsigned size, std::uint32_t value) override;

  private:
    std::uint8_t read(std::uint16_t port);
    void write(std::uint16_t port, std::uint8_t value);
    std::uint8_t status() const;
    std::uint8_t output_port() const;
    void command(std::uint8_t value);
    void parameter(std::uint8_t value);
    void write_output_port(std::uint8_t value);
    void write_port_92(std::uint8_t value);
    void reply(std::uint8_t value);
    void update_irq();
    void listen();

    Delegate<void()> reset_;
    Keyboard* keyboard_;
    InterruptLine irq_;
    std::array<std::uint8_t, 32> ram_{};  // byte 0 is the command byte
    std::uint8_t output_buffer_{};
    bool output_full_{};
    bool last_was_command_{};
    bool translates_break_{};  // the prefix of a released key has come
    std::uint8_t awaiting_{};  // the command whose parameter comes next; 0: none
    bool a20_{true};           // as firmware hands over
    bool port_92_reset_{};
};

}  // namespace bulkhead::guest
