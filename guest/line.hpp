// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "lib/delegate.hpp"

namespace bulkhead::guest {

// An interrupt wire from a device. The sink sees only changes of the level.
class InterruptLine {
  public:
    InterruptLine() = default;
    explicit InterruptLine(Delegate<void(bool)> sink) : sink_(sink) {}

    void connect(Delegate<void(bool)> sink) { sink_ = sink; }
    bool level() const { return level_; }
    void set(bool level) {
        if (level == level_) return;
        level_ = level;
        if (sink_) sink_(level);
    }

  private:
    Delegate<void(bool)> sink_;
    bool level_{};
};

}  // namespace bulkhead::guest
