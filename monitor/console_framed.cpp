// SPDX-License-Identifier: Apache-2.0
#include "monitor/console_framed.hpp"

#include <algorithm>

namespace bulkhead::monitor {

using link::Type;

void FramedLink::hello() {
    hello_ = true;
    expected_.fill(0);
    answers_.clear();
    for (unsigned n = 0; n < max_partitions; ++n)
        if (partitions_[n]) unannounced_ |= static_cast<std::uint16_t>(1u << n);
    unstated_ = unannounced_;
}

std::optional<std::uint8_t> FramedLink::next() {
    if (out_sent_ == out_used_ && !build()) return std::nullopt;
    return out_[out_sent_++];
}

bool FramedLink::build() {
    return build_announcement() || build_answer() || build_output();
}

void FramedLink::send(Type type, unsigned partition, std::span<const std::uint8_t> payload) {
    out_used_ = link::encode({type, static_cast<std::uint8_t>(partition), sequence_++, payload}, out_);
    out_sent_ = 0;
}

bool FramedLink::build_announcement() {
    if (hello_) {
        hello_ = false;
        const auto count = std::ranges::count_if(partitions_, [](const auto& p) { return p.has_value(); });
        const std::uint8_t payload[] = {link::protocol_version, link::max_payload, static_cast<std::uint8_t>(count)};
        send(Type::hello, hypervisor_partition, payload);
        return true;
    }
    if (unannounced_ != 0) {
        const auto number = static_cast<unsigned>(std::countr_zero(unannounced_));
        unannounced_ &= static_cast<std::uint16_t>(unannounced_ - 1);
        const std::string_view name = partitions_[number]->name();
        send(Type::announce, number, {reinterpret_cast<const std::uint8_t*>(name.data()), name.size()});
        return true;
    }
    if (unstated_ != 0) {
        const auto number = static_cast<unsigned>(std::countr_zero(unstated_));
        unstated_ &= static_cast<std::uint16_t>(unstated_ - 1);
        send_state(number, partitions_[number]->state(), partitions_[number]->state_text());
        return true;
    }
    return false;
}

void FramedLink::send_state(unsigned partition, link::PartitionState state, std::string_view text) {
    std::array<std::uint8_t, link::max_payload> payload;
    payload[0] = static_cast<std::uint8_t>(state);
    const std::size_t length = std::min(text.size(), payload.size() - 1);
    std::copy_n(text.begin(), length, payload.begin() + 1);
    send(Type::state, partition, std::span{payload}.first(length + 1));
}

bool FramedLink::build_answer() {
    const auto answer = answers_.pop();
    if (!answer) return false;
    send(answer->type, answer->partition, {&answer->sequence, 1});
    return true;
}

// Each partition in turn gives one frame, so that one that floods delays another by one frame at most.
bool FramedLink::build_output() {
    for (unsigned i = 1; i <= max_partitions; ++i) {
        const unsigned number = (turn_ + i) % max_partitions;
        if (!partitions_[number]) continue;
        if (build_event(*partitions_[number]) || build_data(*partitions_[number])) {
            turn_ = number;
            return true;
        }
    }
    return false;
}

bool FramedLink::build_event(Partition& partition) {
    const auto event = partition.take_event();
    if (!event) return false;
    send_state(partition.number(), event->state, event->text());
    return true;
}

bool FramedLink::build_data(Partition& partition) {
    OutputRing& output = partition.output();
    std::array<std::uint8_t, link::max_payload> payload;
    const std::size_t length = std::min({output.size(), payload.size(), partition.bytes_before_event()});
    if (length == 0) return false;
    for (std::size_t i = 0; i < length; ++i) payload[i] = output.pop();
    send(Type::data, partition.number(), std::span{payload}.first(length));
    return true;
}

// ---- from the line

Action FramedLink::receive(std::uint8_t byte) {
    const auto frame = decoder_.feed(byte);
    return frame ? take(*frame) : Action{};
}

void FramedLink::answer(Type type, const link::Frame& frame) {
    // The other end has one frame outstanding and repeats what is not answered: an answer may be dropped.
    static_cast<void>(answers_.push({type, frame.partition, frame.sequence}));
}

Action FramedLink::take(const link::Frame& frame) {
    if (frame.type != Type::input && frame.type != Type::command) return {};
    if (frame.partition >= max_partitions || !partitions_[frame.partition]) return {};
    if (frame.type == Type::command && frame.payload.size() == 1 &&
        frame.payload[0] == static_cast<std::uint8_t>(link::Command::hello)) {
        hello();
        return {};
    }
    std::uint8_t& expected = expected_[frame.partition];
    if (frame.sequence != expected) {
        // A repetition whose acknowledgement was lost, or came late; anything else the other end must not send.
        if (frame.sequence == static_cast<std::uint8_t>(expected - 1)) answer(Type::ack, frame);
        return {};
    }
    auto& input = partitions_[frame.partition]->input();
    if (frame.type == Type::input && input.room() < frame.payload.size()) {
        answer(Type::busy, frame);
        return {};
    }
    ++expected;
    answer(Type::ack, frame);
    if (frame.type == Type::command) return obey(frame);
    if (frame.partition == hypervisor_partition) return {};
    for (const std::uint8_t byte : frame.payload) static_cast<void>(input.push(byte));
    return {Action::Kind::input, frame.partition};
}

Action FramedLink::obey(const link::Frame& frame) {
    if (frame.payload.size() != 1) return {};
    const bool guest = frame.partition != hypervisor_partition;
    switch (static_cast<link::Command>(frame.payload[0])) {
        case link::Command::quit:
            return {Action::Kind::quit, hypervisor_partition};
        case link::Command::report:
            return {Action::Kind::report, hypervisor_partition};
        case link::Command::restart:
            if (guest) return {Action::Kind::restart, frame.partition};
            break;
        case link::Command::dump:
            if (guest) return {Action::Kind::dump, frame.partition};
            break;
        case link::Command::screen:
            if (guest) return {Action::Kind::screen, frame.partition};
            break;
        case link::Command::hello:
            break;
    }
    return {};
}

}  // namespace bulkhead::monitor
