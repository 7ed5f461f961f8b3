// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "guest/bus.hpp"
#include "guest/memory.hpp"
#include "lib/address.hpp"

namespace bulkhead::guest {

// What a guest reaches at a run of its addresses without an exit.
enum class Backing : std::uint8_t {
    nothing,
    rom,            // to read; the firmware's image
    ram_to_read,
    ram,            // to read and write
};

// Who changes that. `offset_in_rom` is that of the first address, and counts for Backing::rom alone.
class AddressMap {
  public:
    virtual void back(GuestPhys first, std::uint64_t size, Backing backing, std::uint64_t offset_in_rom) = 0;

  protected:
    ~AddressMap() = default;
};

// The addresses from C0000h to FFFFFh, behind which there are both RAM and, in the last 128 KiB, the end of the
// firmware's image: for each segment the host bridge says whether reads and whether writes go to the RAM. What
// the guest cannot reach by itself comes here as to a device: a write that goes nowhere, mostly.
class ShadowMemory final : public MmioDevice {
  public:
    static constexpr GuestPhys base{0xc'0000}, end{0x10'0000};
    static constexpr std::uint64_t size = 0x4'0000;
    // Twelve of 16 KiB, and a last one of 64 KiB.
    static constexpr unsigned segments = 13;
    struct Access {
        bool read{}, write{};  // of the RAM
    };

    // After reset nothing goes to the RAM. `rom` is the whole image.
    ShadowMemory(Memory& ram, std::span<const std::byte> rom, AddressMap& map);

    void set(unsigned segment, Access access);

    std::uint64_t read(std::uint64_t offset, unsigned size) override;
    void write(std::uint64_t offset, unsigned size, std::uint64_t value) override;

  private:
    static constexpr std::uint64_t small = 0x4000, rom_window = 0x2'0000;

    static unsigned segment_of(std::uint64_t offset);
    static std::uint64_t size_of(unsigned segment) { return segment == segments - 1 ? 4 * small : small; }
    void show(unsigned segment);
    // Where in the image the address is; its size where there is none of it.
    std::uint64_t rom_offset(std::uint64_t offset) const;

    Memory& ram_;
    std::span<const std::byte> rom_;
    AddressMap& map_;
    std::array<Access, segments> access_{};
};

// The firmware's image at the top of the first 4 GiB, for whoever reads it through a device's eyes.
class Rom final : public MmioDevice {
  public:
    explicit Rom(std::span<const std::byte> image) : image_(image) {}
    GuestPhys base() const { return GuestPhys{4 * gib - image_.size()}; }
    std::uint64_t size() const { return image_.size(); }

    std::uint64_t read(std::uint64_t offset, unsigned size) override;
    void write(std::uint64_t, unsigned, std::uint64_t) override {}

  private:
    std::span<const std::byte> image_;
};

}  // namespace bulkhead::guest
