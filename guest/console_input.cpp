// SPDX-License-Identifier: Apache-2.0
#include "guest/console_input.hpp"

#include "guest/i8042.hpp"
#include "guest/uart.hpp"

namespace bulkhead::guest {

ConsoleInput::ConsoleInput(TimerQueue& timers, SerialPeer& console)
    : timers_(timers),
      console_(console),
      patience_(timers, Delegate<void()>::to<&ConsoleInput::lose_patience>(this)),
      pace_(timers, Delegate<void()>::to<&ConsoleInput::next_is_due>(this)) {}

void ConsoleInput::connect(Uart& uart, I8042& controller) {
    uart_ = &uart;
    controller_ = &controller;
}

void ConsoleInput::wait() {
    extensions_ = 0;
    arm_patience();
}

void ConsoleInput::arm_patience() {
    wrote_ = false;
    patience_.arm(timers_.now() + timers_.hz() / patience_per_second);
}

// As long as keys are being typed, nothing overtakes them - unless the guest has begun to listen to the serial port.
std::optional<std::uint8_t> ConsoleInput::get() {
    if (typing_ && uart_->receive_interrupt_enabled()) {
        typing_ = false;
        withdrawn_.clear();
    }
    if (typing_) return std::nullopt;
    const auto byte = console_.get();
    if (byte || uart_->has_unread()) wait();
    return byte;
}

std::optional<std::uint8_t> ConsoleInput::next_key() {
    if (!typing_ || pace_.armed()) return std::nullopt;
    auto key = withdrawn_.pop();
    if (!key) key = console_.get();
    typing_ = key.has_value();
    if (typing_) {
        pace_.arm(timers_.now() + timers_.hz() / keys_per_second);
        wait();
    }
    return key;
}

void ConsoleInput::next_is_due() { controller_->key_available(); }

void ConsoleInput::input_available() {
    if (typing_) controller_->key_available();
}

// A guest that does not take keys from the keyboard either is left alone with its serial port.
void ConsoleInput::lose_patience() {
    if (typing_) {
        typing_ = false;
        withdrawn_.clear();
        uart_->input_available();
        return;
    }
    if (uart_->receive_interrupt_enabled() || !uart_->has_unread()) return;
    if (wrote_ && extensions_ < most_extensions) {
        ++extensions_;
        return arm_patience();
    }
    while (const auto byte = uart_->withdraw()) static_cast<void>(withdrawn_.push(*byte));
    typing_ = true;
    controller_->key_available();
}

}  // namespace bulkhead::guest
