// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "guest/ata_device.hpp"
#include "guest/block.hpp"

namespace bulkhead::guest {

// Sense key, additional sense code and its qualifier (SPC-2, 7.20).
struct AtapiSense {
    std::uint8_t key{}, code{}, qualifier{};
};

// A CD-ROM or DVD-ROM drive with a disc in it that stays there: the PACKET feature set (ATA/ATAPI-6) by PIO, and the
// commands of MMC-4 for reading data. The disc has one session with one track. The last sector of a store that ends
// within it is there and cannot be read.
//
// There is no unit attention: the disc is never changed, and resets are not told.
class AtapiDrive final : public AtaDevice {
  public:
    static constexpr unsigned sector_size = 2048;

    // `drive` counts from 0 and makes the serial number. The store outlives the drive, which is its only user.
    AtapiDrive(unsigned drive, BlockStore& store);

  private:
    static constexpr unsigned packet_size = 12;
    using Packet = std::array<std::uint8_t, packet_size>;

    void execute(std::uint8_t command) override;
    void buffer_passed() override;
    void block_passed() override;
    void set_signature() override;
    void revert() override {}
    // DRDY only after a command: so that hosts do not take it for a disk (9.1.1).
    std::uint8_t idle_status() const override { return ata::status::DRDY | ata::status::DSC; }

    void device_reset();
    void refuse_as_no_disk();
    void identify();
    void ask_for_packet();

    // ---- the end of a packet command

    void succeed();
    void check(AtapiSense sense);
    // The first `length` bytes of the buffer, or as many as the host has asked for.
    void reply(unsigned length, unsigned asked);
    void start_data_block();

    // ---- packet commands: atapi_commands.cpp

    void execute_packet();
    bool execute_read();
    void read_blocks(std::uint32_t lba, std::uint32_t count);
    void read_cd();
    // The sector at lba_, to the buffer. False when it has failed.
    [[nodiscard]] bool load();
    void seek();
    void request_sense();
    void inquiry();
    void read_capacity();
    void read_toc();
    void toc_tracks(unsigned first, bool minutes);
    void toc_sessions(bool minutes);
    void mode_sense();
    void describe_capabilities(std::span<std::byte> page) const;
    void start_stop();
    void prevent_removal();
    void get_configuration();
    void get_event_status();
    void mechanism_status();
    std::uint32_t packet16(unsigned at) const;
    std::uint32_t packet32(unsigned at) const;
    std::span<std::byte> cleared(unsigned size);

    const unsigned drive_;
    BlockStore& store_;
    const std::uint32_t sectors_;
    AtapiSense sense_;  // for REQUEST SENSE
    bool removal_prevented_{};

    // The command under way.
    enum class Activity : std::uint8_t { none, identify, packet, reply, read };
    Activity activity_{};
    Packet packet_{};
    std::uint32_t byte_count_limit_{};
    std::uint64_t bytes_left_{};  // that no block has asked for yet
    std::uint32_t lba_{};         // the sector in the buffer
};

}  // namespace bulkhead::guest
