// SPDX-License-Identifier: Apache-2.0
#include "monitor/sched.hpp"

#include <algorithm>
#include <utility>

namespace bulkhead::monitor {

void RunQueue::add(Entity& entity) {
    entity.state_ = Entity::State::blocked;
    entity.virtual_time_ = floor_;
    entity.next_ = nullptr;
}

void RunQueue::remove(Entity& entity) {
    if (entity.state_ == Entity::State::queued) unlink(entity);
    if (&entity == current_) current_ = nullptr;
    entity.state_ = Entity::State::detached;
    advance();
}

bool RunQueue::wake(Entity& entity, Tick unaccounted) {
    if (entity.state_ != Entity::State::blocked) return false;
    const Tick oldest = floor_ - std::min(floor_, credit());
    entity.virtual_time_ = std::max(entity.virtual_time_, oldest);
    insert(entity);
    if (current_ == nullptr) return true;
    // A switch for less than the shortest slice would cost more than it gives.
    return entity.virtual_time_ + shortest_ < current_->virtual_time_ + unaccounted;
}

Entity* RunQueue::pick() {
    if (current_ != nullptr) insert(*current_);
    current_ = first_;
    if (current_ != nullptr) {
        unlink(*current_);
        current_->state_ = Entity::State::running;
    }
    advance();
    return current_;
}

void RunQueue::account(Tick ran) {
    if (current_ == nullptr) return;
    current_->virtual_time_ += ran;
    current_->ran_ += ran;
    advance();
}

void RunQueue::charge(Entity& entity, Tick spent) {
    const bool queued = entity.state_ == Entity::State::queued;
    if (queued) unlink(entity);
    entity.virtual_time_ += spent;
    entity.ran_ += spent;
    if (queued) insert(entity);
    advance();
}

void RunQueue::block() {
    if (current_ == nullptr) return;
    current_->state_ = Entity::State::blocked;
    current_ = nullptr;
    advance();
}

// Each sibling that comes later moves up to the place of the one before it; the first to the current entity's, which
// gets the last one.
void RunQueue::yield() {
    if (current_ == nullptr || current_->group_ == nullptr) return;
    for (Entity* entity = first_; entity != nullptr;) {
        Entity* const next = entity->next_;
        if (entity->group_ == current_->group_ && entity->virtual_time_ > current_->virtual_time_) {
            unlink(*entity);
            std::swap(entity->virtual_time_, current_->virtual_time_);
            insert(*entity);
        }
        entity = next;
    }
}

Tick RunQueue::slice() const {
    return std::max(latency_ / std::max<std::size_t>(runnable(), 1), shortest_);
}

// After its equals, so that they take turns.
void RunQueue::insert(Entity& entity) {
    Entity** link = &first_;
    while (*link != nullptr && (*link)->virtual_time_ <= entity.virtual_time_) link = &(*link)->next_;
    entity.next_ = *link;
    *link = &entity;
    entity.state_ = Entity::State::queued;
    ++queued_;
}

void RunQueue::unlink(Entity& entity) {
    for (Entity** link = &first_; *link != nullptr; link = &(*link)->next_) {
        if (*link != &entity) continue;
        *link = entity.next_;
        entity.next_ = nullptr;
        --queued_;
        return;
    }
}

void RunQueue::advance() {
    if (first_ == nullptr && current_ == nullptr) return;
    Tick least = guest::never;
    if (first_ != nullptr) least = first_->virtual_time_;
    if (current_ != nullptr) least = std::min(least, current_->virtual_time_);
    floor_ = std::max(floor_, least);
}

bool place(std::uint64_t allowed, std::span<unsigned> loads, std::span<unsigned> places) {
    for (unsigned& cpu : places) {
        unsigned* best = nullptr;
        for (std::size_t i = 0; i < std::min<std::size_t>(loads.size(), 64); ++i)
            if ((allowed >> i & 1) != 0 && (best == nullptr || loads[i] < *best)) best = &loads[i];
        if (best == nullptr) return false;
        ++*best;
        cpu = static_cast<unsigned>(best - loads.data());
    }
    return true;
}

}  // namespace bulkhead::monitor
