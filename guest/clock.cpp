// SPDX-License-Identifier: Apache-2.0
#include "guest/clock.hpp"

namespace bulkhead::guest {

void TimerQueue::update() {
    earliest_ = never;
    for (const Timer* t = first_; t != nullptr; t = t->next_)
        if (t->deadline_ < earliest_) earliest_ = t->deadline_;
}

void TimerQueue::expire() {
    while (earliest_ <= clock_.now && earliest_ != never) {
        Timer* due = first_;
        while (due->deadline_ != earliest_) due = due->next_;
        due->disarm();
        due->fire_();
    }
}

Timer::Timer(TimerQueue& queue, Delegate<void()> fire) : queue_(queue), fire_(fire), next_(queue.first_) {
    queue_.first_ = this;
}

Timer::~Timer() {
    Timer** link = &queue_.first_;
    while (*link != this) link = &(*link)->next_;
    *link = next_;
    queue_.update();
}

void Timer::arm(Tick deadline) {
    const Tick before = deadline_;
    deadline_ = deadline;
    if (deadline < queue_.earliest_)
        queue_.earliest_ = deadline;
    else if (before == queue_.earliest_)
        queue_.update();
}

}  // namespace bulkhead::guest
