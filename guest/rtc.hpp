// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "guest/bus.hpp"
#include "guest/clock.hpp"
#include "guest/disk_geometry.hpp"
#include "guest/line.hpp"

namespace bulkhead::guest {

// The MC146818 real-time clock and its NVRAM at ports 70h and 71h. Time is computed when it is read; a timer runs only
// while an interrupt is enabled.
class Rtc final : public PortDevice {
  public:
    // `boot_seconds`: UTC since 1970, now.
    Rtc(TimerQueue& timers, std::uint64_t boot_seconds);

    InterruptLine& irq() { return irq_; }

    std::uint32_t in(std::uint16_t port, unsigned size) override;
    void out(std::uint16_t port, unsigned size, std::uint32_t value) override;

    // What firmware leaves in NVRAM: the memory sizes and the processor count, with the checksum over them.
    void describe_machine(std::uint64_t low_memory, std::uint64_t high_memory, unsigned vcpus);
    // And the disks, 0 to 3 in the order of the channels. `geometry` is what the disk itself has.
    void describe_disk(unsigned number, const DiskGeometry& geometry);
    // For firmware: a nibble a place, the first in the lowest; 1 floppy, 2 disk, 3 CD, 4 network, 0 none.
    void set_boot_order(std::uint16_t order);

    std::uint8_t nvram(unsigned index) const { return cells_[index & 0x7f]; }
    void set_nvram(unsigned index, std::uint8_t value) { cells_[index & 0x7f] = value; }
    bool nmi_masked() const { return nmi_masked_; }

  private:
    static constexpr std::uint64_t time_base_hz = 32'768;

    std::uint8_t read(unsigned index);
    void write(unsigned index, std::uint8_t value);
    void write_a(std::uint8_t value);
    void write_b(std::uint8_t value);
    std::uint8_t read_c();

    bool running() const;
    bool updating() const;
    std::uint64_t count_at(Tick tick) const;
    Tick tick_at(std::uint64_t count) const;
    std::uint64_t second_at(Tick tick) const { return base_ + count_at(tick) / time_base_hz; }
    unsigned period_shift() const;

    void store(unsigned index, std::uint64_t value, unsigned bytes);
    void sum_cells();

    void load_time_cells();
    void take_time_from_cells();
    std::uint8_t encode(unsigned value) const;
    unsigned decode(std::uint8_t value) const;
    std::uint8_t encode_hour(unsigned hour) const;
    unsigned decode_hour(std::uint8_t value) const;
    bool alarm_matches(unsigned cell, unsigned value) const;
    std::optional<std::uint64_t> next_alarm(std::uint64_t after) const;

    void collect_events();
    void timer_fired();
    void update();

    TimerQueue& timers_;
    std::array<std::uint8_t, 128> cells_{};
    std::uint8_t index_{};
    bool nmi_masked_{};

    // The divider chain: its count of the 32.768 kHz time base was `phase_` at `origin_`; `base_` is the time, in
    // seconds since 1970, that belongs to count 0. Modulo 2^64: only differences matter.
    Tick origin_;
    std::uint64_t phase_{};
    std::uint64_t base_;
    unsigned weekday_shift_{};  // what the guest's day of the week differs by
    Tick collected_;            // register C holds the events up to here

    InterruptLine irq_;
    Timer timer_;
};

}  // namespace bulkhead::guest
