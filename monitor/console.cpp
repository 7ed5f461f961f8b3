// SPDX-License-Identifier: Apache-2.0
#include "monitor/console.hpp"

#include <algorithm>
#include <bit>
#include <utility>

namespace bulkhead::monitor {

// A report's text, line by line: between two lines the console goes on.
class Console::ReportSink final : public TextSink {
  public:
    explicit ReportSink(Console& console) : console_(console) {}
    ~ReportSink() { flush(); }
    void write(std::string_view text) override {
        for (const char c : text) {
            line_[used_++] = (c >= 0x20 && c != 0x7f) || c == '\n' ? c : '?';
            if (c == '\n' || used_ == sizeof line_) flush();
        }
    }

  private:
    void flush() {
        console_.report_text({line_, used_});
        used_ = 0;
    }

    Console& console_;
    char line_[160];
    std::size_t used_{};
};

Console::Console(ConsoleMode mode, std::span<std::uint8_t> log_storage) : mode_(mode) {
    partitions_[hypervisor_partition].emplace(outlet_, hypervisor_partition, "bulkhead", log_storage);
    partitions_[hypervisor_partition]->set_sight(Sight::bytes);
}

Partition& Console::add(unsigned number, std::string_view name, std::span<std::uint8_t> storage) {
    Partition& partition = partitions_[number].emplace(outlet_, number, name, storage);
    if (mode_ == ConsoleMode::framed) partition.set_sight(Sight::bytes);
    return partition;
}

void Console::start(unsigned focus) {
    {
        const LockGuard guard{outlet_.lock};
        if (mode_ == ConsoleMode::framed)
            link_.hello();
        else
            view_.show_when_drained(focus);
    }
    outlet_.rouse();
}

Partition* Console::partition(unsigned number) {
    return number < max_partitions && partitions_[number] ? &*partitions_[number] : nullptr;
}

// With the lock held: true when the transmitter rests and is to be woken, once the lock is released.
bool Console::must_wake() {
    const bool idle = outlet_.idle;
    outlet_.idle = false;
    return idle;
}

void Console::set_state(unsigned number, link::PartitionState state, std::string_view text) {
    bool wake = false;
    {
        const LockGuard guard{outlet_.lock};
        if (number >= max_partitions || !partitions_[number]) return;
        partitions_[number]->add_event(state, text);
        wake = must_wake();
    }
    if (wake) outlet_.rouse();
}

// ---- the log

void Console::line(std::string_view text) {
    bool wake = false;
    {
        const LockGuard guard{outlet_.lock};
        OutputRing& output = partitions_[hypervisor_partition]->output();
        constexpr std::size_t loss_note = 64;
        const bool shown = partitions_[hypervisor_partition]->sight() != Sight::hidden;
        if (shown && output.room() < text.size() + 2 + loss_note) {
            ++lines_lost_;
            return;
        }
        if (lines_lost_ != 0) {
            char storage[loss_note];
            TextBuffer note{storage};
            print(note, "[{} lines were lost here]\n", lines_lost_);
            lines_lost_ = 0;
            log_text(note.view());
        }
        for (const char c : text) push_log(static_cast<std::uint8_t>(c < 0x20 || c == 0x7f ? '?' : c));
        log_text("\n");
        if (shown) wake = must_wake();
    }
    if (wake) outlet_.rouse();
}

void Console::note(Delegate<void(TextSink&)> write) {
    {
        const LockGuard guard{outlet_.lock};
        if (mode_ == ConsoleMode::terminal) view_.begin_note();
    }
    ReportSink sink{*this};
    write(sink);
    bool wake = false;
    {
        const LockGuard guard{outlet_.lock};
        wake = must_wake();
    }
    if (wake) outlet_.rouse();
}

void Console::report_text(std::string_view text) {
    const LockGuard guard{outlet_.lock};
    if (mode_ == ConsoleMode::terminal)
        view_.note(text);
    else if (partitions_[hypervisor_partition]->output().room() > text.size())
        log_text(text);
    else
        ++lines_lost_;
}

void Console::push_log(std::uint8_t byte) {
    OutputRing& output = partitions_[hypervisor_partition]->output();
    if (output.full()) output.overwrite_oldest();
    output.push(byte);
}

void Console::log_text(std::string_view text) {
    for (const char c : text) {
        if (c == '\n') push_log('\r');
        push_log(static_cast<std::uint8_t>(c));
    }
}

// ---- the host's side

void Console::receive(std::uint8_t byte) {
    Action action;
    std::uint16_t relieved = 0;
    bool wake = false;
    {
        const LockGuard guard{outlet_.lock};
        action = mode_ == ConsoleMode::framed ? link_.receive(byte) : keyboard_.type(byte);
        relieved = take_relieved();
        wake = must_wake();
    }
    perform(action);
    notify_room(relieved);
    if (wake) outlet_.rouse();
}

void Console::perform(Action action) {
    switch (action.kind) {
        case Action::Kind::none:
            return;
        case Action::Kind::input:
            partitions_[action.partition]->notify_input();
            return;
        case Action::Kind::quit:
        case Action::Kind::restart:
        case Action::Kind::screen:
            if (operator_) operator_(action);
            return;
        case Action::Kind::report:
            if (report_) {
                ReportSink sink{*this};
                report_(sink);
            }
            return;
        case Action::Kind::dump:
            if (dump_) {
                ReportSink sink{*this};
                dump_(action.partition, sink);
            }
            return;
    }
}

std::size_t Console::take(std::span<std::uint8_t> to) {
    std::size_t count = 0;
    std::uint16_t relieved = 0;
    {
        const LockGuard guard{outlet_.lock};
        for (; count < to.size(); ++count) {
            const auto byte = mode_ == ConsoleMode::framed ? link_.next() : view_.next();
            if (!byte) {
                outlet_.idle = true;
                break;
            }
            to[count] = *byte;
        }
        relieved = take_relieved();
    }
    notify_room(relieved);
    return count;
}

std::optional<std::uint8_t> Console::next_to_send() {
    std::uint8_t byte = 0;
    if (take({&byte, 1}) == 0) return std::nullopt;
    return byte;
}

// The partitions that wait and have room again: a quarter of the ring, so that a flooder is not woken for each byte.
std::uint16_t Console::take_relieved() {
    if (outlet_.waiting == 0) [[likely]]
        return 0;
    std::uint16_t relieved = 0;
    for (unsigned n = 0; n < max_partitions; ++n) {
        if (!(outlet_.waiting >> n & 1)) continue;
        const bool hidden = partitions_[n]->sight() == Sight::hidden;
        const OutputRing& output = partitions_[n]->output();
        if (hidden || output.room() >= output.capacity() / 4) relieved |= static_cast<std::uint16_t>(1u << n);
    }
    outlet_.waiting &= static_cast<std::uint16_t>(~relieved);
    return relieved;
}

void Console::notify_room(std::uint16_t partitions) {
    for (; partitions != 0; partitions &= static_cast<std::uint16_t>(partitions - 1))
        partitions_[static_cast<unsigned>(std::countr_zero(partitions))]->notify_room();
}

void Console::tick() {
    bool wake = false;
    {
        const LockGuard guard{outlet_.lock};
        if (mode_ != ConsoleMode::terminal || !view_.shows_all()) return;
        view_.tick();
        wake = must_wake();
    }
    if (wake) outlet_.rouse();
}

bool Console::drained() {
    const LockGuard guard{outlet_.lock};
    return outlet_.idle;
}

// ---- the end

LastWords::LastWords(Console& console, Delegate<void(std::uint8_t)> transmit) : console_(console), transmit_(transmit) {
    // A frame that is cut off is discarded at the END that comes next.
    if (console_.mode_ == ConsoleMode::terminal)
        for (const char c : std::string_view{"\033\\\033[0m\033[?25h\r\n"}) transmit_(static_cast<std::uint8_t>(c));
    OutputRing& log = console_.partitions_[hypervisor_partition]->output();
    for (std::size_t left = std::min(log.size(), log.capacity()); left != 0; --left) raw(log.pop());
    flush();
}

void LastWords::write(std::string_view text) {
    for (const char c : text) {
        if (c == '\n') raw('\r');
        raw(static_cast<std::uint8_t>(c));
    }
    flush();
}

void LastWords::finish() {
    const auto died = static_cast<std::uint8_t>(link::PartitionState::died);
    if (console_.mode_ == ConsoleMode::framed) framed(link::Type::state, {&died, 1});
}

void LastWords::raw(std::uint8_t byte) {
    piece_[used_++] = byte;
    if (used_ == piece_.size()) flush();
}

void LastWords::flush() {
    const std::span<const std::uint8_t> piece{piece_.data(), std::exchange(used_, 0)};
    if (console_.mode_ == ConsoleMode::framed) {
        if (!piece.empty()) framed(link::Type::last_words, piece);
    } else {
        for (const std::uint8_t byte : piece) transmit_(byte);
    }
}

void LastWords::framed(link::Type type, std::span<const std::uint8_t> payload) {
    link::EncodedFrame out;
    const std::size_t length = link::encode({type, hypervisor_partition, 0, payload}, out);
    for (std::size_t i = 0; i < length; ++i) transmit_(out[i]);
}

}  // namespace bulkhead::monitor
