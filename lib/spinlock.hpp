// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>

namespace bulkhead {

// Mutual exclusion between CPUs. Held for a bounded number of instructions, never across a VM entry, and never taken
// by an interrupt handler: in root mode the hypervisor runs with interrupts off but in its idle loop.
class SpinLock {
  public:
    void lock() {
        while (held_.exchange(true, std::memory_order_acquire))
            while (held_.load(std::memory_order_relaxed)) __builtin_ia32_pause();
    }
    void unlock() { held_.store(false, std::memory_order_release); }

  private:
    std::atomic<bool> held_{false};
};

class [[nodiscard]] LockGuard {
  public:
    explicit LockGuard(SpinLock& lock) : lock_(lock) { lock_.lock(); }
    ~LockGuard() { lock_.unlock(); }
    LockGuard(const LockGuard&) = delete;
    LockGuard& operator=(const LockGuard&) = delete;

  private:
    SpinLock& lock_;
};

}  // namespace bulkhead
