// SPDX-License-Identifier: Apache-2.0
#pragma once

// A variable of which every CPU has its own copy, at the same address: the section is linked at layout::private_base,
// and each CPU's page tables map its own frames there. It is initialised with a constant expression, because the
// linked section is the template from which the copies are made.
#define BULKHEAD_PER_CPU [[gnu::section(".percpu")]]

namespace bulkhead::cpu {

// The number of this CPU: 0 is the boot CPU, the others follow in the order in which they were started.
BULKHEAD_PER_CPU extern unsigned index;

}  // namespace bulkhead::cpu
