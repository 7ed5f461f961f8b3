// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "guest/bus.hpp"
#include "guest/clock.hpp"
#include "guest/line.hpp"
#include "lib/delegate.hpp"

namespace bulkhead::guest {

// ACPI fixed hardware (ACPI specification 4.8.3): the PM1 event and control blocks and the 24-bit power management
// timer. There is no SMI command port, so the machine is always in ACPI mode.
class AcpiPm final : public PortDevice {
  public:
    static constexpr std::uint16_t base = 0x600;
    static constexpr std::uint16_t pm1_event = base, pm1_control = base + 4, pm_timer = base + 8, last = base + 11;
    static constexpr unsigned sci_irq = 9;
    static constexpr unsigned slp_typ_s5 = 0;  // as PIIX4 has it, and what knows QEMU by heart
    static constexpr std::uint64_t timer_hz = 3'579'545;

    AcpiPm(TimerQueue& timers, Delegate<void()> power_off);

    InterruptLine& sci() { return sci_; }
    // As the button of the case would: the guest may shut itself down.
    void press_power_button();
    // The real-time clock's interrupt line changes: its rise is the event RTC_STS.
    void rtc_interrupt(bool level);

    std::uint32_t in(std::uint16_t port, unsigned size) override;
    void out(std::uint16_t port, unsigned size, std::uint32_t value) override;

  private:
    std::uint64_t timer_count() const { return scale(timers_.now(), timer_hz, timers_.hz()); }
    std::uint8_t read(std::uint16_t port);
    void write(std::uint16_t port, std::uint8_t value);
    void write_control(std::uint8_t high);
    void collect_timer_status();
    void timer_fired();
    void update();

    TimerQueue& timers_;
    Delegate<void()> power_off_;
    InterruptLine sci_;
    Timer timer_;
    std::uint16_t status_{}, enable_{}, control_;
    std::uint64_t half_periods_{};  // of the timer, up to which TMR_STS is right
};

}  // namespace bulkhead::guest
