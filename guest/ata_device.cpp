// SPDX-License-Identifier: Apache-2.0
#include "guest/ata_device.hpp"

#include <algorithm>

namespace bulkhead::guest {
namespace {

using namespace ata;

// Power modes as CHECK POWER MODE tells them (ATA/ATAPI-6, 8.6).
constexpr std::uint8_t standby = 0x00, idle = 0x80, active = 0xff;

// SET FEATURES (8.46).
namespace feature {
constexpr std::uint8_t write_cache_on = 0x02, transfer_mode = 0x03, look_ahead_off = 0x55, keep_settings = 0x66,
                       write_cache_off = 0x82, look_ahead_on = 0xaa, revert_settings = 0xcc;
constexpr std::uint8_t pio_default = 0x00, pio_default_no_iordy = 0x01, pio_mode_0 = 0x08, pio_mode_4 = 0x0c;
}  // namespace feature

}  // namespace

std::uint8_t AtaDevice::read(AtaRegister reg, bool high_order) const {
    const auto of = [&](const TwoDeep& r) { return high_order ? r.before : r.now; };
    switch (reg) {
        case AtaRegister::features: return error_;
        case AtaRegister::count: return of(count_);
        case AtaRegister::lba_low: return of(lba_low_);
        case AtaRegister::lba_mid: return of(lba_mid_);
        case AtaRegister::lba_high: return of(lba_high_);
        case AtaRegister::device: return device_;
        case AtaRegister::command: return status_;
        case AtaRegister::data: break;
    }
    return 0;
}

void AtaDevice::write(AtaRegister reg, std::uint8_t value) {
    if ((status_ & status::BSY) != 0) return;
    switch (reg) {
        case AtaRegister::features: features_ = value; break;
        case AtaRegister::count: count_.push(value); break;
        case AtaRegister::lba_low: lba_low_.push(value); break;
        case AtaRegister::lba_mid: lba_mid_.push(value); break;
        case AtaRegister::lba_high: lba_high_.push(value); break;
        case AtaRegister::device: device_ = value; break;
        case AtaRegister::data:
        case AtaRegister::command: break;
    }
}

// A command ends what went on before.
void AtaDevice::command(std::uint8_t value) {
    if ((status_ & status::BSY) != 0) return;
    interrupt_pending_ = false;
    direction_ = Direction::none;
    error_ = 0;
    status_ = idle_status();
    if (!execute_common(value)) execute(value);
}

void AtaDevice::hold_in_reset() {
    direction_ = Direction::none;
    interrupt_pending_ = false;
    status_ = status::BSY;
}

void AtaDevice::reset() {
    direction_ = Direction::none;
    interrupt_pending_ = false;
    if (!keeps_settings_) {
        write_cache_ = look_ahead_ = true;
        revert();
    }
    power_mode_ = active;
    features_ = 0;
    set_signature();
    error_ = error::passed;
}

void AtaDevice::complete() {
    complete_silently();
    interrupt_pending_ = true;
}

void AtaDevice::complete_silently() {
    direction_ = Direction::none;
    status_ = idle_status();
}

void AtaDevice::fail(std::uint8_t error_bits) {
    direction_ = Direction::none;
    error_ = error_bits;
    status_ = idle_status() | status::ERR;
    interrupt_pending_ = true;
}

// ---- data ----

void AtaDevice::start_block(Direction direction, unsigned bytes) {
    power_mode_ = active;
    direction_ = direction;
    block_left_ = bytes;
    status_ = idle_status() | status::DRQ;
}

std::uint16_t AtaDevice::read_data() {
    if (direction_ != Direction::to_host) return 0;
    const unsigned low = std::to_integer<unsigned>(buffer_[position_]);
    const unsigned high = position_ + 1 < in_buffer_ ? std::to_integer<unsigned>(buffer_[position_ + 1]) : 0;
    advance();
    return static_cast<std::uint16_t>(high << 8 | low);
}

void AtaDevice::write_data(std::uint16_t value) {
    if (direction_ != Direction::to_device) return;
    buffer_[position_] = static_cast<std::byte>(value);
    buffer_[position_ + 1] = static_cast<std::byte>(value >> 8);
    advance();
}

// An odd block has a byte more that does not count.
void AtaDevice::advance() {
    position_ += 2;
    block_left_ -= std::min(block_left_, 2u);
    if (buffer_used_up() && (direction_ == Direction::to_device || block_left_ != 0)) buffer_passed();
    if (direction_ != Direction::none && block_left_ == 0) block_passed();
}

// ---- commands ----

bool AtaDevice::execute_common(std::uint8_t value) {
    switch (value) {
        case command::NOP: abort(); return true;
        case command::STANDBY_IMMEDIATE:
        case command::STANDBY:
        case command::SLEEP: power_mode_ = standby; break;
        case command::IDLE_IMMEDIATE:
        case command::IDLE: power_mode_ = idle; break;
        case command::CHECK_POWER_MODE: count_.now = power_mode_; break;
        case command::FLUSH_CACHE: break;
        case command::SET_FEATURES: set_features(); return true;
        default: return false;
    }
    complete();
    return true;
}

// There is no DMA: only the transfer modes of PIO are taken.
void AtaDevice::set_features() {
    const std::uint8_t mode = count_.now;
    switch (features_) {
        case feature::transfer_mode:
            if (mode != feature::pio_default && mode != feature::pio_default_no_iordy &&
                (mode < feature::pio_mode_0 || mode > feature::pio_mode_4))
                return abort();
            break;
        case feature::write_cache_on:
        case feature::write_cache_off: write_cache_ = features_ == feature::write_cache_on; break;
        case feature::look_ahead_on:
        case feature::look_ahead_off: look_ahead_ = features_ == feature::look_ahead_on; break;
        case feature::keep_settings:
        case feature::revert_settings: keeps_settings_ = features_ == feature::keep_settings; break;
        default: return abort();
    }
    complete();
}

// ---- IDENTIFY ----

void AtaDevice::set_word(unsigned number, unsigned value) {
    buffer_[2 * number] = static_cast<std::byte>(value);
    buffer_[2 * number + 1] = static_cast<std::byte>(value >> 8);
}

void AtaDevice::set_text(unsigned first, unsigned words, std::string_view text) {
    const auto character = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned>(text[i]) : ' '; };
    for (unsigned i = 0; i < words; ++i) set_word(first + i, character(2 * i) << 8 | character(2 * i + 1));
}

// IORDY and PIO up to mode 4, and no DMA: words 49, 62, 63 and 88 say so by their zeros.
void AtaDevice::set_common_identity(unsigned drive) {
    const char serial[] = {'B', 'H', '0', static_cast<char>('1' + drive)};
    set_text(10, 10, {serial, sizeof serial});
    set_text(23, 4, "1.0");
    set_word(49, 1u << 11 | 1u << 9);  // IORDY, LBA
    set_word(50, 1u << 14);
    set_word(64, 0x0003);                                  // PIO modes 3 and 4
    for (unsigned i = 67; i <= 68; ++i) set_word(i, 120);  // ns a cycle
    set_word(80, 0x007e);                                  // ATA-1 to ATA/ATAPI-6
}

}  // namespace bulkhead::guest
