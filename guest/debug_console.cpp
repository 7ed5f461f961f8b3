// SPDX-License-Identifier: Apache-2.0
#include "guest/debug_console.hpp"

namespace bulkhead::guest {
namespace {

constexpr std::uint8_t present = 0xe9;

}  // namespace

void DebugConsole::transmit_room() {
    while (!backlog_.empty() && peer_.put(backlog_.front())) static_cast<void>(backlog_.pop());
}

// An access of several bytes reaches past the port, where nobody is.
std::uint32_t DebugConsole::in(std::uint16_t port, unsigned size) {
    return bytewise_in(port, size, [port](std::uint16_t p) { return p == port ? present : std::uint8_t{0xff}; });
}

void DebugConsole::out(std::uint16_t, unsigned, std::uint32_t value) {
    const auto byte = static_cast<std::uint8_t>(value);
    if (backlog_.empty() && peer_.put(byte)) return;
    static_cast<void>(backlog_.push(byte));
}

}  // namespace bulkhead::guest
