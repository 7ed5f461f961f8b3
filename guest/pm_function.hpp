// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "guest/acpi_pm.hpp"
#include "guest/bus.hpp"
#include "guest/pci_function.hpp"

namespace bulkhead::guest {

// Function 3 of the 82371AB (PIIX4; data sheet 290562): where firmware puts the ACPI registers. Until it has they are
// nowhere.
class PmFunction final : public PciFunction, public PortDevice {
  public:
    // Both outlive the function.
    PmFunction(AcpiPm& registers, PortBus& ports);

    std::uint32_t in(std::uint16_t port, unsigned size) override { return registers_.in(moved(port), size); }
    void out(std::uint16_t port, unsigned size, std::uint32_t value) override {
        registers_.out(moved(port), size, value);
    }

  private:
    void written(unsigned offset, std::uint8_t before) override;
    std::uint16_t place() const;
    std::uint16_t moved(std::uint16_t port) const { return static_cast<std::uint16_t>(port - place() + AcpiPm::base); }

    AcpiPm& registers_;
    PortBus& ports_;
};

}  // namespace bulkhead::guest
