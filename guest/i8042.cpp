// SPDX-License-Identifier: Apache-2.0
#include "guest/i8042.hpp"

#include <utility>

namespace bulkhead::guest {
namespace {

namespace status_bit {
constexpr std::uint8_t OBF = 0x01, SYS = 0x04, COMMAND = 0x08, UNLOCKED = 0x10;
}
namespace command_byte {
constexpr std::uint8_t KBD_INT = 0x01, SYS = 0x04, KBD_DISABLE = 0x10, AUX_DISABLE = 0x20, XLATE = 0x40;
}
namespace output_port_bit {
constexpr std::uint8_t NOT_RESET = 0x01, A20 = 0x02, IRQ1 = 0x10, KBD_LINES = 0xc0;
}
namespace port_92 {
constexpr std::uint8_t FAST_RESET = 0x01, A20 = 0x02;
}

enum Command : std::uint8_t {
    READ_RAM = 0x20,
    WRITE_RAM = 0x60,
    AUX_TEST = 0xa9,
    SELF_TEST = 0xaa,
    KBD_TEST = 0xab,
    KBD_OFF = 0xad,
    KBD_ON = 0xae,
    READ_INPUT = 0xc0,
    READ_OUTPUT = 0xd0,
    WRITE_OUTPUT = 0xd1,
    WRITE_KBD_BUFFER = 0xd2,
    WRITE_AUX_BUFFER = 0xd3,
    WRITE_AUX = 0xd4,
    A20_OFF = 0xdd,
    A20_ON = 0xdf,
    PULSE = 0xf0,
};

// Of the keyboard's scan codes, which the controller translates from set 2 to set 1.
constexpr std::uint8_t break_prefix = 0xf0, released = 0x80;

}  // namespace

I8042::I8042(Delegate<void()> reset, Keyboard* keyboard) : reset_(reset), keyboard_(keyboard) {
    ram_[0] = command_byte::SYS | command_byte::KBD_DISABLE | command_byte::AUX_DISABLE | command_byte::XLATE;
}

std::uint32_t I8042::in(std::uint16_t port, unsigned size) {
    return bytewise_in(port, size, [this](std::uint16_t p) { return read(p); });
}

void I8042::out(std::uint16_t port, unsigned size, std::uint32_t value) {
    bytewise_out(port, size, value, [this](std::uint16_t p, std::uint8_t v) { write(p, v); });
}

std::uint8_t I8042::read(std::uint16_t port) {
    switch (port) {
        case 0x60: {
            const std::uint8_t value = output_buffer_;
            output_full_ = false;
            update_irq();
            listen();
            return value;
        }
        case 0x64: return status();
        case 0x92:
            return static_cast<std::uint8_t>((a20_ ? port_92::A20 : 0) | (port_92_reset_ ? port_92::FAST_RESET : 0));
        default: return 0xff;
    }
}

void I8042::write(std::uint16_t port, std::uint8_t value) {
    switch (port) {
        case 0x60: last_was_command_ = false; return parameter(value);
        case 0x64: last_was_command_ = true; return command(value);
        case 0x92: return write_port_92(value);
        default: return;
    }
}

// The controller takes what is written at once, so its input buffer is never seen full.
std::uint8_t I8042::status() const {
    return static_cast<std::uint8_t>(status_bit::UNLOCKED | (ram_[0] & command_byte::SYS ? status_bit::SYS : 0) |
                                     (output_full_ ? status_bit::OBF : 0) |
                                     (last_was_command_ ? status_bit::COMMAND : 0));
}

std::uint8_t I8042::output_port() const {
    return static_cast<std::uint8_t>(output_port_bit::NOT_RESET | output_port_bit::KBD_LINES |
                                     (a20_ ? output_port_bit::A20 : 0) | (irq_.level() ? output_port_bit::IRQ1 : 0));
}

void I8042::command(std::uint8_t value) {
    awaiting_ = 0;
    if (value >= READ_RAM && value < READ_RAM + ram_.size()) return reply(ram_[value - READ_RAM]);
    if (value >= WRITE_RAM && value < WRITE_RAM + ram_.size()) {
        awaiting_ = value;
        return;
    }
    switch (value) {
        case AUX_TEST: return reply(0x01);  // no port: its clock line is stuck low
        case SELF_TEST: ram_[0] |= command_byte::SYS; return reply(0x55);
        case KBD_TEST: return reply(0x00);
        case KBD_OFF: ram_[0] |= command_byte::KBD_DISABLE; return;
        case KBD_ON: ram_[0] = static_cast<std::uint8_t>(ram_[0] & ~command_byte::KBD_DISABLE); return listen();
        case READ_INPUT: return reply(0x80);  // the keyboard is not locked
        case READ_OUTPUT: return reply(output_port());
        case WRITE_OUTPUT:
        case WRITE_KBD_BUFFER:
        case WRITE_AUX_BUFFER:
        case WRITE_AUX: awaiting_ = value; return;
        case A20_OFF: a20_ = false; return;
        case A20_ON: a20_ = true; return;
        default:
            // Pulses the output port's bits 0 to 3 that are zero in the command; bit 0 is the reset line.
            if (value >= PULSE && !(value & output_port_bit::NOT_RESET)) reset_();
            return;
    }
}

void I8042::parameter(std::uint8_t value) {
    const std::uint8_t to = awaiting_;
    awaiting_ = 0;
    if (to >= WRITE_RAM && to < WRITE_RAM + ram_.size()) {
        ram_[to - WRITE_RAM] = value;
        // The auxiliary port cannot be enabled, by which drivers see that there is none.
        ram_[0] |= command_byte::AUX_DISABLE;
        update_irq();
        return listen();
    }
    switch (to) {
        case WRITE_OUTPUT: return write_output_port(value);
        // Without an auxiliary interface there is one output buffer, and no mark on what comes out of it.
        case WRITE_KBD_BUFFER:
        case WRITE_AUX_BUFFER: return reply(value);
        case 0: break;
        default: return;  // to a mouse that is not there
    }
    if (keyboard_ == nullptr) return;
    // What is sent to the keyboard enables its line.
    ram_[0] = static_cast<std::uint8_t>(ram_[0] & ~command_byte::KBD_DISABLE);
    keyboard_->receive(value);
    listen();
}

// The keyboard sends while its line is enabled and the last byte has been read.
void I8042::listen() {
    if (keyboard_ == nullptr) return;
    while (!output_full_ && (ram_[0] & command_byte::KBD_DISABLE) == 0) {
        const auto value = keyboard_->send();
        if (!value) return;
        if ((ram_[0] & command_byte::XLATE) == 0) return reply(*value);
        if (*value == break_prefix)
            translates_break_ = true;
        else
            reply(translate_scan_code(*value) | (std::exchange(translates_break_, false) ? released : 0));
    }
}

void I8042::write_output_port(std::uint8_t value) {
    a20_ = value & output_port_bit::A20;
    if (!(value & output_port_bit::NOT_RESET)) reset_();
}

void I8042::write_port_92(std::uint8_t value) {
    a20_ = value & port_92::A20;
    const bool pulse = !port_92_reset_ && (value & port_92::FAST_RESET);
    port_92_reset_ = value & port_92::FAST_RESET;
    if (pulse) reset_();
}

void I8042::reply(std::uint8_t value) {
    // A second reply before the first was read is a new event for the interrupt line.
    irq_.set(false);
    output_buffer_ = value;
    output_full_ = true;
    update_irq();
}

void I8042::update_irq() { irq_.set(output_full_ && (ram_[0] & command_byte::KBD_INT)); }

}  // namespace bulkhead::guest
