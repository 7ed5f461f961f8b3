// SPDX-License-Identifier: Apache-2.0
#include "guest/atapi_drive.hpp"

#include <algorithm>

namespace bulkhead::guest {
namespace {

using namespace ata;

enum Command : std::uint8_t {
    DEVICE_RESET = 0x08,
    READ_SECTORS = 0x20,
    PACKET = 0xa0,
    IDENTIFY_PACKET_DEVICE = 0xa1,
    IDENTIFY_DEVICE = 0xec,
};

// The Interrupt Reason, which a packet device has in place of the count (8.23.6).
constexpr std::uint8_t CD = 0x01, IO = 0x02;
constexpr std::uint8_t DMA = 0x01;  // in Features with PACKET
constexpr std::uint32_t largest_block = 0xfffe;

std::uint32_t sectors_of(const BlockStore& store) {
    const std::uint64_t sectors = (store.size() + AtapiDrive::sector_size - 1) / AtapiDrive::sector_size;
    return static_cast<std::uint32_t>(std::min<std::uint64_t>(sectors, 0xffff'ffff));
}

}  // namespace

AtapiDrive::AtapiDrive(unsigned drive, BlockStore& store) : drive_(drive), store_(store), sectors_(sectors_of(store)) {
    reset();
}

// 9.12. Neither DRDY nor anything else is set.
void AtapiDrive::set_signature() {
    activity_ = Activity::none;
    sense_ = {};
    removal_prevented_ = false;
    count_ = lba_low_ = {.now = 1};
    lba_mid_ = {.now = 0x14};
    lba_high_ = {.now = 0xeb};
    device_ &= device::DEV;
    status_ = 0;
}

void AtapiDrive::execute(std::uint8_t command) {
    activity_ = Activity::none;
    switch (command) {
        case DEVICE_RESET: return device_reset();
        case PACKET: return ask_for_packet();
        case IDENTIFY_PACKET_DEVICE: return identify();
        case IDENTIFY_DEVICE:
        case READ_SECTORS: return refuse_as_no_disk();
        default: return abort();
    }
}

// Without an interrupt (8.7).
void AtapiDrive::device_reset() {
    set_signature();
    error_ = error::passed;
}

// So that a host that asks a disk finds out what is there (8.15.5, 8.27.5).
void AtapiDrive::refuse_as_no_disk() {
    const AtapiSense sense = sense_;
    const bool prevented = removal_prevented_;
    set_signature();
    sense_ = sense;
    removal_prevented_ = prevented;
    abort();
}

// IDENTIFY PACKET DEVICE (8.16.8).
void AtapiDrive::identify() {
    constexpr unsigned nop = 1u << 14, device_reset = 1u << 9, packet = 1u << 4, power_management = 1u << 3;
    constexpr unsigned valid = 1u << 14;
    clear_identity();
    set_word(0, 0x85c0);  // ATAPI, CD-ROM, removable, DRQ within 50 us after PACKET, packets of 12 bytes
    set_text(27, 20, "Bulkhead CD-ROM");
    set_common_identity(drive_);
    set_word(53, 0x0002);  // words 64 to 70
    set_word(82, nop | device_reset | packet | power_management);
    set_word(83, valid);
    set_word(84, valid);
    set_word(85, nop | device_reset | packet | power_management);
    set_word(87, valid);
    activity_ = Activity::identify;
    rewind_buffer(2 * identify_words);
    start_block(Direction::to_host, 2 * identify_words);
    request_interrupt();
}

// The packet is asked for without an interrupt. A byte count limit is even, unless all fits into it (8.23.4).
void AtapiDrive::ask_for_packet() {
    if ((features_ & DMA) != 0) return abort();
    byte_count_limit_ = std::min<std::uint32_t>(lba_high_.now * 256u + lba_mid_.now, largest_block);
    count_.now = CD;
    activity_ = Activity::packet;
    rewind_buffer(packet_size);
    start_block(Direction::to_device, packet_size);
}

// ---- the end of a packet command ----

void AtapiDrive::succeed() {
    activity_ = Activity::none;
    sense_ = {};
    count_.now = CD | IO;
    complete();
}

// The sense key stands in Error, too (8.23.6).
void AtapiDrive::check(AtapiSense sense) {
    activity_ = Activity::none;
    sense_ = sense;
    count_.now = CD | IO;
    fail(static_cast<std::uint8_t>(sense.key << 4 | error::ABRT));
}

void AtapiDrive::reply(unsigned length, unsigned asked) {
    bytes_left_ = std::min(length, asked);
    if (bytes_left_ == 0) return succeed();
    activity_ = Activity::reply;
    rewind_buffer(length);
    start_data_block();
}

// A host that wants data and no bytes at a time gets its command aborted (8.23.4).
void AtapiDrive::start_data_block() {
    const std::uint64_t size = bytes_left_ <= byte_count_limit_ ? bytes_left_ : byte_count_limit_ & ~1u;
    if (size == 0) return abort();
    bytes_left_ -= size;
    lba_mid_.now = static_cast<std::uint8_t>(size);
    lba_high_.now = static_cast<std::uint8_t>(size >> 8);
    count_.now = IO;
    start_block(Direction::to_host, static_cast<unsigned>(size));
    request_interrupt();
}

// ---- data ----

void AtapiDrive::buffer_passed() {
    if (activity_ == Activity::packet) {
        for (unsigned i = 0; i < packet_size; ++i) packet_[i] = std::to_integer<std::uint8_t>(buffer()[i]);
        return execute_packet();
    }
    ++lba_;
    if (load()) rewind_buffer(sector_size);
}

void AtapiDrive::block_passed() {
    if (activity_ == Activity::identify) return complete_silently();
    if (bytes_left_ == 0) return succeed();
    if (buffer_used_up()) {
        ++lba_;
        if (!load()) return;
        rewind_buffer(sector_size);
    }
    start_data_block();
}

}  // namespace bulkhead::guest
