// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "guest/bus.hpp"
#include "guest/clock.hpp"
#include "lib/delegate.hpp"

namespace bulkhead::guest {

// A high precision event timer block of three timers (IA-PC HPET specification 1.0a). No ACPI table names it: systems
// find better clocks in the processor, and the programs that use this one look at its usual address.
class Hpet final : public MmioDevice {
  public:
    static constexpr GuestPhys base{0xfed0'0000};
    static constexpr std::uint64_t bytes = 0x400;
    static constexpr std::uint64_t hz = 100'000'000;
    static constexpr unsigned timers = 3;

    // Drives input n of the interrupt controllers, as IrqFabric counts them.
    using Input = Delegate<void(unsigned, bool)>;

    Hpet(TimerQueue& queue, Input input);

    // Whether the ISA interrupts 0 and 8 are those of timers 0 and 1, and not the 8254's and the RTC's (2.3.5).
    bool replaces_legacy() const { return (config_ & legacy_route) != 0; }
    // Called when that has changed.
    void on_legacy_change(Delegate<void()> changed) { legacy_changed_ = changed; }

    std::uint64_t read(std::uint64_t offset, unsigned size) override;
    void write(std::uint64_t offset, unsigned size, std::uint64_t value) override;

  private:
    static constexpr std::uint64_t enabled = 1u << 0, legacy_route = 1u << 1;

    struct Comparator {
        std::uint64_t config{}, value{~0ull}, period{};
        std::uint64_t width() const;
        bool periodic() const;
        bool level() const;
    };

    std::uint64_t read_register(std::uint64_t offset);
    void write_register(std::uint64_t offset, std::uint64_t value, std::uint64_t mask);
    void write_config(std::uint64_t value);
    void write_timer(unsigned n, std::uint64_t value, std::uint64_t mask);
    void write_comparator(Comparator& c, std::uint64_t value, std::uint64_t mask);
    void clear_status(std::uint64_t bits);
    std::uint64_t counter() const;
    std::optional<unsigned> input_of(unsigned n) const;
    void assert_level(unsigned n, bool asserted);
    void match(unsigned n, std::uint64_t now);
    std::uint64_t due_in(const Comparator& c, std::uint64_t now) const;
    void catch_up();
    void rearm();

    TimerQueue& queue_;
    Input input_;
    Delegate<void()> legacy_changed_;
    std::uint64_t config_{}, status_{};
    std::uint64_t stopped_at_{};  // the counter while it is off, and what it was at `origin_` while it is on
    Tick origin_{};
    std::uint64_t seen_{};  // matches up to this count have been told
    std::array<Comparator, timers> comparators_;
    Timer timer_;
};

}  // namespace bulkhead::guest
