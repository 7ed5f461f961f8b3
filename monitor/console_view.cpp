// SPDX-License-Identifier: Apache-2.0
#include "monitor/console_view.hpp"

#include <algorithm>

#include "monitor/console_text.hpp"

namespace bulkhead::monitor {

void TerminalView::Staging::write(std::string_view text) {
    for (const char c : text) {
        if (c == '\n') byte('\r');
        byte(static_cast<std::uint8_t>(c));
    }
}

std::optional<std::uint8_t> TerminalView::next() {
    if (staging_.empty() && !(all_ ? stage_all() : stage_focus())) {
        // Raw: the bytes of the partition in focus go by without being copied.
        Partition& partition = *partitions_[focus_];
        if (all_ || partition.output().empty()) return std::nullopt;
        const std::uint8_t byte = partition.output().pop();
        terminal_.observe(byte);
        return byte;
    }
    return staging_.pop();
}

// True when something was staged.
bool TerminalView::stage_focus() {
    Partition& partition = *partitions_[focus_];
    if (const auto event = partition.take_event()) {
        stage_event(partition, *event);
        return true;
    }
    if (next_focus_ && partition.output().empty()) {
        show(*next_focus_);
        return true;
    }
    return false;
}

void TerminalView::show(unsigned number) {
    if (!partitions_[number]) return;
    leave_view();
    next_focus_.reset();
    all_ = false;
    focus_ = number;
    Partition& partition = *partitions_[number];
    tag(partition);
    print(staging_, " {}\n", console_text::state_name(number, partition.state()));
    stage_lost(partition);
    set_sight();
}

void TerminalView::show_all() {
    leave_view();
    next_focus_.reset();
    all_ = true;
    print(staging_, "\033[1;7m[all]\033[0m what is typed goes to {}\n", partitions_[focus_]->name());
    for (auto& partition : partitions_)
        if (partition) stage_lost(*partition);
    set_sight();
}

void TerminalView::replay() {
    Partition& partition = *partitions_[focus_];
    partition.output().rewind();
    begin_note();
    tag(partition);
    print(staging_, " the last {} bytes of its output:\n", partition.output().size());
}

void TerminalView::leave_view() {
    terminal_.restore(staging_);
    open_line_.reset();
}

void TerminalView::begin_note() {
    if (!terminal_.at_line_start()) staging_.write("\n");
    open_line_.reset();
}

void TerminalView::note(std::string_view text) {
    constexpr std::size_t reserved = 4096;         // for the tags of a switch, which is never cut
    const std::size_t room = staging_.room() / 2;  // each character may be a line end
    if (room > reserved) staging_.write({text.data(), std::min(text.size(), room - reserved)});
}

void TerminalView::set_sight() {
    for (auto& partition : partitions_)
        if (partition)
            partition->set_sight(all_ ? Sight::lines : partition->number() == focus_ ? Sight::bytes : Sight::hidden);
}

void TerminalView::tag(const Partition& partition) {
    print(staging_, "\033[{}m[{}]\033[0m", console_text::colour(partition.number()), partition.name());
}

void TerminalView::stage_event(const Partition& partition, const Partition::Event& event) {
    begin_note();
    tag(partition);
    print(staging_, " {}", console_text::state_name(partition.number(), event.state));
    if (!event.text().empty()) print(staging_, ": {}", event.text());
    if (partition.number() != hypervisor_partition && event.state != link::PartitionState::running)
        staging_.write(" (Ctrl-A r starts it again, Ctrl-A d shows its state)");
    staging_.write("\n");
}

void TerminalView::stage_lost(Partition& partition) {
    const std::uint64_t lost = partition.output().take_lost();
    if (lost != 0) {
        tag(partition);
        print(staging_, " {} bytes of older output were lost\n", lost);
    }
}

// ---- the view of all partitions

void TerminalView::tick() {
    for (auto& partition : partitions_) {
        if (!partition) continue;
        const unsigned number = partition->number();
        const std::uint64_t position = partition->output().write_position();
        if (position == seen_at_tick_[number] && !partition->output().empty())
            flush_ |= static_cast<std::uint16_t>(1u << number);
        seen_at_tick_[number] = position;
    }
}

// Each partition in turn gives one line, so that none waits for more than one line of each other.
bool TerminalView::stage_all() {
    for (unsigned i = 1; i <= max_partitions; ++i) {
        const unsigned number = (turn_ + i) % max_partitions;
        if (!partitions_[number]) continue;
        Partition& partition = *partitions_[number];
        if (const auto event = partition.take_event()) {
            stage_event(partition, *event);
        } else if (const auto piece = next_piece(partition)) {
            stage_piece(partition, *piece);
        } else {
            continue;
        }
        turn_ = number;
        return true;
    }
    return false;
}

std::optional<TerminalView::Piece> TerminalView::next_piece(Partition& partition) const {
    const OutputRing& output = partition.output();
    const std::size_t limit = std::min(output.size(), Partition::long_line);
    for (std::size_t i = 0; i < limit; ++i)
        if (output.peek(i) == '\n') return Piece{i + 1, true};
    if (limit == Partition::long_line) {
        // Not in the middle of a character: the last one of UTF-8 (continuation bytes are 10xxxxxx) waits for the next
        // piece.
        std::size_t length = limit;
        while (length > limit - 4 && (output.peek(length - 1) & 0xc0) == 0x80) --length;
        if (output.peek(length - 1) >= 0xc0) --length;
        return Piece{length, false};
    }
    if (limit != 0 && (flush_ >> partition.number() & 1)) return Piece{limit, false};
    return std::nullopt;
}

void TerminalView::stage_piece(Partition& partition, Piece piece) {
    flush_ &= static_cast<std::uint16_t>(~(1u << partition.number()));
    if (open_line_ != partition.number()) {
        if (open_line_) staging_.write("\n");
        tag(partition);
        staging_.write(" ");
    }
    Neutraliser text{staging_};
    OutputRing& output = partition.output();
    std::size_t shown = piece.length;
    if (piece.complete) {
        --shown;
        while (shown > 0 && output.peek(shown - 1) == '\r') --shown;
    }
    for (std::size_t i = 0; i < shown; ++i) text.add(output.peek(i));
    text.finish();
    output.skip(piece.length);
    if (piece.complete) {
        staging_.write("\n");
        open_line_.reset();
    } else {
        open_line_ = partition.number();
    }
}

}  // namespace bulkhead::monitor
