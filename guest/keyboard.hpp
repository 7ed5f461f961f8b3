// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>

#include "lib/ring.hpp"

namespace bulkhead::guest {

// A keyboard of the AT and PS/2 kind at the far end of the controller's line, on which nobody types: it answers commands,
// so that whoever asks for a keyboard finds one.
class Keyboard {
  public:
    // A command or its parameter comes from the controller.
    void receive(std::uint8_t value);
    // The next byte that it has to send.
    std::optional<std::uint8_t> send();

  private:
    void reply(std::uint8_t value) { static_cast<void>(output_.push(value)); }
    void obey(std::uint8_t command);
    void take_parameter(std::uint8_t command, std::uint8_t value);

    Ring<std::uint8_t, 16> output_;
    std::uint8_t awaiting_{};  // the command whose parameter comes next; 0: none
    std::uint8_t scan_set_{2};
    std::uint8_t last_sent_{0xaa};
};

}  // namespace bulkhead::guest
