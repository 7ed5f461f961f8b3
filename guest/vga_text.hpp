// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>

#include "guest/bus.hpp"
#include "guest/memory.hpp"
#include "lib/address.hpp"
#include "lib/format.hpp"

namespace bulkhead::guest {

// The registers of a VGA in 80x25 text mode (IBM VGA technical reference): they keep what is written to them. Its
// memory is memory, and nobody looks at it but the operator, who is shown the text.
class VgaText final : public PortDevice {
  public:
    static constexpr std::uint16_t first_port = 0x3c0, last_port = 0x3df;
    static constexpr GuestPhys memory{0xb'8000};
    static constexpr unsigned columns = 80, rows = 25, memory_size = 0x8000;

    VgaText();

    std::uint32_t in(std::uint16_t port, unsigned size) override;
    void out(std::uint16_t port, unsigned size, std::uint32_t value) override;

    // Offset of the first character shown, in bytes from `memory`.
    unsigned start() const;
    // What stands on the screen, a line a row, without what is blank at the ends.
    void write_text(Memory& guest, TextSink& sink) const;

  private:
    // Registers that are reached through an index.
    template <unsigned count>
    struct Indexed {
        std::uint8_t index{};
        std::array<std::uint8_t, count> registers{};

        std::uint8_t read() const { return index < count ? registers[index] : 0xff; }
        void write(std::uint8_t value) {
            if (index < count) registers[index] = value;
        }
    };

    std::uint8_t read(std::uint16_t port);
    void write(std::uint16_t port, std::uint8_t value);
    std::uint8_t read_attribute() const;
    void write_attribute(std::uint8_t value);
    void write_crtc(std::uint8_t value);
    std::uint8_t read_palette();
    void write_palette(std::uint8_t value);

    Indexed<25> crtc_;
    Indexed<5> sequencer_;
    Indexed<9> graphics_;
    struct {
        std::uint8_t index{};
        std::array<std::uint8_t, 21> registers{};
    } attribute_;
    bool attribute_takes_data_{};
    std::uint8_t misc_output_{0x67}, feature_control_{}, status_{}, palette_mask_{0xff};
    std::uint16_t palette_read_{}, palette_write_{};  // component: three a colour
    bool palette_reads_{};
    std::array<std::uint8_t, 768> palette_{};
};

}  // namespace bulkhead::guest
