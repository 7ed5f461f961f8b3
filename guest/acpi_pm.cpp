// SPDX-License-Identifier: Apache-2.0
#include "guest/acpi_pm.hpp"

namespace bulkhead::guest {
namespace {

// PM1 status and enable (ACPI specification, tables 4-13 and 4-14).
namespace pm1 {
constexpr std::uint16_t TMR = 1u << 0, GBL = 1u << 5, PWRBTN = 1u << 8, RTC = 1u << 10;
constexpr std::uint16_t implemented = TMR | GBL | PWRBTN | RTC;
}  // namespace pm1
// PM1 control (table 4-15).
namespace cnt {
constexpr std::uint16_t SCI_EN = 1u << 0, BM_RLD = 1u << 1, SLP_TYP = 7u << 10, SLP_EN = 1u << 13;
constexpr unsigned slp_typ_shift = 10;
}  // namespace cnt

constexpr std::uint64_t timer_mask = 0xff'ffff;
constexpr unsigned carry_bit = 23;  // TMR_STS rises whenever the most significant bit changes

constexpr std::uint8_t byte_of(std::uint64_t value, unsigned n) { return static_cast<std::uint8_t>(value >> (8 * n)); }

}  // namespace

AcpiPm::AcpiPm(TimerQueue& timers, Delegate<void()> power_off)
    : timers_(timers),
      power_off_(power_off),
      timer_(timers, Delegate<void()>::to<&AcpiPm::timer_fired>(this)),
      control_(cnt::SCI_EN),
      half_periods_(timer_count() >> carry_bit) {}

void AcpiPm::press_power_button() {
    status_ |= pm1::PWRBTN;
    update();
}

void AcpiPm::rtc_interrupt(bool level) {
    if (!level) return;
    status_ |= pm1::RTC;
    update();
}

std::uint32_t AcpiPm::in(std::uint16_t port, unsigned size) {
    if (port == pm_timer && size == 4) [[likely]]
        return static_cast<std::uint32_t>(timer_count() & timer_mask);
    return bytewise_in(port, size, [this](std::uint16_t p) { return read(p); });
}

void AcpiPm::out(std::uint16_t port, unsigned size, std::uint32_t value) {
    bytewise_out(port, size, value, [this](std::uint16_t p, std::uint8_t v) { write(p, v); });
}

std::uint8_t AcpiPm::read(std::uint16_t port) {
    const unsigned offset = port - base;
    collect_timer_status();
    if (offset < 2) return byte_of(status_, offset);
    if (offset < 4) return byte_of(enable_, offset - 2);
    if (offset < 6) return byte_of(control_, offset - 4);
    if (offset < 8) return 0;
    if (port <= last) return byte_of(timer_count() & timer_mask, offset - 8);
    return 0xff;
}

void AcpiPm::write(std::uint16_t port, std::uint8_t value) {
    const unsigned offset = port - base;
    const auto shifted = static_cast<std::uint16_t>(value << (8 * (offset & 1)));
    const auto lane = static_cast<std::uint16_t>(0xff << (8 * (offset & 1)));
    collect_timer_status();
    if (offset < 2)
        status_ = static_cast<std::uint16_t>(status_ & ~shifted);  // a one clears
    else if (offset < 4)
        enable_ = static_cast<std::uint16_t>(((enable_ & ~lane) | shifted) & pm1::implemented);
    else if (offset == 4)
        control_ = static_cast<std::uint16_t>((control_ & ~cnt::BM_RLD) | (value & cnt::BM_RLD));
    else if (offset == 5)
        return write_control(value);
    update();
}

// SLP_EN is write-only; no other sleeping state than S5 is offered.
void AcpiPm::write_control(std::uint8_t high) {
    const auto value = static_cast<std::uint16_t>(high << 8);
    control_ = static_cast<std::uint16_t>((control_ & ~cnt::SLP_TYP) | (value & cnt::SLP_TYP));
    if ((value & cnt::SLP_EN) && (value & cnt::SLP_TYP) >> cnt::slp_typ_shift == slp_typ_s5) power_off_();
}

void AcpiPm::collect_timer_status() {
    const std::uint64_t now = timer_count() >> carry_bit;
    if (now != half_periods_) status_ |= pm1::TMR;
    half_periods_ = now;
}

void AcpiPm::timer_fired() {
    collect_timer_status();
    update();
}

void AcpiPm::update() {
    sci_.set(status_ & enable_);
    if ((enable_ & pm1::TMR) && !(status_ & pm1::TMR))
        timer_.arm(scale_up((half_periods_ + 1) << carry_bit, timers_.hz(), timer_hz));
    else
        timer_.disarm();
}

}  // namespace bulkhead::guest
