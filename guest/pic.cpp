// SPDX-License-Identifier: Apache-2.0
#include "guest/pic.hpp"

#include <bit>

// After Intel's 8259A data sheet (order 231468).
namespace bulkhead::guest {
namespace {

constexpr unsigned cascade_input = 2;
constexpr unsigned spurious_input = 7;

constexpr std::uint8_t bit(unsigned n) { return static_cast<std::uint8_t>(1u << n); }

enum Port : std::uint16_t {
    MASTER = 0x20,
    SLAVE = 0xa0,
    ELCR_MASTER = 0x4d0,
    ELCR_SLAVE = 0x4d1,
};

// How ICW1, OCW2 and OCW3 are told apart at A0 = 0.
constexpr std::uint8_t is_icw1 = 1u << 4, is_ocw3 = 1u << 3;

}  // namespace

// ---- requests and priorities

// An edge request lives as long as its input is high; a level request is the input.
std::uint8_t Pic::irr() const {
    return static_cast<std::uint8_t>((latched_ & ~level_triggered_) | (inputs_ & level_triggered_));
}

void Pic::set_input(unsigned input, bool level) {
    const std::uint8_t b = bit(input);
    if (level && (inputs_ & b) == 0) latched_ |= b;
    if (!level) latched_ = static_cast<std::uint8_t>(latched_ & ~b);
    inputs_ = static_cast<std::uint8_t>(level ? inputs_ | b : inputs_ & ~b);
    if (pending()) interrupt_ = true;
}

// Bit 0 of the result has the highest priority.
std::uint8_t Pic::rotated(std::uint8_t requests) const { return std::rotr(requests, first_); }

std::optional<unsigned> Pic::highest(std::uint8_t requests) const {
    if (requests == 0) return std::nullopt;
    return (static_cast<unsigned>(std::countr_zero(rotated(requests))) + first_) & 7;
}

std::optional<unsigned> Pic::pending() const {
    if (expect_ != Expect::icw1) return std::nullopt;
    const auto requests = static_cast<std::uint8_t>(irr() & ~imr_);
    if (requests == 0) return std::nullopt;
    // What is in service and masked holds back nothing in special mask mode.
    const auto in_service = static_cast<std::uint8_t>(special_mask_ ? isr_ & ~imr_ : isr_);
    const auto request = highest(requests), service = highest(in_service);
    if (!service || std::countr_zero(rotated(requests)) < std::countr_zero(rotated(in_service))) return request;
    // In special fully nested mode the slave asks again while it is in service: it knows its priorities.
    if (special_fully_nested_ && master_ && request == cascade_input && service == cascade_input) return request;
    return std::nullopt;
}

std::optional<unsigned> Pic::acknowledge() {
    const auto input = pending();
    if (!input) {
        interrupt_ = false;
        return std::nullopt;
    }
    latched_ = static_cast<std::uint8_t>(latched_ & ~bit(*input));
    if (!auto_eoi_)
        isr_ |= bit(*input);
    else if (rotate_on_auto_eoi_)
        first_ = static_cast<std::uint8_t>((*input + 1) & 7);
    resolve();
    return input;
}

// ---- registers

std::uint8_t Pic::read(unsigned a0) {
    if (poll_) {
        poll_ = false;
        const auto input = acknowledge();
        return input ? static_cast<std::uint8_t>(0x80 | *input) : 0;
    }
    if (a0 != 0) return imr_;
    return read_isr_ ? isr_ : irr();
}

void Pic::write(unsigned a0, std::uint8_t value) {
    if (a0 != 0)
        write_icw_or_mask(value);
    else if ((value & is_icw1) != 0)
        write_icw1(value);
    else if ((value & is_ocw3) != 0)
        write_ocw3(value);
    else
        write_ocw2(value);
    resolve();
}

// The edge sense is reset: an input that is high now has to fall before it can ask again. The trigger mode of bit 3 is
// ELCR's business on a PC.
void Pic::write_icw1(std::uint8_t value) {
    latched_ = isr_ = imr_ = 0;
    first_ = 0;
    special_mask_ = special_fully_nested_ = auto_eoi_ = rotate_on_auto_eoi_ = false;
    read_isr_ = poll_ = false;
    single_ = (value & 2) != 0;
    needs_icw4_ = (value & 1) != 0;
    expect_ = Expect::icw2;
}

void Pic::write_icw_or_mask(std::uint8_t value) {
    switch (expect_) {
        case Expect::icw1: imr_ = value; break;
        case Expect::icw2:
            base_ = value & 0xf8;
            if (!single_)
                expect_ = Expect::icw3;
            else
                expect_ = needs_icw4_ ? Expect::icw4 : Expect::icw1;
            break;
        case Expect::icw3:  // the wiring is what it is
            expect_ = needs_icw4_ ? Expect::icw4 : Expect::icw1;
            break;
        case Expect::icw4:
            auto_eoi_ = (value & 2) != 0;
            special_fully_nested_ = (value & 0x10) != 0;
            expect_ = Expect::icw1;
            break;
    }
}

void Pic::end(unsigned input, bool rotate) {
    isr_ = static_cast<std::uint8_t>(isr_ & ~bit(input));
    if (rotate) first_ = static_cast<std::uint8_t>((input + 1) & 7);
}

// A level that is in service and masked is not found in special mask mode.
void Pic::end_non_specific(bool rotate) {
    const auto candidates = static_cast<std::uint8_t>(special_mask_ ? isr_ & ~imr_ : isr_);
    if (const auto input = highest(candidates)) end(*input, rotate);
}

// The bits R, SL and EOI.
void Pic::write_ocw2(std::uint8_t value) {
    const unsigned input = value & 7;
    switch (value >> 5) {
        case 0b000: rotate_on_auto_eoi_ = false; break;
        case 0b100: rotate_on_auto_eoi_ = true; break;
        case 0b001: end_non_specific(false); break;
        case 0b101: end_non_specific(true); break;
        case 0b011: end(input, false); break;
        case 0b111: end(input, true); break;
        case 0b110: first_ = static_cast<std::uint8_t>((input + 1) & 7); break;
        default: break;
    }
}

void Pic::write_ocw3(std::uint8_t value) {
    if ((value & 0x40) != 0) special_mask_ = (value & 0x20) != 0;
    if ((value & 4) != 0) poll_ = true;
    if ((value & 2) != 0) read_isr_ = (value & 1) != 0;
}

void Pic::write_elcr(std::uint8_t value) {
    level_triggered_ = static_cast<std::uint8_t>(value & ~edge_only_);
    resolve();
}

// ---- the pair

void PicPair::reset() {
    constexpr std::uint8_t cascaded_with_icw4 = is_icw1 | 1, mode_8086 = 1;
    for (Pic* const pic : {&master_, &slave_}) {
        const bool master = pic == &master_;
        pic->write(0, cascaded_with_icw4);
        pic->write(1, master ? 0x08 : 0x70);
        pic->write(1, master ? bit(cascade_input) : cascade_input);
        pic->write(1, mode_8086);
        pic->write(1, 0xff);
        pic->write_elcr(master ? 0x00 : 0x02);
    }
    update();
    if (mask_changed_) mask_changed_();
}

void PicPair::update() {
    master_.set_input(cascade_input, slave_.interrupt());
    intr_.set(master_.interrupt());
}

void PicPair::set_irq(unsigned irq, bool level) {
    if (irq == cascade_input) return;
    if (irq < 8)
        master_.set_input(irq, level);
    else
        slave_.set_input(irq - 8, level);
    update();
}

bool PicPair::masked(unsigned irq) const {
    if (irq < 8) return (master_.imr() >> irq & 1) != 0;
    return (slave_.imr() >> (irq - 8) & 1) != 0 || (master_.imr() >> cascade_input & 1) != 0;
}

// INT goes low in an acknowledge cycle and rises again for the next request, so that who senses edges sees one.
void PicPair::end_cycle(const Pic& pic) {
    if (&pic == &slave_)
        master_.set_input(cascade_input, false);
    else
        intr_.set(false);
    update();
}

std::uint8_t PicPair::acknowledge() {
    const auto input = master_.acknowledge();
    std::uint8_t vector = master_.vector(input.value_or(spurious_input));
    if (input == cascade_input) {
        vector = slave_.vector(slave_.acknowledge().value_or(spurious_input));
        master_.set_input(cascade_input, false);
    }
    end_cycle(master_);
    return vector;
}

// Of the four ports; null where the bytes of a wide access lie behind them.
Pic* PicPair::chip(std::uint16_t port) {
    switch (port & ~1u) {
        case MASTER: return &master_;
        case SLAVE: return &slave_;
        default: return nullptr;
    }
}

std::uint8_t PicPair::read(std::uint16_t port) {
    if (port == ELCR_MASTER) return master_.elcr();
    if (port == ELCR_SLAVE) return slave_.elcr();
    Pic* const pic = chip(port);
    if (pic == nullptr) return 0xff;
    const bool poll = pic->is_polled();
    const std::uint8_t value = pic->read(port & 1u);
    if (poll) end_cycle(*pic);
    return value;
}

void PicPair::write(std::uint16_t port, std::uint8_t value) {
    const unsigned before = masks();
    if (port == ELCR_MASTER)
        master_.write_elcr(value);
    else if (port == ELCR_SLAVE)
        slave_.write_elcr(value);
    else if (Pic* const pic = chip(port))
        pic->write(port & 1u, value);
    update();
    if (mask_changed_ && masks() != before) mask_changed_();
}

std::uint32_t PicPair::in(std::uint16_t port, unsigned size) {
    return bytewise_in(port, size, [this](std::uint16_t p) { return read(p); });
}

void PicPair::out(std::uint16_t port, unsigned size, std::uint32_t value) {
    bytewise_out(port, size, value, [this](std::uint16_t p, std::uint8_t v) { write(p, v); });
}

}  // namespace bulkhead::guest
