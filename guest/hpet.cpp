// SPDX-License-Identifier: Apache-2.0
#include "guest/hpet.hpp"

#include <algorithm>
#include <limits>

namespace bulkhead::guest {
namespace {

// Registers by their offset (specification, table 1).
enum Register : std::uint64_t { capabilities = 0x000, config = 0x010, status = 0x020, main_counter = 0x0f0 };
constexpr std::uint64_t first_timer = 0x100, timer_stride = 0x20;
enum TimerRegister : std::uint64_t { timer_config = 0x00, comparator = 0x08 };

// Intel's, of revision 1, three timers, a 64-bit counter, and the legacy replacement route; the period in femtoseconds.
constexpr std::uint64_t capability_bits = 0x8086'a001 | (Hpet::timers - 1) << 8 | 1ull << 13 |
                                          (1'000'000'000'000'000 / Hpet::hz) << 32;

// Timer configuration.
constexpr std::uint64_t level_triggered = 1u << 1, interrupt_enabled = 1u << 2, is_periodic = 1u << 3,
                        can_be_periodic = 1u << 4, is_64_bits = 1u << 5, value_set = 1u << 6, narrow = 1u << 8;
constexpr unsigned route_shift = 9;
constexpr std::uint64_t route_mask = 0x1full << route_shift;
constexpr std::uint64_t timer_writable = level_triggered | interrupt_enabled | is_periodic | value_set | narrow |
                                         route_mask;
// The pins of the I/O APIC that no ISA interrupt has. They idle high, as those of PCI do.
constexpr unsigned first_pin = 16;
constexpr std::uint64_t routes = 0x00ff'0000;
constexpr std::uint64_t timer_constant = can_be_periodic | is_64_bits | routes << 32;

constexpr unsigned route_of(std::uint64_t timer) { return static_cast<unsigned>((timer & route_mask) >> route_shift); }

// 20 us: what matches more often is told once.
constexpr std::uint64_t shortest_interval = Hpet::hz / 50'000;
constexpr std::uint64_t no_match = std::numeric_limits<std::uint64_t>::max();

}  // namespace

std::uint64_t Hpet::Comparator::width() const { return (config & narrow) != 0 ? 0xffff'ffff : ~0ull; }
bool Hpet::Comparator::periodic() const { return (config & is_periodic) != 0 && (period & width()) != 0; }
bool Hpet::Comparator::level() const { return (config & level_triggered) != 0; }

Hpet::Hpet(TimerQueue& queue, Input input)
    : queue_(queue), input_(input), timer_(queue, Delegate<void()>::to<&Hpet::catch_up>(this)) {}

std::uint64_t Hpet::counter() const {
    if ((config_ & enabled) == 0) return stopped_at_;
    return stopped_at_ + scale(queue_.now() - origin_, hz, queue_.hz());
}

// Nothing: before it was given one.
std::optional<unsigned> Hpet::input_of(unsigned n) const {
    if (replaces_legacy() && n < 2) return n == 0 ? 0 : 8;
    const unsigned pin = route_of(comparators_[n].config);
    return pin >= first_pin ? std::optional{pin} : std::nullopt;
}

void Hpet::assert_level(unsigned n, bool asserted) {
    if (const auto input = input_of(n)) input_(*input, asserted == (*input < first_pin));
}

// An edge is a rise, whichever way the pin idles; a level stays until its status bit is cleared.
void Hpet::match(unsigned n, std::uint64_t now) {
    Comparator& c = comparators_[n];
    if (c.periodic()) {
        const std::uint64_t period = c.period & c.width();
        const std::uint64_t late = (now - c.value) & c.width();
        c.value = (c.value + (late / period + 1) * period) & c.width();
    }
    if (c.level()) status_ |= 1u << n;
    if ((c.config & interrupt_enabled) == 0) return;
    if (c.level()) return assert_level(n, true);
    if (const auto input = input_of(n)) {
        input_(*input, false);
        input_(*input, true);
    }
}

// Counts until the next match after `now`, which may be as far away as the counter is wide.
std::uint64_t Hpet::due_in(const Comparator& c, std::uint64_t now) const {
    const std::uint64_t distance = (c.value - now) & c.width();
    if (distance != 0) return distance;
    return c.width() == no_match ? no_match : c.width() + 1;
}

// Tells what has matched since it was called last.
void Hpet::catch_up() {
    if ((config_ & enabled) != 0) {
        const std::uint64_t now = counter(), gone = now - seen_;
        for (unsigned n = 0; n < timers; ++n)
            if (due_in(comparators_[n], seen_) <= gone) match(n, now);
        seen_ = now;
    }
    rearm();
}

void Hpet::rearm() {
    std::uint64_t next = no_match;
    const std::uint64_t now = counter();
    for (const Comparator& c : comparators_) {
        if ((config_ & enabled) == 0 || (c.config & interrupt_enabled) == 0) continue;
        std::uint64_t due = due_in(c, now);
        if (c.periodic()) due = std::max(due, shortest_interval);
        next = std::min(next, due);
    }
    // Years away is never.
    if (next > hz << 28) return timer_.disarm();
    timer_.arm(origin_ + scale_up(now - stopped_at_ + next, queue_.hz(), hz));
}

std::uint64_t Hpet::read_register(std::uint64_t offset) {
    switch (offset) {
        case capabilities: return capability_bits;
        case config: return config_;
        case status: catch_up(); return status_;
        case main_counter: return counter();
        default: break;
    }
    const std::uint64_t n = (offset - first_timer) / timer_stride;
    if (offset < first_timer || n >= timers) return 0;
    catch_up();
    switch ((offset - first_timer) % timer_stride) {
        case timer_config: return comparators_[n].config | timer_constant;
        case comparator: return comparators_[n].value & comparators_[n].width();
        default: return 0;  // no messages on the front side bus
    }
}

void Hpet::write_config(std::uint64_t value) {
    const std::uint64_t changed = (value ^ config_) & (enabled | legacy_route);
    if ((changed & enabled) != 0) {
        stopped_at_ = seen_ = counter();
        origin_ = queue_.now();
    }
    config_ ^= changed;
    if ((changed & legacy_route) != 0 && legacy_changed_) legacy_changed_();
}

void Hpet::clear_status(std::uint64_t bits) {
    for (unsigned n = 0; n < timers; ++n)
        if ((bits & status_ & 1u << n) != 0) {
            status_ &= ~(1ull << n);
            assert_level(n, false);
        }
}

// A level that is no longer wanted, or that would come by another pin, ends first. A route that is not offered is not
// taken (2.3.8).
void Hpet::write_timer(unsigned n, std::uint64_t value, std::uint64_t mask) {
    mask &= timer_writable;
    if ((routes >> route_of(value) & 1) == 0) mask &= ~route_mask;
    Comparator& c = comparators_[n];
    const std::uint64_t next = (c.config & ~mask) | (value & mask);
    if ((status_ & 1u << n) != 0 && ((next ^ c.config) & (level_triggered | interrupt_enabled | route_mask)) != 0)
        assert_level(n, false);
    c.config = next;
    if (!c.level()) status_ &= ~(1ull << n);
    if ((status_ & 1u << n) != 0 && (c.config & interrupt_enabled) != 0) assert_level(n, true);
}

// 2.3.9.2.2: of a periodic timer the period is written, and the comparator only after VAL_SET.
void Hpet::write_comparator(Comparator& c, std::uint64_t value, std::uint64_t mask) {
    const bool periodic = (c.config & is_periodic) != 0;
    if (!periodic || (c.config & value_set) != 0) c.value = (c.value & ~mask) | (value & mask);
    if (periodic) c.period = (c.period & ~mask) | (value & mask);
    c.config &= ~value_set;
}

void Hpet::write_register(std::uint64_t offset, std::uint64_t value, std::uint64_t mask) {
    catch_up();
    const std::uint64_t n = (offset - first_timer) / timer_stride;
    if (offset == config) {
        write_config((config_ & ~mask) | (value & mask));
    } else if (offset == status) {
        clear_status(value & mask);
    } else if (offset == main_counter) {
        stopped_at_ = seen_ = (counter() & ~mask) | (value & mask);
        origin_ = queue_.now();
    } else if (offset >= first_timer && n < timers) {
        const std::uint64_t at = (offset - first_timer) % timer_stride;
        if (at == timer_config) write_timer(static_cast<unsigned>(n), value, mask);
        if (at == comparator) write_comparator(comparators_[n], value, mask);
    }
    rearm();
}

// Registers are accessed in 4 or 8 bytes (2.3.1).
std::uint64_t Hpet::read(std::uint64_t offset, unsigned size) {
    const std::uint64_t value = read_register(offset & ~7ull) >> 8 * (offset & 7);
    return size == 8 ? value : value & ((1ull << 8 * size) - 1);
}

void Hpet::write(std::uint64_t offset, unsigned size, std::uint64_t value) {
    if (size < 4) return;
    const unsigned shift = 8 * (offset & 7);
    const std::uint64_t mask = size == 8 ? ~0ull : 0xffff'ffffull;
    write_register(offset & ~7ull, value << shift, mask << shift);
}

}  // namespace bulkhead::guest
