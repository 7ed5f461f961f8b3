// SPDX-License-Identifier: Apache-2.0
#include "guest/vga_text.hpp"

namespace bulkhead::guest {
namespace {

// As a video BIOS leaves them in mode 3.
constexpr std::array<std::uint8_t, 25> crtc_mode_3 = {0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0x00,
                                                      0x4f, 0x0d, 0x0e, 0x00, 0x00, 0x00, 0x00, 0x9c, 0x8e,
                                                      0x8f, 0x28, 0x1f, 0x96, 0xb9, 0xa3, 0xff};
constexpr std::array<std::uint8_t, 5> sequencer_mode_3 = {0x03, 0x00, 0x03, 0x00, 0x02};
constexpr std::array<std::uint8_t, 9> graphics_mode_3 = {0x00, 0x00, 0x00, 0x00, 0x00, 0x10, 0x0e, 0x00, 0xff};
constexpr std::array<std::uint8_t, 21> attribute_mode_3 = {0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x14,
                                                           0x07, 0x38, 0x39, 0x3a, 0x3b, 0x3c, 0x3d,
                                                           0x3e, 0x3f, 0x0c, 0x00, 0x0f, 0x08, 0x00};

constexpr unsigned start_high = 0x0c, start_low = 0x0d, vertical_retrace_end = 0x11;
constexpr std::uint8_t protect = 0x80, overflow = 0x07, line_compare_bit_8 = 0x10;
constexpr std::uint8_t attribute_index = 0x3f, attribute_register = 0x1f, palette_component = 0x3f;
// Input status 1: display disabled, vertical retrace.
constexpr std::uint8_t blanked = 0x09;

}  // namespace

VgaText::VgaText() {
    crtc_.registers = crtc_mode_3;
    sequencer_.registers = sequencer_mode_3;
    graphics_.registers = graphics_mode_3;
    attribute_.registers = attribute_mode_3;
}

unsigned VgaText::start() const {
    return 2u * (static_cast<unsigned>(crtc_.registers[start_high]) << 8 | crtc_.registers[start_low]) % memory_size;
}

// The display wraps at the end of its memory. A character outside ASCII is shown as a dot.
void VgaText::write_text(Memory& guest, TextSink& sink) const {
    unsigned empty_rows = 0;
    for (unsigned row = 0; row < rows; ++row) {
        std::array<char, columns> line{};
        std::size_t used = 0;
        for (unsigned column = 0; column < columns; ++column) {
            std::uint8_t code = 0;
            if (!guest.load(memory + (start() + 2 * (row * columns + column)) % memory_size, code)) return;
            const bool blank = code == 0 || code == ' ' || code == 0xff;
            line[column] = blank ? ' ' : code > ' ' && code < 0x7f ? static_cast<char>(code) : '.';
            if (!blank) used = column + 1;
        }
        if (used == 0) {
            ++empty_rows;
            continue;
        }
        for (; empty_rows != 0; --empty_rows) sink.write("\n");
        sink.write({line.data(), used});
        sink.write("\n");
    }
    if (empty_rows == rows) sink.write("the screen is empty\n");
}

std::uint32_t VgaText::in(std::uint16_t port, unsigned size) {
    return bytewise_in(port, size, [this](std::uint16_t p) { return read(p); });
}

void VgaText::out(std::uint16_t port, unsigned size, std::uint32_t value) {
    bytewise_out(port, size, value, [this](std::uint16_t p, std::uint8_t v) { write(p, v); });
}

std::uint8_t VgaText::read(std::uint16_t port) {
    switch (port) {
        case 0x3c0: return attribute_.index;
        case 0x3c1: return read_attribute();
        case 0x3c2: return 0x00;
        case 0x3c4: return sequencer_.index;
        case 0x3c5: return sequencer_.read();
        case 0x3c6: return palette_mask_;
        case 0x3c7: return palette_reads_ ? 3 : 0;
        case 0x3c8: return static_cast<std::uint8_t>(palette_write_ / 3);
        case 0x3c9: return read_palette();
        case 0x3ca: return feature_control_;
        case 0x3cc: return misc_output_;
        case 0x3ce: return graphics_.index;
        case 0x3cf: return graphics_.read();
        case 0x3d4: return crtc_.index;
        case 0x3d5: return crtc_.read();
        case 0x3da:
            // Whoever waits for the retrace, or for its end, does not wait for ever.
            attribute_takes_data_ = false;
            return status_ ^= blanked;
        default: return 0xff;
    }
}

void VgaText::write(std::uint16_t port, std::uint8_t value) {
    switch (port) {
        case 0x3c0: return write_attribute(value);
        case 0x3c2: misc_output_ = value; return;
        case 0x3c4: sequencer_.index = value; return;
        case 0x3c5: return sequencer_.write(value);
        case 0x3c6: palette_mask_ = value; return;
        case 0x3c7:
            palette_read_ = static_cast<std::uint16_t>(3 * value);
            palette_reads_ = true;
            return;
        case 0x3c8:
            palette_write_ = static_cast<std::uint16_t>(3 * value);
            palette_reads_ = false;
            return;
        case 0x3c9: return write_palette(value);
        case 0x3ce: graphics_.index = value; return;
        case 0x3cf: return graphics_.write(value);
        case 0x3d4: crtc_.index = value; return;
        case 0x3d5: return write_crtc(value);
        case 0x3da: feature_control_ = value; return;
        default: return;
    }
}

std::uint8_t VgaText::read_attribute() const {
    const unsigned index = attribute_.index & attribute_register;
    return index < attribute_.registers.size() ? attribute_.registers[index] : 0xff;
}

// One port takes the index and the data, in turn.
void VgaText::write_attribute(std::uint8_t value) {
    if (attribute_takes_data_) {
        const unsigned index = attribute_.index & attribute_register;
        if (index < attribute_.registers.size()) attribute_.registers[index] = value;
    } else {
        attribute_.index = value & attribute_index;
    }
    attribute_takes_data_ = !attribute_takes_data_;
}

// The timing registers 0 to 7 can be protected, all but one bit.
void VgaText::write_crtc(std::uint8_t value) {
    if (crtc_.index <= overflow && (crtc_.registers[vertical_retrace_end] & protect) != 0) {
        if (crtc_.index != overflow) return;
        value = static_cast<std::uint8_t>((crtc_.read() & ~line_compare_bit_8) | (value & line_compare_bit_8));
    }
    crtc_.write(value);
}

std::uint8_t VgaText::read_palette() {
    const std::uint8_t value = palette_[palette_read_];
    palette_read_ = static_cast<std::uint16_t>((palette_read_ + 1) % palette_.size());
    return value;
}

void VgaText::write_palette(std::uint8_t value) {
    palette_[palette_write_] = value & palette_component;
    palette_write_ = static_cast<std::uint16_t>((palette_write_ + 1) % palette_.size());
}

}  // namespace bulkhead::guest
