// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "lib/format.hpp"
#include "lib/ring.hpp"
#include "monitor/console_partition.hpp"
#include "monitor/console_terminal.hpp"

namespace bulkhead::monitor {

// What a person's terminal shows: one partition raw, or all of them line by line. Under the console's lock.
class TerminalView {
  public:
    explicit TerminalView(PartitionTable& partitions) : partitions_(partitions) {}

    // The next byte for the terminal.
    std::optional<std::uint8_t> next();

    // The partition that is typed to.
    unsigned focus() const { return focus_; }
    bool shows_all() const { return all_; }
    void show(unsigned partition);
    // Once all that was written to the partition in focus by now has been shown.
    void show_when_drained(unsigned partition) { next_focus_ = partition; }
    void show_all();
    // Shows the stored output of the partition in focus again.
    void replay();
    // Text of the console itself, on lines of its own. What finds no room is cut.
    void begin_note();
    void note(std::string_view text);
    void ring_bell() { staging_.write("\a"); }

    // Called some ten times a second: a line that nobody continues is shown as it is, in the view of all.
    void tick();

  private:
    // Text on its way to the terminal, before anything else. '\n' becomes CR LF.
    class Staging final : public TextSink {
      public:
        explicit Staging(TerminalState& terminal) : terminal_(terminal) {}
        void write(std::string_view text) override;
        bool empty() const { return bytes_.empty(); }
        std::size_t room() const { return bytes_.room(); }
        std::optional<std::uint8_t> pop() { return bytes_.pop(); }

      private:
        void byte(std::uint8_t value) {
            if (bytes_.push(value)) terminal_.observe(value);
        }

        TerminalState& terminal_;
        Ring<std::uint8_t, 16384> bytes_;
    };
    struct Piece {
        std::size_t length{};  // bytes of the ring, the line end included
        bool complete{};
    };

    void set_sight();
    void tag(const Partition& partition);
    void leave_view();
    bool stage_focus();
    bool stage_all();
    void stage_event(const Partition& partition, const Partition::Event& event);
    void stage_lost(Partition& partition);
    std::optional<Piece> next_piece(Partition& partition) const;
    void stage_piece(Partition& partition, Piece piece);

    PartitionTable& partitions_;
    TerminalState terminal_;  // as it will be when all that is staged has been sent
    Staging staging_{terminal_};
    unsigned focus_{hypervisor_partition};
    std::optional<unsigned> next_focus_;
    bool all_{};
    unsigned turn_{};                    // in the view of all, who was shown last
    std::optional<unsigned> open_line_;  // whose unfinished line the cursor stands in
    std::uint16_t flush_{};              // bit n: show partition n's unfinished line
    std::array<std::uint64_t, max_partitions> seen_at_tick_{};
};

// A guest's text so that a terminal shows it and obeys none of it: controls as ^X, bytes that are not UTF-8 as \xNN.
class Neutraliser {
  public:
    explicit Neutraliser(TextSink& sink) : sink_(sink) {}
    void add(std::uint8_t byte);
    void finish();  // the text ends here

  private:
    void single(std::uint8_t byte);
    void hexadecimal();

    TextSink& sink_;
    std::array<char, 4> sequence_{};
    unsigned have_{}, want_{};
};

}  // namespace bulkhead::monitor
