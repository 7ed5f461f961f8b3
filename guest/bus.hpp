// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "lib/address.hpp"

namespace bulkhead::guest {

// A device with I/O ports. `size` is 1, 2 or 4 bytes; the access may reach past the range that the device claimed, and
// a device with 8-bit registers answers a wider one byte by byte (see `bytewise_in`).
class PortDevice {
  public:
    virtual std::uint32_t in(std::uint16_t port, unsigned size) = 0;
    virtual void out(std::uint16_t port, unsigned size, std::uint32_t value) = 0;
    // What REP INS and REP OUTS do: one access after the other, for whole ones. A device that data passes through has
    // quicker ones.
    virtual void in_run(std::uint16_t port, unsigned size, std::span<std::byte> to);
    virtual void out_run(std::uint16_t port, unsigned size, std::span<const std::byte> from);

  protected:
    ~PortDevice() = default;
};

// A device with memory-mapped registers. `offset` is in bytes from the start of its range; `size` is 1, 2, 4 or 8.
class MmioDevice {
  public:
    virtual std::uint64_t read(std::uint64_t offset, unsigned size) = 0;
    virtual void write(std::uint64_t offset, unsigned size, std::uint64_t value) = 0;

  protected:
    ~MmioDevice() = default;
};

// The I/O ports of one guest. What nobody claims reads as all ones and swallows writes, as on an empty bus.
class PortBus {
  public:
    // First and last are inclusive; ranges do not overlap. False when full or overlapping.
    [[nodiscard]] bool claim(std::uint16_t first, std::uint16_t last, PortDevice& device);
    // All that the device has claimed.
    void release(PortDevice& device);
    std::uint32_t in(std::uint16_t port, unsigned size);
    void out(std::uint16_t port, unsigned size, std::uint32_t value);
    // A run counts as one access.
    void in_run(std::uint16_t port, unsigned size, std::span<std::byte> to);
    void out_run(std::uint16_t port, unsigned size, std::span<const std::byte> from);

    struct Range {
        std::uint16_t first{}, last{};
        PortDevice* device{};
        std::uint64_t accesses{};  // since the guest was started
    };
    // What was claimed.
    std::span<const Range> ranges() const { return std::span{ranges_}.first(count_); }
    // Accesses to what nobody claims.
    std::uint64_t unclaimed_accesses() const { return unclaimed_accesses_; }

  private:
    Range* find(std::uint16_t port);
    // The device of an access, which is counted; null: nobody.
    PortDevice* accessed(std::uint16_t port);

    std::array<Range, 32> ranges_{};
    std::size_t count_{};
    std::size_t last_{};  // the range that was found last: mostly the next one
    std::uint64_t unclaimed_accesses_{};
};

// The memory-mapped devices of one guest. What is neither memory nor a device reads as all ones.
class MmioBus {
  public:
    [[nodiscard]] bool claim(GuestPhys first, std::uint64_t size, MmioDevice& device);
    // The local APIC's page moves when the guest writes IA32_APIC_BASE.
    void move(MmioDevice& device, GuestPhys first);
    void release(MmioDevice& device);
    bool claimed(GuestPhys address) const { return find(address) != nullptr; }
    std::uint64_t read(GuestPhys address, unsigned size);
    void write(GuestPhys address, unsigned size, std::uint64_t value);

    struct Range {
        GuestPhys first{};
        std::uint64_t size{};
        MmioDevice* device{};
    };
    std::span<const Range> ranges() const { return std::span{ranges_}.first(count_); }

  private:
    const Range* find(GuestPhys address) const;

    std::array<Range, 8> ranges_{};
    std::size_t count_{};
};

// One access after the other, of `size` bytes each.
template <class In>
void each_in(std::span<std::byte> to, unsigned size, In in) {
    for (; to.size() >= size; to = to.subspan(size)) {
        const std::uint32_t value = in();
        std::memcpy(to.data(), &value, size);
    }
}
template <class Out>
void each_out(std::span<const std::byte> from, unsigned size, Out out) {
    for (; from.size() >= size; from = from.subspan(size)) {
        std::uint32_t value = 0;
        std::memcpy(&value, from.data(), size);
        out(value);
    }
}

// Answers an access of any size to a device of 8-bit registers: one call a byte, low byte first.
template <class In>
std::uint32_t bytewise_in(std::uint16_t port, unsigned size, In in8) {
    std::uint32_t value = 0;
    for (unsigned i = 0; i < size; ++i)
        value |= static_cast<std::uint32_t>(static_cast<std::uint8_t>(in8(static_cast<std::uint16_t>(port + i))))
                 << (8 * i);
    return value;
}
template <class Out>
void bytewise_out(std::uint16_t port, unsigned size, std::uint32_t value, Out out8) {
    for (unsigned i = 0; i < size; ++i)
        out8(static_cast<std::uint16_t>(port + i), static_cast<std::uint8_t>(value >> (8 * i)));
}

}  // namespace bulkhead::guest
