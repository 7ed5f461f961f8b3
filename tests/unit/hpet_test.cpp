// SPDX-License-Identifier: Apache-2.0
#include "guest/hpet.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace bulkhead::guest {
namespace {

// A TSC of 1 GHz: ten ticks a count.
class HpetTest : public testing::Test {
  protected:
    HpetTest() {
        for (unsigned pin = 16; pin < 24; ++pin) levels[pin] = true;
    }

    static constexpr std::uint64_t config = 0x10, status = 0x20, counter = 0xf0;
    static constexpr std::uint64_t on = 1, legacy = 2;
    static constexpr std::uint64_t level = 1 << 1, enabled = 1 << 2, periodic = 1 << 3, value_set = 1 << 6,
                                   narrow = 1 << 8;

    static constexpr std::uint64_t timer(unsigned n) { return 0x100 + 0x20 * n; }
    static constexpr std::uint64_t comparator(unsigned n) { return timer(n) + 8; }
    static constexpr std::uint64_t route(unsigned pin) { return pin << 9; }

    void set(std::uint64_t offset, std::uint64_t value) { hpet.write(offset, 8, value); }
    std::uint64_t get(std::uint64_t offset) { return hpet.read(offset, 8); }
    void run_to(std::uint64_t count) {
        clock.now = 10 * count;
        queue.expire();
    }
    void changed(unsigned input, bool high) {
        if (high && !levels[input]) rises.push_back(input);
        if (!high && levels[input]) falls.push_back(input);
        levels[input] = high;
    }

    Clock clock{.now = 0, .hz = 1'000'000'000};
    TimerQueue queue{clock};
    std::vector<unsigned> rises, falls;
    std::vector<bool> levels = std::vector<bool>(24);
    Hpet hpet{queue, Hpet::Input::to<&HpetTest::changed>(this)};
};

TEST_F(HpetTest, SaysWhatItIs) {
    EXPECT_EQ(get(0) >> 32, 10'000'000u) << "femtoseconds";
    EXPECT_EQ(get(0) & 0xffff'ffff, 0x8086'a201u);
    set(0, 0);
    EXPECT_EQ(hpet.read(0, 4), 0x8086'a201u) << "read-only";
    EXPECT_EQ(get(timer(0)), 0x00ff'0000'0000'0030u);
    set(timer(2), (~0ull & ~route(31)) | route(23));
    EXPECT_EQ(get(timer(2)), 0x00ff'0000'0000'2f7eu) << "no front side bus messages";
    set(timer(2), route(24));
    EXPECT_EQ(get(timer(2)), 0x00ff'0000'0000'2e30u) << "a route that is not offered";
    EXPECT_EQ(get(timer(3)), 0u) << "none";
}

TEST_F(HpetTest, CountsWhileItIsOn) {
    run_to(100);
    EXPECT_EQ(get(counter), 0u);
    set(counter, 0x1'0000'0000);
    set(config, on);
    run_to(150);
    EXPECT_EQ(get(counter), 0x1'0000'0032u);
    set(config, 0);
    run_to(200);
    EXPECT_EQ(get(counter), 0x1'0000'0032u);
    hpet.write(counter + 4, 4, 7);
    EXPECT_EQ(get(counter), 0x7'0000'0032u) << "halves are written by themselves";
}

TEST_F(HpetTest, AMatchIsOneEdge) {
    set(timer(0), enabled | route(17));
    set(comparator(0), 1000);
    set(config, on);
    run_to(999);
    EXPECT_TRUE(rises.empty());
    run_to(1000);
    EXPECT_EQ(rises, std::vector<unsigned>{17});
    run_to(100'000);
    EXPECT_EQ(rises.size(), 1u);
    EXPECT_EQ(get(status), 0u);
    set(comparator(0), 200'000);
    run_to(200'000);
    EXPECT_EQ(rises.size(), 2u) << "the line falls before it rises again";
}

TEST_F(HpetTest, NothingComesFromATimerThatIsOff) {
    set(timer(0), route(17));
    set(comparator(0), 1000);
    run_to(2000);
    set(config, on);
    run_to(5000);
    EXPECT_TRUE(rises.empty());
    EXPECT_EQ(queue.earliest(), never);
}

TEST_F(HpetTest, PeriodicMatchesKeepTheirPace) {
    set(timer(1), enabled | periodic | value_set | route(18));
    set(comparator(1), 10'000);
    EXPECT_EQ(get(timer(1)) & value_set, 0u) << "cleared by the write";
    set(config, on);
    for (std::uint64_t n = 1; n <= 5; ++n) {
        run_to(10'000 * n - 1);
        EXPECT_EQ(rises.size(), n - 1);
        run_to(10'000 * n + 30);
        EXPECT_EQ(rises.size(), n);
    }
    run_to(95'000);
    EXPECT_EQ(rises.size(), 6u) << "those that were missed are one";
    EXPECT_EQ(get(comparator(1)), 100'000u);
    set(comparator(1), 20'000);
    EXPECT_EQ(get(comparator(1)), 100'000u) << "without VAL_SET the period alone";
    run_to(100'000);
    EXPECT_EQ(get(comparator(1)), 120'000u);
}

// Active low, as PCI's.
TEST_F(HpetTest, ALevelStaysUntilItsStatusIsCleared) {
    set(timer(0), enabled | level | route(20));
    set(comparator(0), 100);
    set(config, on);
    run_to(200);
    EXPECT_FALSE(levels[20]);
    EXPECT_EQ(get(status), 1u);
    set(status, 2);
    EXPECT_FALSE(levels[20]) << "another timer's bit";
    set(timer(0), enabled | level | route(21));
    EXPECT_TRUE(levels[20]);
    EXPECT_FALSE(levels[21]) << "it moves with the route";
    set(status, 1);
    EXPECT_TRUE(levels[21]);
    EXPECT_EQ(get(status), 0u);
}

TEST_F(HpetTest, AnEdgeOfAPinThatIdlesHighIsARise) {
    set(timer(0), enabled | route(23));
    set(comparator(0), 100);
    set(config, on);
    run_to(100);
    EXPECT_EQ(falls, std::vector<unsigned>{23});
    EXPECT_EQ(rises, std::vector<unsigned>{23});
}

TEST_F(HpetTest, LegacyReplacementTakesTheInputsOfTheOldClocks) {
    set(timer(0), enabled | route(20));
    set(timer(1), enabled | route(20));
    set(timer(2), enabled | route(20));
    for (unsigned n = 0; n < 3; ++n) set(comparator(n), 100 * (n + 1));
    set(config, on | legacy);
    EXPECT_TRUE(hpet.replaces_legacy());
    run_to(300);
    EXPECT_EQ(rises, (std::vector<unsigned>{0, 8, 20}));
    set(config, on);
    EXPECT_FALSE(hpet.replaces_legacy());
}

TEST_F(HpetTest, A32BitTimerMatchesAtEachWrap) {
    set(timer(0), enabled | narrow | route(17));
    set(comparator(0), 0x8000'0000);
    set(counter, 0x7fff'ff00);
    set(config, on);
    run_to(0x100);
    EXPECT_EQ(rises.size(), 1u);
    run_to(0x1'0000'00ff);
    EXPECT_EQ(rises.size(), 1u);
    run_to(0x1'0000'0100);
    EXPECT_EQ(rises.size(), 2u);
}

}  // namespace
}  // namespace bulkhead::guest
