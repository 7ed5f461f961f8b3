// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>

namespace bulkhead::guest {

// What INIT and start-up IPIs do to one processor (SDM volume 3, 8.4 and 10.6.1). The signals come from the bus at any
// time; the processor obeys them between two instructions, an INIT first. All calls for one guest come one at a time.
class Startup {
  public:
    enum class Order : std::uint8_t {
        none,
        initialize,  // become as after INIT; `waiting` then says whether to go on from there
        start,       // begin in real mode at the start-up vector
    };

    // After power-up the bootstrap processor runs, and an application processor waits for its start-up IPI.
    explicit constexpr Startup(bool bootstrap) : bootstrap_(bootstrap), waiting_(!bootstrap) {}

    // ---- signals

    // A start-up IPI from before does not outlive it.
    constexpr void init() {
        init_pending_ = true;
        vector_.reset();
    }
    // Ignored by a processor that does not wait, or that has been sent one already.
    constexpr void startup(std::uint8_t vector) {
        if ((waiting_ || (init_pending_ && !bootstrap_)) && !vector_) vector_ = vector;
    }

    // ---- the processor

    // Whether `obey` has something to do.
    constexpr bool pending() const { return init_pending_ || vector_.has_value(); }
    // In the wait-for-SIPI state: it executes nothing and takes no interrupt.
    constexpr bool waiting() const { return waiting_; }
    // The next thing to do. An INIT makes an application processor wait, and the bootstrap processor go on at its
    // reset vector.
    constexpr Order obey() {
        if (init_pending_) {
            init_pending_ = false;
            waiting_ = !bootstrap_;
            return Order::initialize;
        }
        if (!vector_) return Order::none;
        started_at_ = *vector_;
        vector_.reset();
        waiting_ = false;
        return Order::start;
    }
    // Of the last `start`: it begins at this page (8.4.3).
    constexpr std::uint8_t vector() const { return started_at_; }

  private:
    bool bootstrap_;
    bool waiting_;
    bool init_pending_{};
    std::optional<std::uint8_t> vector_{};
    std::uint8_t started_at_{};
};

}  // namespace bulkhead::guest
