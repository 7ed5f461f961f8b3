// SPDX-License-Identifier: Apache-2.0
#include "guest/pci_function.hpp"

namespace bulkhead::guest {

PciFunction::PciFunction(const PciIdentity& identity) {
    set(pci_header::vendor, identity.vendor);
    set(pci_header::device, identity.device);
    set(pci_header::revision, identity.class_and_revision);
}

void PciFunction::write(unsigned offset, std::uint8_t value) {
    std::uint8_t& byte = bytes_[offset % space];
    const std::uint8_t before = byte, mask = writable_[offset % space];
    byte = static_cast<std::uint8_t>((before & ~mask) | (value & mask));
    written(offset % space, before);
}

}  // namespace bulkhead::guest
