// SPDX-License-Identifier: Apache-2.0
// The registers of a VGA in text mode (IBM VGA technical reference).
#include "guest/vga_text.hpp"

#include <gtest/gtest.h>

#include <string>

#include "fake_memory.hpp"

namespace bulkhead::guest {
namespace {

class VgaTextTest : public testing::Test {
  protected:
    std::uint32_t in(std::uint16_t port) { return vga.in(port, 1); }
    void out(std::uint16_t port, std::uint32_t value, unsigned size = 1) { vga.out(port, size, value); }
    VgaText vga;
};

struct Text final : TextSink {
    void write(std::string_view piece) override { text += piece; }
    std::string text;
};

TEST_F(VgaTextTest, CrtControllerByIndexAndData) {
    out(0x3d4, 0x0e);
    out(0x3d5, 0x12);
    EXPECT_EQ(in(0x3d5), 0x12u);
    out(0x3d4, 0x340f, 2);
    EXPECT_EQ(in(0x3d4), 0x0fu);
    EXPECT_EQ(in(0x3d5), 0x34u);
    out(0x3d4, 0x19);
    out(0x3d5, 0x55);
    EXPECT_EQ(in(0x3d5), 0xffu) << "there are 25";
}

TEST_F(VgaTextTest, TimingIsProtected) {
    out(0x3d4, 0x8e11, 2);
    out(0x3d4, 0x0000, 2);
    EXPECT_EQ(in(0x3d5), 0x5fu);
    out(0x3d4, 0x0007, 2);
    EXPECT_EQ(in(0x3d5), 0x0fu) << "all but bit 4, the line compare's";
    out(0x3d4, 0x0e11, 2);
    out(0x3d4, 0x1200, 2);
    EXPECT_EQ(in(0x3d5), 0x12u);
}

TEST_F(VgaTextTest, TheStartAddressSaysWhatIsShown) {
    EXPECT_EQ(vga.start(), 0u);
    out(0x3d4, 0x070c, 2);
    out(0x3d4, 0xd00d, 2);
    EXPECT_EQ(vga.start(), 2u * 0x7d0);
    out(0x3d4, 0xff0c, 2);
    EXPECT_LT(vga.start(), VgaText::memory_size);
}

TEST_F(VgaTextTest, TheTextOnTheScreen) {
    FakeMemory memory{1 * mib};
    const auto put = [&](unsigned at, std::string_view text) {
        for (const char c : text)
            memory.set(0xb8000 + (2 * at++) % 0x8000, static_cast<std::uint16_t>(0x0700 | (c & 0xff)));
    };
    const auto shown = [&] {
        Text sink;
        vga.write_text(memory, sink);
        return sink.text;
    };
    EXPECT_EQ(shown(), "the screen is empty\n");
    put(2 * 80 + 3, "hello \xdb\x01 ");
    put(24 * 80 + 79, "x");
    put(25 * 80, "below the screen");
    EXPECT_EQ(shown(), "\n\n   hello ..\n" + std::string(21, '\n') + std::string(79, ' ') + "x\n");
    out(0x3d4, 0x070c, 2);
    out(0x3d4, 0xd00d, 2);
    EXPECT_EQ(shown(), "below the screen\n") << "from 2000 on";
    out(0x3d4, 0x3f0c, 2);
    out(0x3d4, 0xff0d, 2);
    put(0x3fff, "ab");
    EXPECT_EQ(shown().substr(0, 3), "ab\n") << "the memory's end is followed by its start";
}

TEST_F(VgaTextTest, WhoWaitsForTheRetraceOrItsEndSeesIt) {
    bool on = false, off = false;
    for (int i = 0; i < 4; ++i) (in(0x3da) & 8) != 0 ? on = true : off = true;
    EXPECT_TRUE(on && off);
}

TEST_F(VgaTextTest, AttributeControllerTakesIndexAndDataInTurn) {
    in(0x3da);
    out(0x3c0, 0x30);
    out(0x3c0, 0x0c);
    out(0x3c0, 0x2a);
    out(0x3c0, 0x15);
    in(0x3da);
    out(0x3c0, 0x30);
    EXPECT_EQ(in(0x3c0), 0x30u);
    EXPECT_EQ(in(0x3c1), 0x0cu);
    in(0x3da);
    out(0x3c0, 0x2a);
    EXPECT_EQ(in(0x3c1), 0x15u);
    in(0x3da);
    out(0x3c0, 0x3f);
    EXPECT_EQ(in(0x3c1), 0xffu) << "there are 21";
}

TEST_F(VgaTextTest, Palette) {
    out(0x3c8, 255);
    for (const unsigned component : {0x3fu, 0x40u, 0x01u, 0x07u}) out(0x3c9, component);
    out(0x3c7, 255);
    EXPECT_EQ(in(0x3c7), 3u);
    EXPECT_EQ(in(0x3c9), 0x3fu);
    EXPECT_EQ(in(0x3c9), 0x00u) << "six bits";
    EXPECT_EQ(in(0x3c9), 0x01u);
    EXPECT_EQ(in(0x3c9), 0x07u) << "the next colour is the first";
}

TEST_F(VgaTextTest, TheOtherRegisters) {
    out(0x3c2, 0x67);
    EXPECT_EQ(in(0x3cc), 0x67u);
    out(0x3c4, 0x0f02, 2);
    EXPECT_EQ(in(0x3c5), 0x0fu);
    out(0x3ce, 0x0406, 2);
    EXPECT_EQ(in(0x3cf), 0x04u);
    EXPECT_EQ(in(0x3d8), 0xffu);
}

}  // namespace
}  // namespace bulkhead::guest
