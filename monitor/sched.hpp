// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "guest/clock.hpp"

// Who runs next on a CPU: policy only. It enters nothing, reads no clock and locks nothing.
namespace bulkhead::monitor {

using guest::Tick;

class RunQueue;

// What is scheduled: a vCPU has one. It belongs to one run queue at a time. The siblings of one are those of its group.
class Entity {
  public:
    Entity() = default;
    Entity(const Entity&) = delete;
    Entity& operator=(const Entity&) = delete;

    explicit Entity(const void* group) : group_(group) {}

    bool runnable() const { return state_ == State::queued || state_ == State::running; }
    // All that it ever ran.
    Tick ran() const { return ran_; }

  private:
    friend class RunQueue;
    enum class State : std::uint8_t { detached, blocked, queued, running };

    const void* const group_{};
    State state_{State::detached};
    Tick virtual_time_{};
    Tick ran_{};
    Entity* next_{};
};

// The entities of one CPU. Each advances in virtual time as it runs; the one that is furthest behind runs next, so that
// all get equal shares. One that slept does not collect what it missed: it comes back at most `credit` behind the
// others, which is enough to run at once. Called by its own CPU only; a wake from elsewhere goes through that CPU's
// mailbox.
class RunQueue {
  public:
    // Within `latency` every runnable entity runs once, unless their slices would become shorter than `shortest`.
    constexpr RunQueue(Tick latency, Tick shortest) : latency_(latency), shortest_(shortest) {}

    // A new entity, blocked; it starts level with the others. `remove` takes it out, whatever it does at the moment.
    void add(Entity& entity);
    void remove(Entity& entity);

    // True when it should run now instead of the current entity, which has run for `unaccounted` since `account`.
    [[nodiscard]] bool wake(Entity& entity, Tick unaccounted = 0);

    // The next one to run, which becomes the current one; null when none is runnable. The current one, if it is still
    // runnable, takes part.
    Entity* pick();
    Entity* current() const { return current_; }
    // The current entity ran.
    void account(Tick ran);
    // Any entity: time that was spent for it while it did not run.
    void charge(Entity& entity, Tick spent);
    // The current entity waits for an event.
    void block();
    // The current entity waits for one of its siblings: it lets those that are runnable here go first. They exchange
    // their places among each other, so that no other entity gains or loses by it.
    void yield();
    // How long the current entity may run. Also when it is alone: a CPU comes back now and then to look at its mailbox,
    // since an interrupt may reach it late.
    Tick slice() const;

    std::size_t runnable() const { return queued_ + (current_ != nullptr); }

  private:
    void insert(Entity& entity);
    void unlink(Entity& entity);
    void advance();
    Tick credit() const { return latency_ / 2; }

    const Tick latency_;
    const Tick shortest_;
    Entity* first_{};  // queued, by virtual time
    Entity* current_{};
    std::size_t queued_{};
    Tick floor_{};  // no runnable entity is far behind this; it never decreases
};

// The CPUs on which the vCPUs of a guest live: each goes to the one with the smallest load, of those allowed (bit n:
// CPU n), and adds one to it. False, and nothing changed, when no CPU that is allowed exists.
[[nodiscard]] bool place(std::uint64_t allowed, std::span<unsigned> loads, std::span<unsigned> places);

}  // namespace bulkhead::monitor
