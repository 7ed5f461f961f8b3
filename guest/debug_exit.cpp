// SPDX-License-Identifier: Apache-2.0
#include "guest/debug_exit.hpp"

#include <string_view>

namespace bulkhead::guest {
namespace {

constexpr std::string_view word = "Shutdown";

}  // namespace

// There is nothing to read: zero at the exit port, and nobody at the other.
std::uint32_t DebugExit::in(std::uint16_t port, unsigned) {
    return port == shutdown_port ? ~0u : 0;
}

void DebugExit::out(std::uint16_t port, unsigned, std::uint32_t value) {
    if (port == shutdown_port)
        take_letter(static_cast<char>(value));
    else
        exit_(std::uint64_t{value} << 1 | 1);
}

void DebugExit::take_letter(char letter) {
    if (letter == word[letters_])
        ++letters_;
    else
        letters_ = letter == word[0] ? 1 : 0;
    if (letters_ < word.size()) return;
    letters_ = 0;
    exit_(shutdown_status);
}

}  // namespace bulkhead::guest
