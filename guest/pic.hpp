// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>

#include "guest/bus.hpp"
#include "guest/line.hpp"
#include "lib/delegate.hpp"

namespace bulkhead::guest {

// One 8259A, in 8086 mode. It knows nothing of its partner: the pair connects them.
class Pic {
  public:
    // `edge_only`: the inputs that ELCR cannot make level triggered.
    Pic(bool master, std::uint8_t edge_only) : master_(master), edge_only_(edge_only) {}

    void set_input(unsigned input, bool level);
    // INT. It rises with an unmasked request of a higher priority than all that is in service, and stays when the
    // request goes away: the processor is given IR7 then.
    bool interrupt() const { return interrupt_; }
    // INTA: the input that is now in service; nothing when the request is gone.
    std::optional<unsigned> acknowledge();
    std::uint8_t vector(unsigned input) const { return static_cast<std::uint8_t>(base_ | input); }

    // The next read is a poll: an acknowledge cycle.
    bool is_polled() const { return poll_; }
    std::uint8_t read(unsigned a0);
    void write(unsigned a0, std::uint8_t value);
    std::uint8_t elcr() const { return level_triggered_; }
    void write_elcr(std::uint8_t value);
    std::uint8_t imr() const { return imr_; }

  private:
    enum class Expect : std::uint8_t { icw1, icw2, icw3, icw4 };  // icw1: initialised

    std::uint8_t irr() const;
    std::uint8_t rotated(std::uint8_t requests) const;
    std::optional<unsigned> highest(std::uint8_t requests) const;
    std::optional<unsigned> pending() const;
    void resolve() { interrupt_ = pending().has_value(); }
    void write_icw1(std::uint8_t value);
    void write_ocw2(std::uint8_t value);
    void write_ocw3(std::uint8_t value);
    void write_icw_or_mask(std::uint8_t value);
    void end_non_specific(bool rotate);
    void end(unsigned input, bool rotate);

    const bool master_;
    const std::uint8_t edge_only_;
    std::uint8_t inputs_{}, latched_{}, level_triggered_{};
    std::uint8_t isr_{}, imr_{}, base_{};
    std::uint8_t first_{};  // the input of highest priority
    Expect expect_{};
    bool single_{}, needs_icw4_{};
    bool auto_eoi_{}, rotate_on_auto_eoi_{}, special_mask_{}, special_fully_nested_{};
    bool read_isr_{}, poll_{};
    bool interrupt_{};
};

// The two of a PC, at ports 20h and A0h, with ELCR at 4D0h. The slave's INT is the master's input 2.
class PicPair final : public PortDevice {
  public:
    // As firmware leaves them: initialised with vectors 08h and 70h, all inputs masked, the SCI's input level
    // triggered.
    PicPair() { reset(); }

    InterruptLine& intr() { return intr_; }
    // Called when a mask may have changed.
    void on_mask_change(Delegate<void()> changed) { mask_changed_ = changed; }

    void reset();
    void set_irq(unsigned irq, bool level);
    bool masked(unsigned irq) const;
    // The INTA cycle: the vector that the processor is given.
    std::uint8_t acknowledge();

    std::uint32_t in(std::uint16_t port, unsigned size) override;
    void out(std::uint16_t port, unsigned size, std::uint32_t value) override;

  private:
    Pic* chip(std::uint16_t port);
    std::uint8_t read(std::uint16_t port);
    void write(std::uint16_t port, std::uint8_t value);
    void update();
    void end_cycle(const Pic& pic);
    unsigned masks() const { return slave_.imr() * 256u + master_.imr(); }

    Pic master_{true, 0x07}, slave_{false, 0x21};
    InterruptLine intr_;
    Delegate<void()> mask_changed_;
};

}  // namespace bulkhead::guest
