// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <optional>

namespace bulkhead {

// A bounded first-in, first-out queue. Not synchronised.
template <class T, std::size_t capacity>
class Ring {
    static_assert(capacity > 0 && (capacity & (capacity - 1)) == 0, "a power of two");

  public:
    // False, and nothing stored, when full.
    [[nodiscard]] constexpr bool push(const T& value) {
        if (full()) return false;
        slots_[tail_++ & (capacity - 1)] = value;
        return true;
    }
    constexpr std::optional<T> pop() {
        if (empty()) return std::nullopt;
        return slots_[head_++ & (capacity - 1)];
    }
    constexpr const T& front() const { return slots_[head_ & (capacity - 1)]; }
    constexpr std::size_t size() const { return tail_ - head_; }
    constexpr std::size_t room() const { return capacity - size(); }
    constexpr bool empty() const { return head_ == tail_; }
    constexpr bool full() const { return size() == capacity; }
    constexpr void clear() { head_ = tail_; }

  private:
    std::array<T, capacity> slots_{};
    std::size_t head_{};
    std::size_t tail_{};
};

}  // namespace bulkhead
