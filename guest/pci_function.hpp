// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <concepts>
#include <cstdint>

namespace bulkhead::guest {

// Bits of the header that every function has (PCI Local Bus specification 3.0, 6.2).
namespace pci_header {
inline constexpr unsigned vendor = 0x00, device = 0x02, command = 0x04, status = 0x06, revision = 0x08,
                          header_type = 0x0e, bar0 = 0x10, subsystem_vendor = 0x2c, subsystem = 0x2e,
                          interrupt_line = 0x3c;
inline constexpr std::uint8_t multi_function = 0x80;
inline constexpr std::uint16_t io_space = 1u << 0, memory_space = 1u << 1, bus_master = 1u << 2;
}  // namespace pci_header

struct PciIdentity {
    std::uint16_t vendor{}, device{};
    std::uint32_t class_and_revision{};  // class, subclass, programming interface, revision
};

// The configuration space of one PCI function: 256 bytes of which the guest can write the bits that its device says.
class PciFunction {
  public:
    static constexpr unsigned space = 256;

    std::uint8_t read(unsigned offset) const { return bytes_[offset % space]; }
    void write(unsigned offset, std::uint8_t value);

  protected:
    explicit PciFunction(const PciIdentity& identity);
    ~PciFunction() = default;

    // Registers are little-endian; `offset` is in bytes.
    template <std::unsigned_integral T>
    T get(unsigned offset) const {
        T value = 0;
        for (unsigned i = 0; i < sizeof(T); ++i) value = static_cast<T>(value | T{bytes_[offset + i]} << (8 * i));
        return value;
    }
    // The value after reset, and the bits of it that the guest can write.
    template <std::unsigned_integral T>
    void set(unsigned offset, T value, T writable = 0) {
        for (unsigned i = 0; i < sizeof(T); ++i) {
            bytes_[offset + i] = static_cast<std::uint8_t>(value >> (8 * i));
            writable_[offset + i] = static_cast<std::uint8_t>(writable >> (8 * i));
        }
    }
    // The guest has written a byte, and `before` was there.
    virtual void written(unsigned /*offset*/, std::uint8_t /*before*/) {}

  private:
    std::array<std::uint8_t, space> bytes_{}, writable_{};
};

}  // namespace bulkhead::guest
