// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "guest/pci_function.hpp"

namespace bulkhead::guest {

// Function 0 of the 82371SB (PIIX3; data sheet 290550): the bridge to the ISA bus. Its PIRQ routing registers keep what
// firmware writes; no function has an interrupt pin that they would route.
class IsaBridge final : public PciFunction {
  public:
    IsaBridge();
};

}  // namespace bulkhead::guest
