// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace bulkhead::monitor {

// An interrupt of the host, taken out of a guest by a VM exit or out of the idle loop by the IDT: notes what happened
// and ends it at the local APIC. If others than the guest are concerned, the doorbell of this CPU is rung afterwards.
void host_interrupt(std::uint8_t vector);

}  // namespace bulkhead::monitor
