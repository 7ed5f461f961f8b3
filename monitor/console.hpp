// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "lib/delegate.hpp"
#include "lib/format.hpp"
#include "lib/log.hpp"
#include "monitor/console_action.hpp"
#include "monitor/console_framed.hpp"
#include "monitor/console_keys.hpp"
#include "monitor/console_partition.hpp"
#include "monitor/console_view.hpp"

namespace bulkhead::monitor {

enum class ConsoleMode : std::uint8_t {
    terminal,  // a person's terminal
    framed,    // a program: docs/console.md
};

// The partitioned console on one host UART (docs/console.md). Every call may come on any CPU.
//
// The transmitter calls `take` when its FIFO has room. After `take` gave less than was asked for it may rest: the next
// output calls `wake`, once. Since a CPU may be woken while another is still in `take`, the transmitter's own lock is
// around both: take it, then call `take`; in `wake`, take it, then start sending. All else is called without that lock.
class Console final : public LogSink {
  public:
    // `log_storage` holds the hypervisor's partition; each storage is a power of two in size, 64 KiB or more.
    Console(ConsoleMode mode, std::span<std::uint8_t> log_storage);
    Console(const Console&) = delete;
    Console& operator=(const Console&) = delete;

    // ---- wiring, before `start`

    // A guest's partition. `number` is its digit, 1 to 9, not yet taken; the name stays valid.
    Partition& add(unsigned number, std::string_view name, std::span<std::uint8_t> storage);
    void set_wake(Delegate<void()> wake) { outlet_.wake = wake; }
    // Quit, and restart of a guest. This and the next two are called in `receive`, without the console's lock.
    void set_operator(Delegate<void(Action)> callback) { operator_ = callback; }
    // Writes what the guests have used, and the state of one guest.
    void set_report(Delegate<void(TextSink&)> report) { report_ = report; }
    void set_dump(Delegate<void(unsigned partition, TextSink&)> dump) { dump_ = dump; }
    // What was logged so far is shown first, then partition `focus`.
    void start(unsigned focus);

    // ---- the guests' side

    Partition* partition(unsigned number);
    void set_state(unsigned number, link::PartitionState state, std::string_view text = {});

    // ---- the hypervisor's log: a whole line at a time. It never waits; a line for which there is no room is counted.

    void line(std::string_view text) override;

    // What was asked for at the console and is answered later: to the person, or to partition 0.
    void note(Delegate<void(TextSink&)> write);

    // ---- the host's side

    void receive(std::uint8_t byte);
    std::size_t take(std::span<std::uint8_t> to);
    std::optional<std::uint8_t> next_to_send();
    // Some ten times a second.
    void tick();
    // Nothing is left to send to a person, or to the other end of the link: the machine may be powered off.
    bool drained();

  private:
    friend class LastWords;
    class ReportSink;

    void perform(Action action);
    bool must_wake();
    std::uint16_t take_relieved();
    void notify_room(std::uint16_t partitions);
    void log_text(std::string_view text);
    void report_text(std::string_view text);
    void push_log(std::uint8_t byte);

    const ConsoleMode mode_;
    Outlet outlet_;
    PartitionTable partitions_;
    TerminalView view_{partitions_};
    Keyboard keyboard_{partitions_, view_};
    FramedLink link_{partitions_};
    std::uint64_t lines_lost_{};
    Delegate<void(Action)> operator_;
    Delegate<void(TextSink&)> report_;
    Delegate<void(unsigned, TextSink&)> dump_;
};

// Output of a hypervisor that is dying, through a transmitter that is polled. It takes no lock, since a CPU that will
// never go on may hold it, and first sends what was logged and not yet sent. One CPU only; the others are stopped.
class LastWords final : public TextSink {
  public:
    LastWords(Console& console, Delegate<void(std::uint8_t)> transmit);
    void write(std::string_view text) override;
    // Tells the other end of a framed link that nothing follows.
    void finish();

  private:
    void raw(std::uint8_t byte);
    void flush();
    void framed(link::Type type, std::span<const std::uint8_t> payload);

    Console& console_;
    Delegate<void(std::uint8_t)> transmit_;
    std::array<std::uint8_t, link::max_payload> piece_{};
    std::size_t used_{};
};

}  // namespace bulkhead::monitor
