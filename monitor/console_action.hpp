// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace bulkhead::monitor {

// What a received byte asks of the world outside the console; done once its lock is released.
struct Action {
    enum class Kind : std::uint8_t { none, input, quit, restart, report, dump, screen };
    Kind kind{Kind::none};
    unsigned partition{};
};

}  // namespace bulkhead::monitor
