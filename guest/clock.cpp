// SPDX-License-Identifier: Apache-2.0
#include "guest/clock.hpp"

namespace bulkhead::guest {

void TimerQueue::insert(Timer& timer) {
    Timer** link = &first_;
    while (*link != nullptr && (*link)->deadline_ <= timer.deadline_) link = &(*link)->next_;
    timer.next_ = *link;
    *link = &timer;
    earliest_.store(first_->deadline_, std::memory_order_relaxed);
}

void TimerQueue::remove(Timer& timer) {
    Timer** link = &first_;
    while (*link != &timer) link = &(*link)->next_;
    *link = timer.next_;
    earliest_.store(first_ != nullptr ? first_->deadline_ : never, std::memory_order_relaxed);
}

void TimerQueue::expire() {
    while (earliest() <= clock_.now && earliest() != never) {
        Timer& due = *first_;
        due.disarm();
        due.fire_();
    }
}

void Timer::arm(Tick deadline) {
    if (armed()) queue_.remove(*this);
    deadline_ = deadline;
    ++queue_.changes_;
    if (armed()) queue_.insert(*this);
}

}  // namespace bulkhead::guest
