// SPDX-License-Identifier: Apache-2.0
#include "monitor/sched.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <optional>
#include <random>
#include <vector>

namespace {

using namespace bulkhead::monitor;

constexpr Tick latency = 3'000'000;
constexpr Tick shortest = 100'000;

class Sched : public testing::Test {
  protected:
    // Runs what is picked for its whole slice.
    void run(Tick until) {
        while (now < until) {
            Entity* entity = queue.pick();
            ASSERT_NE(entity, nullptr);
            const Tick slice = std::min(queue.slice(), until - now);
            queue.account(slice);
            now += slice;
        }
    }
    void start(Entity& entity) {
        queue.add(entity);
        static_cast<void>(queue.wake(entity));
    }

    RunQueue queue{latency, shortest};
    Tick now{};
};

TEST_F(Sched, NothingToRun) {
    EXPECT_EQ(queue.pick(), nullptr);
    EXPECT_EQ(queue.runnable(), 0u);
    queue.account(5);
    queue.block();
    queue.yield();
    EXPECT_EQ(queue.pick(), nullptr);
}

TEST_F(Sched, ThreeEqualEntitiesGetEqualShares) {
    std::array<Entity, 3> entities;
    for (Entity& entity : entities) start(entity);
    run(300 * latency);
    for (const Entity& entity : entities)
        EXPECT_NEAR(static_cast<double>(entity.ran()), 100.0 * latency, 0.01 * 100.0 * latency);
}

// Slices end early and late, as VM exits do.
TEST_F(Sched, SharesAreEqualForSlicesOfAnyLength) {
    std::array<Entity, 3> entities;
    for (Entity& entity : entities) start(entity);
    std::mt19937 random{1};
    while (now < 1000 * latency) {
        ASSERT_NE(queue.pick(), nullptr);
        const Tick ran = random() % (2 * queue.slice()) + 1;
        queue.account(ran);
        now += ran;
    }
    for (const Entity& entity : entities)
        EXPECT_NEAR(static_cast<double>(entity.ran()) * 3, static_cast<double>(now), 0.01 * static_cast<double>(now));
}

TEST_F(Sched, EachRunsOnceWithinTheLatency) {
    std::array<Entity, 5> entities;
    for (Entity& entity : entities) start(entity);
    run(10 * latency);
    std::vector<Entity*> ran;
    for (std::size_t i = 0; i < entities.size(); ++i) {
        ran.push_back(queue.pick());
        EXPECT_EQ(queue.slice(), latency / 5);
        queue.account(queue.slice());
    }
    std::ranges::sort(ran);
    EXPECT_EQ(std::ranges::unique(ran).begin(), ran.end());
}

TEST_F(Sched, SlicesHaveALowerBound) {
    std::array<Entity, 100> entities;
    for (Entity& entity : entities) start(entity);
    static_cast<void>(queue.pick());
    EXPECT_EQ(queue.slice(), shortest);
    EXPECT_EQ(queue.runnable(), 100u);
}

TEST_F(Sched, OneAloneRunsOnAndComesBackNowAndThen) {
    Entity entity;
    start(entity);
    EXPECT_EQ(queue.pick(), &entity);
    EXPECT_EQ(queue.slice(), latency);
    queue.account(latency);
    EXPECT_EQ(queue.pick(), &entity);
    EXPECT_EQ(entity.ran(), latency);
}

TEST_F(Sched, ASleeperRunsAsSoonAsItWakes) {
    std::array<Entity, 2> busy;
    Entity sleeper;
    start(sleeper);
    EXPECT_EQ(queue.pick(), &sleeper);
    queue.block();
    for (Entity& entity : busy) start(entity);
    run(100 * latency);
    // In the middle of a slice.
    ASSERT_NE(queue.pick(), nullptr);
    EXPECT_TRUE(queue.wake(sleeper, queue.slice() / 2));
    EXPECT_EQ(queue.pick(), &sleeper);
}

TEST_F(Sched, ASleeperDoesNotCollectWhatItMissed) {
    Entity busy;
    Entity sleeper;
    start(sleeper);
    EXPECT_EQ(queue.pick(), &sleeper);
    queue.block();
    start(busy);
    run(1000 * latency);
    const Tick before = busy.ran();
    EXPECT_TRUE(queue.wake(sleeper));
    run(now + 100 * latency);
    EXPECT_GE(busy.ran() - before, 49 * latency);
    EXPECT_GE(sleeper.ran(), 49 * latency);
}

// One that sleeps all the time, and wakes to run for a moment, gets no more than its share either.
TEST_F(Sched, SleepingOftenGainsNothing) {
    Entity busy;
    Entity tricky;
    start(busy);
    start(tricky);
    while (now < 1000 * latency) {
        Entity* entity = queue.pick();
        const Tick ran = entity == &tricky ? shortest : std::min<Tick>(queue.slice(), shortest / 10);
        queue.account(ran);
        now += ran;
        if (entity == &tricky)
            queue.block();
        else if (!tricky.runnable())
            static_cast<void>(queue.wake(tricky));
    }
    EXPECT_LE(tricky.ran(), now / 2 + latency);
    EXPECT_GE(busy.ran() + latency, now / 2);
}

// Many that wake again and again do not keep one out that computes.
TEST_F(Sched, NoStarvationByWakers) {
    Entity busy;
    std::array<Entity, 10> wakers;
    start(busy);
    for (Entity& entity : wakers) start(entity);
    Tick longest_wait = 0;
    Tick last_run = 0;
    while (now < 1000 * latency) {
        Entity* entity = queue.pick();
        ASSERT_NE(entity, nullptr);
        if (entity == &busy) last_run = now;
        longest_wait = std::max(longest_wait, now - last_run);
        const Tick ran = entity == &busy ? queue.slice() : shortest / 2;
        queue.account(ran);
        now += ran;
        if (entity != &busy) {
            queue.block();
            static_cast<void>(queue.wake(*entity));
        }
    }
    EXPECT_LT(longest_wait, 11 * latency);
    EXPECT_GE(busy.ran() * 11 + 11 * latency, now);
}

TEST_F(Sched, ANewcomerIsLevelWithTheOthers) {
    Entity old;
    start(old);
    run(1000 * latency);
    Entity fresh;
    start(fresh);
    const Tick before = old.ran();
    run(now + 100 * latency);
    EXPECT_NEAR(static_cast<double>(old.ran() - before), 50.0 * latency, 1.0 * latency);
    EXPECT_NEAR(static_cast<double>(fresh.ran()), 50.0 * latency, 1.0 * latency);
}

TEST_F(Sched, YieldLetsAllSiblingsGoFirst) {
    const int group = 0;
    std::array<Entity, 3> entities{Entity{&group}, Entity{&group}, Entity{&group}};
    for (Entity& entity : entities) start(entity);
    run(10 * latency);
    Entity* first = queue.pick();
    queue.yield();
    Entity* second = queue.pick();
    EXPECT_NE(second, first);
    queue.yield();
    Entity* third = queue.pick();
    EXPECT_NE(third, first);
    EXPECT_NE(third, second);
    queue.yield();
    EXPECT_EQ(queue.pick(), first);
}

TEST_F(Sched, YieldWithoutSiblingsChangesNothing) {
    const int group = 0, other = 1;
    std::array<Entity, 4> entities{Entity{&group}, Entity{&other}, Entity{}, Entity{}};
    for (Entity& entity : entities) start(entity);
    for (unsigned i = 1; i <= entities.size(); ++i) {
        ASSERT_NE(queue.pick(), nullptr);
        queue.account(i * latency);
    }
    for (unsigned i = 0; i < entities.size(); ++i) {
        Entity* const first = queue.pick();
        queue.yield();
        EXPECT_EQ(queue.pick(), first);
        queue.account(entities.size() * latency);
    }
}

// Two vCPUs of a guest that do nothing but wait for each other, and a guest that works: thirds.
TEST_F(Sched, YieldNeitherGivesAwayNorTakesTime) {
    const int group = 0;
    Entity a{&group}, b{&group}, worker;
    start(a);
    start(b);
    start(worker);
    while (now < 1000 * latency) {
        Entity* const entity = queue.pick();
        const Tick ran = entity == &worker ? queue.slice() : shortest / 25;
        queue.account(ran);
        now += ran;
        if (entity != &worker) queue.yield();
    }
    EXPECT_NEAR(static_cast<double>(worker.ran()) * 3, static_cast<double>(now), 0.01 * static_cast<double>(now));
    EXPECT_NEAR(static_cast<double>(a.ran()), static_cast<double>(b.ran()), 0.01 * static_cast<double>(now));
}

// One holds what the others wait for: it runs nearly all the time, although it is behind in the queue.
TEST_F(Sched, YieldFindsTheOneThatWorks) {
    const int group = 0;
    std::array<Entity, 4> entities{Entity{&group}, Entity{&group}, Entity{&group}, Entity{&group}};
    for (Entity& entity : entities) start(entity);
    Entity& holder = entities[3];
    unsigned turns = 0;
    for (Entity* entity = queue.pick(); entity != &holder; entity = queue.pick(), ++turns) {
        ASSERT_LT(turns, entities.size());
        queue.account(shortest / 25);
        queue.yield();
    }
}

TEST_F(Sched, WakingTwiceOrWhileRunningChangesNothing) {
    Entity a;
    Entity b;
    start(a);
    start(b);
    EXPECT_EQ(queue.pick(), &a);
    EXPECT_FALSE(queue.wake(a));
    EXPECT_FALSE(queue.wake(b));
    EXPECT_EQ(queue.runnable(), 2u);
}

TEST_F(Sched, WakingDoesNotPreemptForLessThanTheShortestSlice) {
    Entity a;
    Entity b;
    start(a);
    run(10 * latency);
    EXPECT_EQ(queue.pick(), &a);
    queue.add(b);
    EXPECT_FALSE(queue.wake(b, shortest / 2));
}

TEST_F(Sched, WakingAnIdleCpuRunsAtOnce) {
    Entity a;
    queue.add(a);
    EXPECT_TRUE(queue.wake(a));
    EXPECT_EQ(queue.pick(), &a);
}

TEST_F(Sched, RemoveInEveryState) {
    std::array<Entity, 3> entities;
    for (Entity& entity : entities) start(entity);
    Entity* running = queue.pick();
    EXPECT_EQ(running, &entities[0]);
    queue.remove(*running);
    EXPECT_EQ(queue.current(), nullptr);
    queue.remove(entities[2]);  // queued
    EXPECT_EQ(queue.pick(), &entities[1]);
    queue.block();
    queue.remove(entities[1]);  // blocked
    EXPECT_EQ(queue.pick(), nullptr);
    EXPECT_FALSE(entities[0].runnable());
    // It may be started again.
    start(entities[0]);
    EXPECT_EQ(queue.pick(), &entities[0]);
}

// Of one vCPU; nothing if there is no place for it.
std::optional<unsigned> place_one(std::uint64_t allowed, std::vector<unsigned> loads) {
    unsigned place_of_it = 0;
    if (!place(allowed, loads, {&place_of_it, 1})) return std::nullopt;
    return place_of_it;
}

TEST(Place, LeastLoadedOfTheAllowed) {
    EXPECT_EQ(place_one(~0ull, {3, 1, 2, 1}), 1u);
    EXPECT_EQ(place_one(0b1101, {3, 1, 2, 1}), 3u);
    EXPECT_EQ(place_one(0b0101, {3, 1, 2, 1}), 2u);
    EXPECT_EQ(place_one(0b10000, {3, 1, 2, 1}), std::nullopt);
    EXPECT_EQ(place_one(0, {3, 1, 2, 1}), std::nullopt);
    EXPECT_EQ(place_one(~0ull, {}), std::nullopt);
}

TEST(Place, MoreThanSixtyFourCpus) {
    std::vector<unsigned> loads(100, 1);
    loads[70] = 0;
    loads[63] = 0;
    EXPECT_EQ(place_one(~0ull, loads), 63u);
}

using Numbers = std::vector<unsigned>;

TEST(Place, TheVcpusOfAGuestSpread) {
    Numbers loads(4, 0), places(4);
    ASSERT_TRUE(place(~0ull, loads, places));
    EXPECT_EQ(places, (Numbers{0, 1, 2, 3}));
    EXPECT_EQ(loads, (Numbers{1, 1, 1, 1}));
}

TEST(Place, MoreVcpusThanCpusTakeTurns) {
    Numbers loads(2, 0), places(5);
    ASSERT_TRUE(place(~0ull, loads, places));
    EXPECT_EQ(places, (Numbers{0, 1, 0, 1, 0}));
    Numbers alone(1, 7), all(16);
    ASSERT_TRUE(place(~0ull, alone, all));
    EXPECT_EQ(all, Numbers(16, 0));
    EXPECT_EQ(alone[0], 23u);
}

TEST(Place, OneGuestAfterAnotherFillsWhatIsLeft) {
    Numbers loads(3, 0), first(1), second(3);
    ASSERT_TRUE(place(0b100, loads, first));
    ASSERT_TRUE(place(~0ull, loads, second));
    EXPECT_EQ(first, Numbers{2});
    EXPECT_EQ(second, (Numbers{0, 1, 0}));
    EXPECT_EQ(loads, (Numbers{2, 1, 1}));
}

TEST(Place, OnlyWhereTheGuestMayRun) {
    Numbers loads(4, 0), places(6);
    ASSERT_TRUE(place(0b1010, loads, places));
    EXPECT_EQ(loads, (Numbers{0, 3, 0, 3}));
}

TEST(Place, NothingChangesWhereThereIsNoPlace) {
    Numbers loads{1, 2}, places(2);
    EXPECT_FALSE(place(0b100, loads, places));
    EXPECT_EQ(loads, (Numbers{1, 2}));
}

}  // namespace
