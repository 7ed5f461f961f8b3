// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "guest/bus.hpp"
#include "guest/line.hpp"

namespace bulkhead::guest {

// The pair of 8259A interrupt controllers of a PC, the second on input 2 of the first, with the edge/level control
// registers of the chip sets (Intel 8259A data sheet; 82371AB 4.2.6). Ports 20h, 21h, A0h, A1h, 4D0h and 4D1h.
class Pic final : public PortDevice {
  public:
    Pic();

    InterruptLine& intr() { return intr_; }
    void set_irq(unsigned irq, bool level);
    // The processor's acknowledge cycles: the vector. Without a request it is the spurious one of input 7.
    std::uint8_t acknowledge();

    std::uint32_t in(std::uint16_t port, unsigned size) override;
    void out(std::uint16_t port, unsigned size, std::uint32_t value) override;

  private:
    // One 8259A.
    struct Chip {
        std::uint8_t irr{}, isr{}, imr{0xff}, lines{}, level_triggered{};
        std::uint8_t vector_base{};
        std::uint8_t lowest{7};  // the input of lowest priority
        std::uint8_t init_step{};  // the ICW that comes next; 0: initialised
        bool needs_icw4{}, single{}, ltim{};
        bool auto_eoi{}, rotate_on_auto_eoi{}, special_mask{}, special_nested{};
        bool read_isr{}, poll{};
        bool is_slave{};

        void set_line(unsigned n, bool level);
        bool is_level(unsigned n) const { return ltim || (level_triggered >> n & 1) != 0; }
        std::uint8_t requests() const;
        // The input to be served now.
        std::optional<unsigned> pending() const;
        unsigned acknowledge(unsigned n);
        void write_command(std::uint8_t value);
        void write_data(std::uint8_t value);
        void ocw2(std::uint8_t value);
        void end(unsigned n) { isr &= static_cast<std::uint8_t>(~(1u << n)); }
        std::optional<unsigned> highest(std::uint8_t bits) const;
    };

    std::uint8_t read(std::uint16_t port);
    void write(std::uint16_t port, std::uint8_t value);
    std::uint8_t read_poll(Chip& chip);
    void update();

    Chip master_, slave_;
    InterruptLine intr_;
};

}  // namespace bulkhead::guest
