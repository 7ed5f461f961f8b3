// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>

#include "guest/key_codes.hpp"
#include "lib/delegate.hpp"
#include "lib/ring.hpp"

namespace bulkhead::guest {

// A US keyboard of the AT and PS/2 kind at the far end of the controller's line, with scan code sets 1 and 2.
class Keyboard {
  public:
    using Typist = Delegate<std::optional<std::uint8_t>()>;  // the next character that is typed

    void set_typist(Typist typist) { typist_ = typist; }

    // A command or its parameter comes from the controller.
    void receive(std::uint8_t value);
    // The next byte that it has to send.
    std::optional<std::uint8_t> send();

  private:
    void reply(std::uint8_t value) { static_cast<void>(output_.push(value)); }
    void obey(std::uint8_t command);
    void type(const KeyStroke& stroke);
    void press(KeyCode key);
    void release(KeyCode key);
    void take_parameter(std::uint8_t command, std::uint8_t value);

    Typist typist_;
    Ring<std::uint8_t, 16> output_;  // of typed keys, one at a time
    std::uint8_t awaiting_{};  // the command whose parameter comes next; 0: none
    std::uint8_t scan_set_{2};
    bool scanning_{true};
    std::uint8_t last_sent_{0xaa};
};

}  // namespace bulkhead::guest
