// SPDX-License-Identifier: Apache-2.0
#include "guest/rtc.hpp"

#include <algorithm>

#include "guest/civil_time.hpp"
#include "lib/address.hpp"

namespace bulkhead::guest {
namespace {

enum Cell : unsigned {
    seconds = 0,
    seconds_alarm = 1,
    minutes = 2,
    minutes_alarm = 3,
    hours = 4,
    hours_alarm = 5,
    weekday = 6,
    day = 7,
    month = 8,
    year = 9,
    reg_a = 10,
    reg_b = 11,
    reg_c = 12,
    reg_d = 13,
    century = 0x32,
};
namespace a {
constexpr std::uint8_t RS = 0x0f, DV = 0x70, UIP = 0x80;
constexpr std::uint8_t DV_32768 = 0x20, DV_RESET = 0x60;  // 11x: the divider is held in reset
}  // namespace a
namespace b {
constexpr std::uint8_t H24 = 0x02, DM = 0x04, UIE = 0x10, AIE = 0x20, PIE = 0x40, SET = 0x80;
}
namespace c {
constexpr std::uint8_t UF = 0x10, AF = 0x20, PF = 0x40, IRQF = 0x80;
}
constexpr std::uint8_t pm = 0x80;         // of the hour in 12-hour mode
constexpr std::uint8_t dont_care = 0xc0;  // an alarm cell with both bits set matches always
constexpr std::uint64_t seconds_per_day = 86'400;

// UIP rises 244 us before an update, which takes 1984 us and ends when the new second shows: in counts of 1/32768 s.
constexpr std::uint64_t uip_counts = (244 + 1984) * 32'768 / 1'000'000;

bool is_time_cell(unsigned index) {
    return index == century ||
           (index <= year && index != seconds_alarm && index != minutes_alarm && index != hours_alarm);
}

}  // namespace

Rtc::Rtc(TimerQueue& timers, std::uint64_t boot_seconds)
    : timers_(timers),
      origin_(timers.now()),
      base_(boot_seconds),
      collected_(timers.now()),
      timer_(timers, Delegate<void()>::to<&Rtc::timer_fired>(this)) {
    cells_[reg_a] = a::DV_32768 | 6;  // 1024 Hz
    cells_[reg_b] = b::H24;
    cells_[reg_d] = 0x80;  // VRT: the battery is good
    load_time_cells();
}

std::uint32_t Rtc::in(std::uint16_t port, unsigned size) {
    return bytewise_in(port, size, [this](std::uint16_t p) -> std::uint8_t {
        return p == 0x71 ? read(index_) : 0xff;  // the index cannot be read back
    });
}

void Rtc::out(std::uint16_t port, unsigned size, std::uint32_t value) {
    bytewise_out(port, size, value, [this](std::uint16_t p, std::uint8_t v) {
        if (p == 0x70) {
            index_ = v & 0x7f;
            nmi_masked_ = v & 0x80;
        } else if (p == 0x71) {
            write(index_, v);
        }
    });
}

std::uint8_t Rtc::read(unsigned index) {
    if (index == reg_c) return read_c();
    if (index == reg_a) return static_cast<std::uint8_t>(cells_[reg_a] | (updating() ? a::UIP : 0));
    if (is_time_cell(index) && running()) load_time_cells();
    return cells_[index];
}

void Rtc::write(unsigned index, std::uint8_t value) {
    if (index == reg_c || index == reg_d) return;
    collect_events();
    if (index == reg_a)
        write_a(value);
    else if (index == reg_b)
        write_b(value);
    else if (is_time_cell(index)) {
        if (running()) load_time_cells();
        cells_[index] = value;
        if (running()) take_time_from_cells();
    } else {
        cells_[index] = value;
    }
    update();
}

// Stopping the divider freezes the time; the first update comes half a second after its release.
void Rtc::write_a(std::uint8_t value) {
    const bool was_running = running();
    if (was_running) load_time_cells();
    const bool was_reset = (cells_[reg_a] & a::DV_RESET) == a::DV_RESET;
    cells_[reg_a] = value & static_cast<std::uint8_t>(~a::UIP);
    if (was_reset && (value & a::DV_RESET) != a::DV_RESET) {
        origin_ = timers_.now();
        phase_ = time_base_hz / 2;
    }
    if (!was_running && running()) take_time_from_cells();
}

// SET stops updates, so that the guest can set the cells, and clears the update-ended interrupt's enable.
void Rtc::write_b(std::uint8_t value) {
    if (running()) load_time_cells();
    cells_[reg_b] = (value & b::SET) ? value & static_cast<std::uint8_t>(~b::UIE) : value;
    if (running()) take_time_from_cells();
}

std::uint8_t Rtc::read_c() {
    collect_events();
    const std::uint8_t value = cells_[reg_c];
    cells_[reg_c] = 0;
    update();
    return value;
}

// ---- the divider chain ----

bool Rtc::running() const { return !(cells_[reg_b] & b::SET) && (cells_[reg_a] & a::DV_RESET) != a::DV_RESET; }

std::uint64_t Rtc::count_at(Tick tick) const { return phase_ + scale(tick - origin_, time_base_hz, timers_.hz()); }
Tick Rtc::tick_at(std::uint64_t count) const { return origin_ + scale_up(count - phase_, timers_.hz(), time_base_hz); }

bool Rtc::updating() const { return running() && count_at(timers_.now()) % time_base_hz >= time_base_hz - uip_counts; }

// The periodic interrupt's period is 2^shift counts; rates 1 and 2 are as 8 and 9.
unsigned Rtc::period_shift() const {
    const unsigned rate = cells_[reg_a] & a::RS;
    return rate <= 2 ? rate + 6 : rate - 1;
}

// ---- the time cells ----

std::uint8_t Rtc::encode(unsigned value) const {
    return static_cast<std::uint8_t>((cells_[reg_b] & b::DM) ? value : value / 10 * 16 + value % 10);
}
unsigned Rtc::decode(std::uint8_t value) const {
    return (cells_[reg_b] & b::DM) ? value : value / 16u * 10 + value % 16u;
}

std::uint8_t Rtc::encode_hour(unsigned hour) const {
    if (cells_[reg_b] & b::H24) return encode(hour);
    return static_cast<std::uint8_t>(encode(hour % 12 == 0 ? 12 : hour % 12) | (hour >= 12 ? pm : 0));
}
unsigned Rtc::decode_hour(std::uint8_t value) const {
    if (cells_[reg_b] & b::H24) return decode(value);
    return decode(value & static_cast<std::uint8_t>(~pm)) % 12 + ((value & pm) ? 12 : 0);
}

void Rtc::load_time_cells() {
    const CivilTime t = civil_from_seconds(second_at(timers_.now()));
    cells_[seconds] = encode(t.second);
    cells_[minutes] = encode(t.minute);
    cells_[hours] = encode_hour(t.hour);
    cells_[weekday] = encode((t.weekday + weekday_shift_) % 7 + 1);
    cells_[day] = encode(t.day);
    cells_[month] = encode(t.month);
    cells_[year] = encode(t.year % 100);
    cells_[century] = encode(t.year / 100);
}

// Values that are no time are brought into range: what the chip counts from them is undefined.
void Rtc::take_time_from_cells() {
    CivilTime t;
    t.second = std::min(decode(cells_[seconds]), 59u);
    t.minute = std::min(decode(cells_[minutes]), 59u);
    t.hour = std::min(decode_hour(cells_[hours]), 23u);
    t.day = std::clamp(decode(cells_[day]), 1u, 31u);
    t.month = std::clamp(decode(cells_[month]), 1u, 12u);
    t.year = std::max(decode(cells_[century]) * 100 + std::min(decode(cells_[year]), 99u), 1970u);
    const std::uint64_t now = seconds_from_civil(t);
    const unsigned computed = static_cast<unsigned>((now / seconds_per_day + 4) % 7);
    weekday_shift_ = (decode(cells_[weekday]) + 6 + 7 - computed) % 7;
    base_ = now - count_at(timers_.now()) / time_base_hz;
}

// ---- interrupts ----

bool Rtc::alarm_matches(unsigned cell, unsigned value) const {
    if ((cells_[cell] & dont_care) == dont_care) return true;
    return cells_[cell] == (cell == hours_alarm ? encode_hour(value) : encode(value));
}

// The first second after `after` at which the alarm goes off.
std::optional<std::uint64_t> Rtc::next_alarm(std::uint64_t after) const {
    const std::uint64_t first = after + 1;
    // 25 hours: the first one may match only before `first`.
    for (unsigned h = 0; h <= 24; ++h) {
        const std::uint64_t hour = first / 3600 + h;
        if (!alarm_matches(hours_alarm, static_cast<unsigned>(hour % 24))) continue;
        for (unsigned m = 0; m < 60; ++m) {
            if (!alarm_matches(minutes_alarm, m)) continue;
            for (unsigned s = 0; s < 60; ++s)
                if (alarm_matches(seconds_alarm, s) && hour * 3600 + m * 60 + s >= first)
                    return hour * 3600 + m * 60 + s;
        }
    }
    return std::nullopt;
}

// Sets in register C what has happened since the last look. The flags rise whether their interrupts are enabled or not.
void Rtc::collect_events() {
    const Tick now = timers_.now();
    const Tick since = std::max(collected_, origin_);
    collected_ = now;
    std::uint8_t flags = 0;
    if ((cells_[reg_a] & a::DV_RESET) == a::DV_RESET) return;
    if ((cells_[reg_a] & a::RS) && count_at(since) >> period_shift() != count_at(now) >> period_shift()) flags |= c::PF;
    if (running() && second_at(since) != second_at(now)) {
        flags |= c::UF;
        const auto alarm = next_alarm(second_at(since));
        if (alarm && *alarm <= second_at(now)) flags |= c::AF;
    }
    cells_[reg_c] |= flags;
}

void Rtc::timer_fired() {
    collect_events();
    update();
}

// IRQF and the line follow the flags; the timer waits for the next one that is enabled and not yet set.
void Rtc::update() {
    constexpr std::uint8_t sources = c::UF | c::AF | c::PF;  // at the same bits as their enables in B
    const bool active = cells_[reg_c] & cells_[reg_b] & sources;
    cells_[reg_c] = static_cast<std::uint8_t>((cells_[reg_c] & sources) | (active ? c::IRQF : 0));
    irq_.set(active);

    const std::uint8_t awaited = cells_[reg_b] & sources & static_cast<std::uint8_t>(~cells_[reg_c]);
    const std::uint64_t count = count_at(timers_.now());
    Tick next = never;
    if ((awaited & b::PIE) && (cells_[reg_a] & a::RS) && (cells_[reg_a] & a::DV_RESET) != a::DV_RESET)
        next = tick_at(((count >> period_shift()) + 1) << period_shift());
    if ((awaited & b::UIE) && running()) next = std::min(next, tick_at((count / time_base_hz + 1) * time_base_hz));
    if ((awaited & b::AIE) && running())
        if (const auto alarm = next_alarm(second_at(timers_.now())))
            next = std::min(next, tick_at((*alarm - base_) * time_base_hz));
    timer_.arm(next);
}

// ---- NVRAM ----

void Rtc::store(unsigned index, std::uint64_t value, unsigned bytes) {
    for (unsigned i = 0; i < bytes; ++i) cells_[index + i] = static_cast<std::uint8_t>(value >> (8 * i));
}

void Rtc::sum_cells() {
    unsigned sum = 0;
    for (unsigned i = 0x10; i <= 0x2d; ++i) sum += cells_[i];
    cells_[0x2e] = static_cast<std::uint8_t>(sum >> 8);
    cells_[0x2f] = static_cast<std::uint8_t>(sum);
}

void Rtc::describe_machine(std::uint64_t low_memory, std::uint64_t high_memory, unsigned vcpus) {
    const auto above = [&](std::uint64_t floor) { return low_memory > floor ? low_memory - floor : 0; };
    const std::uint64_t extended_kib = std::min<std::uint64_t>(above(1 * mib) / kib, 0xffff);
    cells_[0x14] = 0x02;           // equipment: a coprocessor; no display, no floppy
    store(0x15, 640, 2);           // KiB of base memory
    store(0x17, extended_kib, 2);  // KiB above 1 MiB, as set up
    store(0x30, extended_kib, 2);  // ... and as found
    store(0x34, std::min<std::uint64_t>(above(16 * mib) / (64 * kib), 0xffff), 2);
    store(0x5b, high_memory / (64 * kib), 3);  // above 4 GiB; this and the next are what emulators' firmware uses
    cells_[0x5f] = static_cast<std::uint8_t>(vcpus - 1);
    sum_cells();
}

// The first two have a type, 47, and with it their geometry (IBM AT, as extended by BIOSes of the time). Where Bochs and
// QEMU have the translation: two bits a disk, 1 for a disk of more cylinders than INT 13h has by itself.
void Rtc::describe_disk(unsigned number, const DiskGeometry& geometry) {
    constexpr std::uint8_t extended = 0x0f, user_defined = 47;
    constexpr unsigned types = 0x12, extended_types = 0x19, parameters = 0x1b, parameter_bytes = 9, translation = 0x39;
    constexpr unsigned int13_cylinders = 1024;
    if (geometry.cylinders > int13_cylinders) cells_[translation] |= static_cast<std::uint8_t>(1u << (2 * number));
    if (number > 1) return;
    cells_[types] |= static_cast<std::uint8_t>(number == 0 ? extended << 4 : extended);
    cells_[extended_types + number] = user_defined;
    const unsigned at = parameters + parameter_bytes * number;
    store(at, geometry.cylinders, 2);
    store(at + 2, geometry.heads, 1);
    store(at + 3, 0xffff, 2);  // no write precompensation
    store(at + 5, geometry.heads > 8 ? 0xc8 : 0xc0, 1);
    store(at + 6, geometry.cylinders, 2);  // landing zone
    store(at + 8, geometry.sectors, 1);
    sum_cells();
}

// Where Bochs, and after it QEMU, has it; outside the checksum.
void Rtc::set_boot_order(std::uint16_t order) {
    cells_[0x3d] = static_cast<std::uint8_t>(order);
    cells_[0x38] = static_cast<std::uint8_t>(order >> 4 & 0xf0);
}

}  // namespace bulkhead::guest
