// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/console_fixture.hpp"

namespace {

class ConsoleViewTest : public ConsoleTest {};

TEST_F(ConsoleViewTest, LeavingRestoresTheTerminalAndOnlyWhatWasChanged) {
    write(one, "\033[?1049h\033[?25l\033[31m\033[?2004h\033[5;10r\033(0\033[1;1H");
    drain();
    type(
        "\x01"
        "2");
    const std::string text = drain();
    EXPECT_TRUE(contains(text, "\033[?1049l"));
    EXPECT_TRUE(contains(text, "\033[?25h"));
    EXPECT_TRUE(contains(text, "\033[?2004l"));
    EXPECT_TRUE(contains(text, "\033[r"));
    EXPECT_TRUE(contains(text, "\033(B"));
    EXPECT_TRUE(contains(text, "\033[0m"));
    EXPECT_LT(text.find("\033[?1049l"), text.find("[two]"));
    type(
        "\x01"
        "1");
    const std::string back = drain();
    EXPECT_FALSE(contains(back, "\033[?")) << "nothing was left to undo";
    // What the guest undid itself is not undone again.
    write(one, "\033[?1049h\033[?25l\033[?1049;1l\033[?25h\033[m\r\n");
    drain();
    type(
        "\x01"
        "2");
    EXPECT_FALSE(contains(drain(), "\033[?"));
}

TEST_F(ConsoleViewTest, ASequenceThatWasCutOffIsEnded) {
    for (const std::string cut : {"\033", "\033[3", "\033]0;title", "\033P1;2", "\033("}) {
        write(one, cut);
        drain();
        type(
            "\x01"
            "2");
        EXPECT_TRUE(drain().starts_with("\033\\")) << cut.substr(1);
        type(
            "\x01"
            "1");
        drain();
    }
    write(one, "\033]0;title\a\r\n");
    drain();
    type(
        "\x01"
        "2");
    EXPECT_TRUE(drain().starts_with("\033[0m\033[1;32m[two]"));
}

TEST_F(ConsoleViewTest, AllShowsLineByLineWithTags) {
    type(
        "\x01"
        "a");
    drain();
    write(one, "from ");
    write(two, "from two\r\n");
    write(one, "one\r\n");
    const std::string text = drain();
    EXPECT_TRUE(contains(text, "\033[1;36m[one]\033[0m from one\r\n")) << text;
    EXPECT_TRUE(contains(text, "\033[1;32m[two]\033[0m from two\r\n"));
    type("k");
    EXPECT_EQ(typed(one), "k") << "typing goes to the partition that was in focus";
}

TEST_F(ConsoleViewTest, AllNeutralisesWhatATerminalWouldObey) {
    type(
        "\x01"
        "a");
    drain();
    write(two,
          "a\033[2Jb\x07\tc\r\033]0;x\x9b"
          "31m\x7f \xc3\xa9 \xc2\x9b \xe2\x82\xac \xff\xc0\xaf\r\n");
    EXPECT_EQ(
        drain(),
        "\033[1;32m[two]\033[0m a^[[2Jb^G\tc^M^[]0;x\\x9b31m^? \xc3\xa9 \\xc2\\x9b \xe2\x82\xac \\xff\\xc0\\xaf\r\n");
}

TEST_F(ConsoleViewTest, AllShowsAnUnfinishedLineWhenNobodyContinuesIt) {
    type(
        "\x01"
        "a");
    drain();
    write(one, "login: ");
    EXPECT_EQ(drain(), "");
    console->tick();
    EXPECT_EQ(drain(), "") << "it may just have been in the making";
    console->tick();
    EXPECT_EQ(drain(), "\033[1;36m[one]\033[0m login: ");
    write(one, "root\r\n");
    EXPECT_EQ(drain(), "root\r\n") << "the same line goes on";
    write(one, "Password: ");
    console->tick();
    console->tick();
    drain();
    write(two, "another\r\n");
    EXPECT_EQ(drain(), "\r\n\033[1;32m[two]\033[0m another\r\n");
    write(one, "end\r\n");
    EXPECT_EQ(drain(), "\033[1;36m[one]\033[0m end\r\n");
}

TEST_F(ConsoleViewTest, AllBreaksLongLinesBetweenCharacters) {
    type(
        "\x01"
        "a");
    drain();
    std::string line = "x";
    for (int i = 0; i < 200; ++i) line += "\xe2\x82\xac";
    write(one, line + "\r\n");
    EXPECT_EQ(drain(), "\033[1;36m[one]\033[0m " + line + "\r\n");
}

TEST_F(ConsoleViewTest, AllIsFairToTheQuiet) {
    type(
        "\x01"
        "a");
    drain();
    for (int i = 0; i < 1000; ++i) write(one, "flood\r\n");
    drain(10);
    write(two, "quiet\r\n");
    EXPECT_TRUE(contains(drain(100), "quiet"));
}

TEST_F(ConsoleViewTest, StatesAreToldAfterWhatTheGuestWrote) {
    console->set_state(1, PartitionState::running);
    EXPECT_EQ(drain(), "\033[1;36m[one]\033[0m is running\r\n");
    write(one, "last words");
    console->set_state(1, PartitionState::crashed, "triple fault");
    EXPECT_EQ(drain(),
              "last words\r\n\033[1;36m[one]\033[0m has crashed: triple fault (Ctrl-A r starts it again, Ctrl-A d "
              "shows its state)\r\n");
    console->set_state(2, PartitionState::off);
    EXPECT_EQ(drain(), "") << "of the guest in focus only";
    console->set_state(1, PartitionState::exited, "43");
    EXPECT_TRUE(contains(drain(), "[one]\033[0m has exited, status: 43 (Ctrl-A r"));
    console->set_state(1, PartitionState::crashed);
    drain();
    type(
        "\x01"
        "1");
    EXPECT_TRUE(contains(drain(), "[one]\033[0m has crashed"));
}

TEST_F(ConsoleViewTest, TheLogOfADeadGuestCanBeReadAgain) {
    std::string text;
    for (int i = 0; text.size() < capacity + 1000; ++i) {
        const std::string line = "line " + std::to_string(i) + "\r\n";
        write(one, line);
        text += line;
        drain();
    }
    console->set_state(1, PartitionState::crashed);
    drain();
    type(
        "\x01"
        "l");
    const std::string shown = drain();
    const std::size_t start = shown.find(" of its output:\r\n");
    ASSERT_NE(start, shown.npos);
    const std::string again = shown.substr(start + 17);
    EXPECT_TRUE(text.ends_with(again));
    EXPECT_GT(again.size(), capacity - 20);
    EXPECT_TRUE(again.starts_with("line "));
}

TEST_F(ConsoleViewTest, AllWakesForWholeLinesAndHoldsUpTheFlooder) {
    type("\x01"
         "a");
    drain();
    wakes = 0;
    write(one, "line");
    EXPECT_EQ(wakes, 0);
    write(one, "\n");
    EXPECT_EQ(wakes, 1);
    drain();
    EXPECT_EQ(write(one, std::string(capacity + 1, 'x')), capacity);
    EXPECT_EQ(wakes, 2);
    EXPECT_TRUE(two->put('y'));
    drain(2 * capacity);
    EXPECT_EQ(rooms, 1);
}

TEST_F(ConsoleViewTest, AChangeOfStateWakesTheTransmitter) {
    wakes = 0;
    console->set_state(1, PartitionState::off);
    EXPECT_EQ(wakes, 1);
}

TEST_F(ConsoleViewTest, AnEscapeEndsAStringAndStartsASequence) {
    write(one, "\033]0;title\033[?25l");
    drain();
    type("\x01"
         "2");
    EXPECT_TRUE(contains(drain(), "\033[?25h"));
}

TEST_F(ConsoleViewTest, OverlongFormsAreNoText) {
    type("\x01"
         "a");
    drain();
    write(two, "\xe0\x80\xaf \xf0\x82\x82\xac\n");
    EXPECT_TRUE(contains(drain(), "\\xe0\\x80\\xaf \\xf0\\x82\\x82\\xac\r\n"));
}

}  // namespace
