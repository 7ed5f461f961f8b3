// SPDX-License-Identifier: Apache-2.0
#include "monitor/console_partition.hpp"

#include <algorithm>

namespace bulkhead::monitor {

std::size_t OutputRing::drop_torn_line() {
    constexpr std::size_t search = 1024;
    const std::size_t limit = std::min(size(), search);
    for (std::size_t i = 0; i < limit; ++i) {
        if (peek(i) != '\n') continue;
        head_ += i + 1;
        return i + 1;
    }
    return 0;
}

std::uint64_t OutputRing::take_lost() {
    if (lost_ == 0) return 0;
    const std::uint64_t lost = lost_ + drop_torn_line();
    lost_ = 0;
    return lost;
}

void OutputRing::rewind() {
    lost_ = 0;
    head_ = tail_ > capacity() ? tail_ - capacity() : 0;
    if (head_ != 0) drop_torn_line();
}

bool Partition::put(std::uint8_t byte) {
    bool wake = false;
    {
        const LockGuard guard{outlet_.lock};
        if (output_.full()) [[unlikely]] {
            if (sight_ != Sight::hidden) {
                outlet_.waiting |= static_cast<std::uint16_t>(1u << number_);
                return false;
            }
            output_.overwrite_oldest();
        }
        output_.push(byte);
        if (outlet_.idle) {
            wake = sight_ == Sight::bytes || (sight_ == Sight::lines && (byte == '\n' || output_.size() >= long_line));
            if (wake) outlet_.idle = false;
        }
    }
    if (wake) outlet_.rouse();
    return true;
}

std::optional<std::uint8_t> Partition::get() {
    const LockGuard guard{outlet_.lock};
    return input_.pop();
}

void Partition::add_event(link::PartitionState state, std::string_view text) {
    if (events_.full()) static_cast<void>(events_.pop());
    Event event{.state = state, .position = output_.write_position()};
    event.length = static_cast<std::uint8_t>(std::min(text.size(), event.storage.size()));
    std::copy_n(text.begin(), event.length, event.storage.begin());
    static_cast<void>(events_.push(event));
}

std::optional<Partition::Event> Partition::take_event() {
    if (events_.empty() || events_.front().position > output_.read_position()) return std::nullopt;
    const auto event = events_.pop();
    last_event_ = *event;
    return event;
}

std::size_t Partition::bytes_before_event() const {
    if (events_.empty()) return output_.size();
    const std::uint64_t position = events_.front().position;
    return position > output_.read_position() ? position - output_.read_position() : 0;
}

}  // namespace bulkhead::monitor
