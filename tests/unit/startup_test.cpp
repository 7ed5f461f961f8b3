// SPDX-License-Identifier: Apache-2.0
#include "guest/startup.hpp"

#include <gtest/gtest.h>

// SDM volume 3, 8.4.2 to 8.4.4 and 10.6.1.
namespace {

using bulkhead::guest::Startup;
using enum Startup::Order;

TEST(Startup, PowerUp) {
    EXPECT_FALSE(Startup{true}.waiting());
    EXPECT_TRUE(Startup{false}.waiting());
    EXPECT_FALSE(Startup{true}.pending());
    EXPECT_FALSE(Startup{false}.pending());
}

TEST(Startup, AnApplicationProcessorStartsAtTheVector) {
    Startup ap{false};
    ap.startup(0x9a);
    ASSERT_TRUE(ap.pending());
    EXPECT_EQ(ap.obey(), start);
    EXPECT_EQ(ap.vector(), 0x9a);
    EXPECT_FALSE(ap.waiting());
    EXPECT_FALSE(ap.pending());
    EXPECT_EQ(ap.obey(), none);
}

TEST(Startup, VectorZero) {
    Startup ap{false};
    ap.startup(0);
    ASSERT_TRUE(ap.pending());
    EXPECT_EQ(ap.obey(), start);
    EXPECT_EQ(ap.vector(), 0);
}

// INIT, SIPI, SIPI: the usual sequence (8.4.4.1). The second SIPI finds it running, or about to.
TEST(Startup, TheSecondStartUpIpiIsIgnored) {
    Startup ap{false};
    ap.init();
    ap.startup(0x10);
    ap.startup(0x20);
    EXPECT_EQ(ap.obey(), initialize);
    EXPECT_EQ(ap.obey(), start);
    EXPECT_EQ(ap.vector(), 0x10);
    ap.startup(0x20);
    EXPECT_FALSE(ap.pending());
}

TEST(Startup, ARunningProcessorIgnoresStartUpIpis) {
    Startup bsp{true};
    bsp.startup(0x10);
    EXPECT_FALSE(bsp.pending());
}

TEST(Startup, InitMakesARunningApplicationProcessorWait) {
    Startup ap{false};
    ap.startup(1);
    static_cast<void>(ap.obey());
    ap.init();
    ASSERT_TRUE(ap.pending());
    EXPECT_FALSE(ap.waiting()) << "until it obeys";
    EXPECT_EQ(ap.obey(), initialize);
    EXPECT_TRUE(ap.waiting());
    EXPECT_EQ(ap.obey(), none);
    ap.startup(2);
    EXPECT_EQ(ap.obey(), start);
    EXPECT_EQ(ap.vector(), 2);
}

// A processor that is slow to obey: both signals are there when it looks.
TEST(Startup, InitAndStartUpTogether) {
    Startup ap{false};
    ap.startup(1);
    static_cast<void>(ap.obey());
    ap.init();
    ap.startup(3);
    EXPECT_EQ(ap.obey(), initialize);
    EXPECT_TRUE(ap.pending());
    EXPECT_EQ(ap.obey(), start);
    EXPECT_EQ(ap.vector(), 3);
}

TEST(Startup, AnInitCancelsTheStartUpIpiBeforeIt) {
    Startup ap{false};
    ap.startup(1);
    ap.init();
    EXPECT_EQ(ap.obey(), initialize);
    EXPECT_TRUE(ap.waiting());
    EXPECT_FALSE(ap.pending());
}

// 8.4.2: with the BSP flag set it goes on at its reset vector, and does not wait.
TEST(Startup, TheBootstrapProcessorDoesNotWait) {
    Startup bsp{true};
    bsp.init();
    bsp.startup(4);
    EXPECT_EQ(bsp.obey(), initialize);
    EXPECT_FALSE(bsp.waiting());
    EXPECT_EQ(bsp.obey(), none);
}

}  // namespace
