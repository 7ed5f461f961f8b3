// SPDX-License-Identifier: Apache-2.0
#include "guest/pic.hpp"

namespace bulkhead::guest {
namespace {

constexpr unsigned cascade = 2;
constexpr unsigned spurious = 7;
// IRQ 0, 1, 2, 8 and 13 are edge-triggered by their nature (82371AB 4.2.6).
constexpr std::uint8_t elcr_master = 0xf8, elcr_slave = 0xde;

constexpr std::uint8_t bit(unsigned n) { return static_cast<std::uint8_t>(1u << n); }

}  // namespace

// ---- one chip

// In order of priority, from the input behind the lowest one on.
std::optional<unsigned> Pic::Chip::highest(std::uint8_t bits) const {
    for (unsigned i = 1; i <= 8; ++i)
        if (const unsigned n = (lowest + i) & 7; (bits >> n & 1) != 0) return n;
    return std::nullopt;
}

void Pic::Chip::set_line(unsigned n, bool level) {
    const bool rises = level && (lines >> n & 1) == 0;
    lines = static_cast<std::uint8_t>((lines & ~bit(n)) | (level ? bit(n) : 0));
    // The request of an edge-triggered input is gone when its line falls before the acknowledge.
    if (rises)
        irr |= bit(n);
    else if (!level)
        irr &= static_cast<std::uint8_t>(~bit(n));
}

std::uint8_t Pic::Chip::requests() const {
    std::uint8_t levels = 0;
    for (unsigned n = 0; n < 8; ++n)
        if (is_level(n)) levels |= bit(n);
    return static_cast<std::uint8_t>(((irr & ~levels) | (lines & levels)));
}

std::optional<unsigned> Pic::Chip::pending() const {
    if (init_step != 0) return std::nullopt;
    const auto request = highest(static_cast<std::uint8_t>(requests() & ~imr));
    if (!request) return std::nullopt;
    // In special mask mode an input in service holds back only itself, and not even that when it is masked.
    const std::uint8_t holding = special_mask ? static_cast<std::uint8_t>(isr & bit(*request)) : isr;
    const auto service = highest(holding);
    if (!service) return request;
    const unsigned rank_request = (*request - lowest - 1u) & 7, rank_service = (*service - lowest - 1u) & 7;
    if (rank_request < rank_service) return request;
    // Special fully nested mode: the slave may ask again while its input is in service.
    if (special_nested && !is_slave && *request == cascade && *service == cascade) return request;
    return std::nullopt;
}

unsigned Pic::Chip::acknowledge(unsigned n) {
    if (!is_level(n)) irr &= static_cast<std::uint8_t>(~bit(n));
    if (!auto_eoi)
        isr |= bit(n);
    else if (rotate_on_auto_eoi)
        lowest = static_cast<std::uint8_t>(n);
    return n;
}

void Pic::Chip::write_command(std::uint8_t value) {
    if ((value & 0x10) != 0) {  // ICW1
        const Chip before = *this;
        *this = Chip{};
        lines = before.lines;
        level_triggered = before.level_triggered;
        is_slave = before.is_slave;
        imr = 0;
        ltim = (value & 0x08) != 0;
        single = (value & 0x02) != 0;
        needs_icw4 = (value & 0x01) != 0;
        init_step = 2;
        return;
    }
    if ((value & 0x08) == 0) {
        ocw2(value);
        return;
    }
    // OCW3
    if ((value & 0x40) != 0) special_mask = (value & 0x20) != 0;
    if ((value & 0x04) != 0) poll = true;
    if ((value & 0x02) != 0) read_isr = (value & 0x01) != 0;
}

void Pic::Chip::ocw2(std::uint8_t value) {
    const bool rotate = (value & 0x80) != 0, specific = (value & 0x40) != 0, eoi = (value & 0x20) != 0;
    const unsigned level = value & 7;
    if (eoi) {
        // In special mask mode a non-specific EOI passes over inputs that are masked.
        const auto candidates = special_mask ? static_cast<std::uint8_t>(isr & ~imr) : isr;
        const auto ended = specific ? std::optional<unsigned>{level} : highest(candidates);
        if (!ended) return;
        end(*ended);
        if (rotate) lowest = static_cast<std::uint8_t>(*ended);
    } else if (specific) {
        if (rotate) lowest = static_cast<std::uint8_t>(level);  // set priority; else no operation
    } else {
        rotate_on_auto_eoi = rotate;
    }
}

void Pic::Chip::write_data(std::uint8_t value) {
    switch (init_step) {
        case 2:
            vector_base = value & 0xf8;
            init_step = single ? (needs_icw4 ? 4 : 0) : 3;
            return;
        case 3:  // ICW3: the wiring, which is fixed
            init_step = needs_icw4 ? 4 : 0;
            return;
        case 4:
            auto_eoi = (value & 0x02) != 0;
            special_nested = (value & 0x10) != 0;
            init_step = 0;
            return;
        default: imr = value;  // OCW1
    }
}

// ---- the pair

Pic::Pic() { slave_.is_slave = true; }

void Pic::set_irq(unsigned irq, bool level) {
    (irq < 8 ? master_ : slave_).set_line(irq & 7, level);
    update();
}

void Pic::update() {
    master_.set_line(cascade, slave_.pending().has_value());
    intr_.set(master_.pending().has_value());
}

std::uint8_t Pic::acknowledge() {
    const auto input = master_.pending();
    std::uint8_t vector;
    if (!input) {
        vector = static_cast<std::uint8_t>(master_.vector_base | spurious);
    } else if (master_.acknowledge(*input) != cascade) {
        vector = static_cast<std::uint8_t>(master_.vector_base | *input);
    } else if (const auto behind = slave_.pending()) {
        vector = static_cast<std::uint8_t>(slave_.vector_base | slave_.acknowledge(*behind));
    } else {
        vector = static_cast<std::uint8_t>(slave_.vector_base | spurious);
    }
    // The INTR output falls for a moment with each acknowledge, so that a request which is left is an edge of its own.
    intr_.set(false);
    update();
    return vector;
}

std::uint8_t Pic::read_poll(Chip& chip) {
    chip.poll = false;
    const auto input = chip.pending();
    if (!input) return 0;
    chip.acknowledge(*input);
    update();
    return static_cast<std::uint8_t>(0x80 | *input);
}

std::uint8_t Pic::read(std::uint16_t port) {
    if (port == 0x4d0) return master_.level_triggered;
    if (port == 0x4d1) return slave_.level_triggered;
    Chip& chip = port < 0x80 ? master_ : slave_;
    if (chip.poll) return read_poll(chip);
    if ((port & 1) != 0) return chip.imr;
    return chip.read_isr ? chip.isr : chip.requests();
}

void Pic::write(std::uint16_t port, std::uint8_t value) {
    if (port == 0x4d0)
        master_.level_triggered = value & elcr_master;
    else if (port == 0x4d1)
        slave_.level_triggered = value & elcr_slave;
    else if (Chip& chip = port < 0x80 ? master_ : slave_; (port & 1) != 0)
        chip.write_data(value);
    else
        chip.write_command(value);
    update();
}

std::uint32_t Pic::in(std::uint16_t port, unsigned size) {
    return bytewise_in(port, size, [&](std::uint16_t p) { return read(p); });
}

void Pic::out(std::uint16_t port, unsigned size, std::uint32_t value) {
    bytewise_out(port, size, value, [&](std::uint16_t p, std::uint8_t byte) { write(p, byte); });
}

}  // namespace bulkhead::guest
