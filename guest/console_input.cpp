// SPDX-License-Identifier: Apache-2.0
#include "guest/console_input.hpp"

#include <utility>

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

void ConsoleInput::begin_wait() {
    writer_waits_until_ = timers_.now() + most_tenths_for_writer * (timers_.hz() / 10);
    extend_wait();
}

void ConsoleInput::extend_wait() {
    wrote_ = false;
    patience_.arm(timers_.now() + (keyboard_is_read_ ? tenths_for_typist : tenths_for_reader) * (timers_.hz() / 10));
}

std::optional<std::uint8_t> ConsoleInput::next_character() {
    if (const auto refused = std::exchange(refused_, std::nullopt)) return refused;
    const auto withdrawn = withdrawn_.pop();
    return withdrawn ? withdrawn : console_.get();
}

// As long as keys are being typed, nothing overtakes them - unless the guest has begun to listen to the serial port.
std::optional<std::uint8_t> ConsoleInput::get() {
    if (typing_) {
        if (!uart_->receive_interrupt_enabled()) return std::nullopt;
        stop_typing();
    }
    const auto byte = next_character();
    if (byte || uart_->has_unread()) begin_wait();
    return byte;
}

// The one before has been taken.
std::optional<std::uint8_t> ConsoleInput::next_key() {
    if (offered_) keyboard_is_read_ = true;
    offered_.reset();
    if (!typing_ || pace_.armed()) return std::nullopt;
    offered_ = next_character();
    typing_ = offered_.has_value();
    if (typing_) {
        pace_.arm(timers_.now() + timers_.hz() / keys_per_second);
        begin_wait();
    }
    return offered_;
}

void ConsoleInput::next_is_due() { controller_->key_available(); }

void ConsoleInput::input_available() {
    if (typing_) controller_->key_available();
}

void ConsoleInput::lose_patience() {
    if (typing_) return return_to_serial();
    if (uart_->receive_interrupt_enabled() || !uart_->has_unread()) return;
    if (wrote_ && timers_.now() < writer_waits_until_) return extend_wait();
    type_at_keyboard();
}

void ConsoleInput::type_at_keyboard() {
    while (const auto byte = uart_->withdraw()) static_cast<void>(withdrawn_.push(*byte));
    typing_ = true;
    begin_wait();
    controller_->key_available();
}

void ConsoleInput::stop_typing() {
    typing_ = keyboard_is_read_ = false;
    refused_ = std::exchange(offered_, std::nullopt);
}

// The guest takes no keys. It is left alone with its serial port until more is typed.
void ConsoleInput::return_to_serial() {
    stop_typing();
    uart_->input_available();
    patience_.disarm();
}

}  // namespace bulkhead::guest
