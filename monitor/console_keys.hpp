// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "monitor/console_action.hpp"
#include "monitor/console_view.hpp"

namespace bulkhead::monitor {

// What a person types: commands after Ctrl-A, the rest for the partition in focus. Under the console's lock.
class Keyboard {
  public:
    Keyboard(PartitionTable& partitions, TerminalView& view) : partitions_(partitions), view_(view) {}

    Action type(std::uint8_t byte);

  private:
    Action pass_on(std::uint8_t byte);
    Action command(std::uint8_t byte);
    Action for_guest(Action::Kind kind);
    void show(unsigned partition);
    unsigned next() const;
    void note(std::string_view text);

    PartitionTable& partitions_;
    TerminalView& view_;
    bool prefix_{};  // Ctrl-A was typed
};

}  // namespace bulkhead::monitor
