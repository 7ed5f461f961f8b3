// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>

namespace bulkhead::monitor {

// What one CPU asks of a VM that lives on another. A request that is asked twice before it is served is served once.
enum class Request : std::uint32_t {
    start = 1u << 0,        // build the guest and run it
    restart = 1u << 1,      // end it, then start it anew
    stop = 1u << 2,         // end it and give back what it held
    input = 1u << 3,        // its console partition has typed input
    output_room = 1u << 4,  // its console partition takes output again
    screen = 1u << 5,       // the operator wants to see its screen
};

// The requests of one VM: any CPU posts, its home CPU takes.
class Mailbox {
  public:
    void post(Request request) {
        pending_.fetch_or(static_cast<std::uint32_t>(request), std::memory_order_release);
    }
    bool empty() const { return pending_.load(std::memory_order_relaxed) == 0; }
    std::uint32_t take() { return pending_.exchange(0, std::memory_order_acquire); }

  private:
    std::atomic<std::uint32_t> pending_{0};
};

constexpr bool contains(std::uint32_t requests, Request request) {
    return (requests & static_cast<std::uint32_t>(request)) != 0;
}

}  // namespace bulkhead::monitor
