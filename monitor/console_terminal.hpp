// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "lib/format.hpp"

namespace bulkhead::monitor {

// Follows what the user's terminal was told, so that it can be brought back to its normal state when the view changes:
// without undoing what was not done, since leaving an alternate screen that was never entered moves the cursor.
class TerminalState {
  public:
    void observe(std::uint8_t byte) {
        if (state_ == State::ground && byte >= 0x20) {
            column_zero_ = line_empty_ = false;
            return;
        }
        step(byte);
    }
    bool at_line_start() const { return column_zero_ && line_empty_ && state_ == State::ground; }
    // Writes what ends a sequence that was cut off, undoes modes and attributes, and starts a new line.
    void restore(TextSink& sink);

  private:
    enum class State : std::uint8_t { ground, escape, csi, string, string_escape, charset };

    void undo(TextSink& sink) const;
    void step(std::uint8_t byte);
    void ground(std::uint8_t byte);
    void escape(std::uint8_t byte);
    void csi(std::uint8_t byte);
    void finish_csi(std::uint8_t byte);
    void set_mode(unsigned number, bool on);

    State state_{State::ground};
    bool column_zero_{true};
    bool line_empty_{true};
    char prefix_{};  // '?', '!' and the like of a control sequence
    std::array<std::uint16_t, 8> parameters_{};
    std::size_t parameter_{};
    std::uint32_t changed_{};  // bit n: mode n of the table is not at its default
    bool margins_{};
    bool charset_{};
    bool keypad_{};
};

}  // namespace bulkhead::monitor
