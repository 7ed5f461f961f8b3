// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "drivers/uart.hpp"

namespace bulkhead::boot {

// From here on the log goes to the first serial port, and so does the report of a fault. The monitor's console takes
// the log over; reports stay.
void start_log();
drivers::Uart& log_uart();

}  // namespace bulkhead::boot
