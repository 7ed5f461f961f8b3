// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "guest/ata_device.hpp"
#include "guest/block.hpp"
#include "guest/disk_geometry.hpp"

namespace bulkhead::guest {

// An ATA disk (ATA/ATAPI-6) with 28-bit, 48-bit and CHS addresses, PIO, READ and WRITE MULTIPLE. The last sector of a
// store that ends within it is there and cannot be read.
//
// A sector beyond the last one is IDNF; one that its store cannot read, UNC; one that it cannot write, ABRT.
class AtaDisk final : public AtaDevice {
  public:
    static constexpr unsigned sector_size = 512;
    static constexpr unsigned most_multiple = 16;  // sectors a block

    // `drive` counts from 0 and makes the serial number. The store outlives the disk, which is its only user.
    AtaDisk(unsigned drive, BlockStore& store);

    // As the disk has it after power-on: 16 heads of 63 sectors.
    static DiskGeometry default_geometry(std::uint64_t bytes);

  private:
    enum class Width : std::uint8_t { bits_28, bits_48 };
    enum class Activity : std::uint8_t { none, identify, read, write };

    void execute(std::uint8_t command) override;
    void buffer_passed() override;
    void block_passed() override;
    void set_signature() override;
    void revert() override;
    std::uint8_t idle_status() const override { return ata::status::DRDY | ata::status::DSC; }

    bool execute_transfer(std::uint8_t command);
    // False when it has failed.
    [[nodiscard]] bool locate(Width width);
    void read_sectors(Width width, unsigned per_block);
    void write_sectors(Width width, unsigned per_block);
    void verify_sectors(Width width);
    void start_sectors(Direction direction);
    void read_block();
    void next_sector();
    void finish_transfer();
    // The sector at lba_, to and from the buffer. False when it has failed.
    [[nodiscard]] bool load();
    [[nodiscard]] bool save();
    void fail_here(std::uint8_t error_bits);
    void show(std::uint64_t lba);
    void seek();
    void recalibrate();
    void read_native_max(Width width);
    void initialize_device_parameters();
    void set_multiple();
    void identify();
    void identify_sizes();
    void identify_commands();

    const unsigned drive_;
    BlockStore& store_;
    const std::uint64_t sectors_;
    DiskGeometry geometry_;  // the translation that the host has chosen
    unsigned multiple_{};    // sectors a block; 0: READ and WRITE MULTIPLE are off

    // The command under way.
    Activity activity_{};
    Width width_{};
    unsigned per_block_{};
    std::uint64_t lba_{};   // the sector that passes
    std::uint32_t left_{};  // it, and those behind it
};

}  // namespace bulkhead::guest
