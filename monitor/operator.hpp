// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace bulkhead::monitor {

// What the operator orders at the console, and what he is told.
void start_operator();
// On the boot CPU, when it is ready for guests: everything that is configured starts.
void open_for_business();
// On the boot CPU: powers the machine off once the operator has said so and no guest is left.
void leave_if_done();

}  // namespace bulkhead::monitor
