// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "guest/bus.hpp"
#include "guest/clock.hpp"
#include "guest/console.hpp"
#include "guest/line.hpp"
#include "lib/ring.hpp"

namespace bulkhead::guest {

// A 16550A: the registers, FIFOs and interrupt rules of National's PC16550D data sheet, on a PC's 1.8432 MHz clock,
// with OUT2 gating the interrupt as on a PC. The far end is connected and ready (CTS, DSR, DCD).
class Uart final : public PortDevice {
  public:
    // `instant`: a byte leaves the moment it is written. `baud`: it takes the time that the divisor and the frame say.
    enum class Pacing : std::uint8_t { instant, baud };

    Uart(TimerQueue& timers, SerialPeer& peer, std::uint16_t base, Pacing pacing);

    InterruptLine& irq() { return irq_; }

    std::uint32_t in(std::uint16_t port, unsigned size) override;
    void out(std::uint16_t port, unsigned size, std::uint32_t value) override;

    // The partition has room again: what it refused is sent.
    void transmit_room();
    // Something was typed.
    void input_available();

    // Whether the guest is told of what is typed, and whether it has left some of it.
    bool receive_interrupt_enabled() const { return (ier_ & 1) != 0 && (mcr_ & 8) != 0; }  // ERBFI, and OUT2
    bool has_unread() const { return !receive_fifo_.empty(); }
    // Takes back a byte that the guest has not read.
    std::optional<std::uint8_t> withdraw();

    // LSR, the register that a polling guest reads.
    std::uint16_t status_port() const { return static_cast<std::uint16_t>(base_ + 5); }
    // The guest reads LSR in a loop and sees a busy transmitter each time: nothing changes for it before
    // `busy_until` (`never`: before the partition has room).
    // With all of its interrupts off nobody reads LSR but to poll, and one look is enough to know.
    bool poll_would_wait() const { return busy_polls_ >= (ier_ == 0 ? 1 : polls_of_a_loop); }
    std::optional<Tick> busy_until() const;

  private:
    static constexpr std::size_t fifo_size = 16;
    static constexpr unsigned polls_of_a_loop = 2;

    struct Received {
        std::uint8_t byte{};
        std::uint8_t errors{};  // LSR bits that belong to this byte
    };

    [[gnu::noinline]] std::uint32_t in_wide(std::uint16_t port, unsigned size);
    [[gnu::noinline]] void out_wide(std::uint16_t port, unsigned size, std::uint32_t value);
    std::uint8_t read(unsigned reg);
    void write(unsigned reg, std::uint8_t value);
    std::uint8_t read_lsr();
    std::uint8_t read_rbr();
    std::optional<Received> pop_received();
    std::uint8_t read_iir();
    std::uint8_t read_msr();
    void write_thr(std::uint8_t value);
    void write_ier(std::uint8_t value);
    void write_fcr(std::uint8_t value);
    void write_lcr(std::uint8_t value);
    void write_mcr(std::uint8_t value);

    bool fifos_enabled() const;
    bool loopback() const;
    bool dlab() const;
    std::uint8_t data_mask() const;
    std::size_t receive_capacity() const;
    std::size_t trigger_level() const;
    Tick compute_character_time() const;

    void start_transmission();
    bool deliver(std::uint8_t byte);
    void character_sent();
    void thr_emptied();
    void receive(Received character);
    void pull_input();
    void character_received();
    void receive_timeout();
    void restart_receive_timeout();
    void clear_receiver();
    void expose_errors();
    void set_modem_inputs(std::uint8_t inputs);

    std::uint8_t pending_interrupt() const;
    void update_irq();

    SerialPeer& peer_;
    const std::uint16_t base_;
    const Pacing pacing_;
    std::uint8_t lsr_;
    std::uint8_t ier_{}, lcr_{}, mcr_{}, fcr_{}, scr_{};
    std::uint8_t msr_;
    std::uint16_t divisor_{1};
    Tick character_time_{};  // as the divisor and LCR say
    unsigned busy_polls_{};

    Ring<std::uint8_t, fifo_size> transmit_fifo_;  // THR, when FIFOs are off
    std::optional<std::uint8_t> shift_;            // the byte that is leaving, with pacing
    bool blocked_{};                               // the partition refused the next byte
    Tick line_busy_until_{};                       // with pacing
    bool idle_{true};                              // no byte was waiting when the last one left
    bool thre_interrupt_{};

    Ring<Received, fifo_size> receive_fifo_;  // RBR, when FIFOs are off
    bool timeout_interrupt_{};

    InterruptLine irq_;
    Timer transmit_timer_;
    Timer receive_timer_;  // paces input
    Timer timeout_timer_;
    TimerQueue& timers_;
};

}  // namespace bulkhead::guest
