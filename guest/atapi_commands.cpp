// SPDX-License-Identifier: Apache-2.0
// What comes in packets: SPC-2 and MMC-4.
#include <algorithm>
#include <initializer_list>
#include <string_view>

#include "guest/atapi_drive.hpp"

namespace bulkhead::guest {
namespace {

enum Operation : std::uint8_t {
    TEST_UNIT_READY = 0x00,
    REQUEST_SENSE = 0x03,
    INQUIRY = 0x12,
    START_STOP_UNIT = 0x1b,
    PREVENT_ALLOW_MEDIUM_REMOVAL = 0x1e,
    READ_CAPACITY = 0x25,
    READ_10 = 0x28,
    SEEK_10 = 0x2b,
    READ_TOC = 0x43,
    GET_CONFIGURATION = 0x46,
    GET_EVENT_STATUS_NOTIFICATION = 0x4a,
    MODE_SENSE_10 = 0x5a,
    READ_12 = 0xa8,
    MECHANISM_STATUS = 0xbd,
    READ_CD = 0xbe,
};

constexpr AtapiSense medium_error{0x03, 0x11, 0x00}, invalid_operation{0x05, 0x20, 0x00},
    out_of_range{0x05, 0x21, 0x00}, invalid_field{0x05, 0x24, 0x00}, saving_not_supported{0x05, 0x39, 0x00},
    removal_prevented{0x05, 0x53, 0x02}, illegal_mode_for_track{0x05, 0x64, 0x00};

constexpr std::uint8_t cd_rom_device = 0x05;
constexpr std::uint8_t data_track = 0x14;  // ADR 1, control: data
constexpr std::uint8_t lead_out = 0xaa;
constexpr std::uint32_t lba_of_minute_0 = 150;
// What is longer than 80 minutes is a DVD.
constexpr std::uint32_t most_cd_sectors = 80 * 60 * 75;

void put16(std::span<std::byte> at, unsigned value) {
    at[0] = static_cast<std::byte>(value >> 8);
    at[1] = static_cast<std::byte>(value);
}
void put32(std::span<std::byte> at, std::uint32_t value) {
    put16(at, value >> 16);
    put16(at.subspan(2), value & 0xffff);
}
void put_text(std::span<std::byte> at, std::string_view text) {
    std::ranges::transform(text, at.begin(), [](char c) { return static_cast<std::byte>(c); });
}
// As a logical block or as minute, second and frame; that has no place for more than 255 minutes.
void put_address(std::span<std::byte> at, std::uint32_t lba, bool minutes) {
    if (!minutes) return put32(at, lba);
    const std::uint64_t frames = std::min<std::uint64_t>(std::uint64_t{lba} + lba_of_minute_0, 256 * 60 * 75 - 1);
    at[1] = static_cast<std::byte>(frames / 75 / 60);
    at[2] = static_cast<std::byte>(frames / 75 % 60);
    at[3] = static_cast<std::byte>(frames % 75);
}

}  // namespace

std::uint32_t AtapiDrive::packet16(unsigned at) const {
    return packet_[at] * 256u + packet_[at + 1];
}
std::uint32_t AtapiDrive::packet32(unsigned at) const {
    return packet16(at) << 16 | packet16(at + 2);
}

std::span<std::byte> AtapiDrive::cleared(unsigned size) {
    const auto bytes = buffer().first(size);
    std::ranges::fill(bytes, std::byte{0});
    return bytes;
}

void AtapiDrive::execute_packet() {
    if (execute_read()) return;
    switch (packet_[0]) {
        case TEST_UNIT_READY: return succeed();
        case REQUEST_SENSE: return request_sense();
        case INQUIRY: return inquiry();
        case START_STOP_UNIT: return start_stop();
        case PREVENT_ALLOW_MEDIUM_REMOVAL: return prevent_removal();
        case READ_CAPACITY: return read_capacity();
        case SEEK_10: return seek();
        case READ_TOC: return read_toc();
        case GET_CONFIGURATION: return get_configuration();
        case GET_EVENT_STATUS_NOTIFICATION: return get_event_status();
        case MODE_SENSE_10: return mode_sense();
        case MECHANISM_STATUS: return mechanism_status();
        default: return check(invalid_operation);
    }
}

bool AtapiDrive::execute_read() {
    switch (packet_[0]) {
        case READ_10: read_blocks(packet32(2), packet16(7)); return true;
        case READ_12: read_blocks(packet32(2), packet32(6)); return true;
        case READ_CD: read_cd(); return true;
        default: return false;
    }
}

// ---- the disc's contents ----

bool AtapiDrive::load() {
    if (store_.read(std::uint64_t{lba_} * sector_size, buffer().first(sector_size))) return true;
    check(lba_ < sectors_ ? medium_error : out_of_range);
    return false;
}

void AtapiDrive::read_blocks(std::uint32_t lba, std::uint32_t count) {
    if (count == 0) return succeed();
    const bool past_end = count > sectors_ || lba > sectors_ - count;
    lba_ = past_end ? std::max(lba, sectors_) : lba;
    if (!load()) return;
    activity_ = Activity::read;
    bytes_left_ = std::uint64_t{count} * sector_size;
    rewind_buffer(sector_size);
    start_data_block();
}

// Of a sector in mode 1 only the user data is there.
void AtapiDrive::read_cd() {
    constexpr std::uint8_t any_type = 0, mode_1 = 2, user_data = 0x10;
    const std::uint8_t type = packet_[1] >> 2 & 7;
    if (type != any_type && type != mode_1) return check(illegal_mode_for_track);
    if (packet_[9] != 0 && packet_[9] != user_data) return check(invalid_field);
    read_blocks(packet32(2), packet_[9] == 0 ? 0 : packet32(5) & 0xff'ffff);
}

void AtapiDrive::seek() {
    if (packet32(2) >= sectors_) return check(out_of_range);
    succeed();
}

void AtapiDrive::read_capacity() {
    const auto data = cleared(8);
    put32(data, sectors_ - 1);
    put32(data.subspan(4), sector_size);
    reply(8, 8);
}

// ---- the table of contents ----

void AtapiDrive::read_toc() {
    const bool minutes = (packet_[1] & 0x02) != 0;
    // SFF-8020i has the format in the last byte.
    const unsigned format = (packet_[2] & 0x0f) != 0 ? packet_[2] & 0x0fu : packet_[9] >> 6;
    switch (format) {
        case 0: return toc_tracks(packet_[6], minutes);
        case 1: return toc_sessions(minutes);
        default: return check(invalid_field);
    }
}

void AtapiDrive::toc_tracks(unsigned first, bool minutes) {
    if (first > 1 && first != lead_out) return check(invalid_field);
    const auto data = cleared(20);
    unsigned length = 4;
    const auto add = [&](std::uint8_t track, std::uint32_t lba) {
        const auto entry = data.subspan(length, 8);
        entry[1] = std::byte{data_track};
        entry[2] = std::byte{track};
        put_address(entry.subspan(4), lba, minutes);
        length += 8;
    };
    if (first != lead_out) add(1, 0);
    add(lead_out, sectors_);
    put16(data, length - 2);
    data[2] = data[3] = std::byte{1};  // first and last track
    reply(length, packet16(7));
}

void AtapiDrive::toc_sessions(bool minutes) {
    const auto data = cleared(12);
    put16(data, 10);
    data[2] = data[3] = std::byte{1};  // first and last session
    data[5] = std::byte{data_track};
    data[6] = std::byte{1};
    put_address(data.subspan(8), 0, minutes);
    reply(12, packet16(7));
}

// ---- the drive ----

void AtapiDrive::request_sense() {
    const auto data = cleared(18);
    data[0] = std::byte{0x70};  // of the last command
    data[2] = std::byte{sense_.key};
    data[7] = std::byte{10};
    data[12] = std::byte{sense_.code};
    data[13] = std::byte{sense_.qualifier};
    reply(18, packet_[4]);
}

void AtapiDrive::inquiry() {
    if ((packet_[1] & 0x01) != 0 || packet_[2] != 0) return check(invalid_field);
    const auto data = cleared(36);
    data[0] = std::byte{cd_rom_device};
    data[1] = std::byte{0x80};  // removable
    data[3] = std::byte{0x21};  // as ATAPI has it
    data[4] = std::byte{31};
    put_text(data.subspan(8), "Bulkhead");
    put_text(data.subspan(16), "CD-ROM          ");
    put_text(data.subspan(32), "1.0 ");
    reply(36, packet_[4]);
}

// The tray does not open.
void AtapiDrive::start_stop() {
    constexpr std::uint8_t start = 0x01, load_or_eject = 0x02;
    if ((packet_[4] & (load_or_eject | start)) != load_or_eject) return succeed();
    check(removal_prevented_ ? removal_prevented : invalid_field);
}

void AtapiDrive::prevent_removal() {
    removal_prevented_ = (packet_[4] & 0x01) != 0;
    succeed();
}

// Pages 01h (error recovery) and 2Ah (capabilities). Nothing can be changed.
void AtapiDrive::mode_sense() {
    constexpr unsigned changeable = 1, saved = 3, recovery = 0x01, capabilities = 0x2a, all = 0x3f;
    const unsigned control = packet_[2] >> 6, page = packet_[2] & 0x3f;
    if (control == saved) return check(saving_not_supported);
    if (page != recovery && page != capabilities && page != all) return check(invalid_field);
    const auto data = cleared(8 + 8 + 20);
    unsigned length = 8;
    const auto add = [&](unsigned code, unsigned size) {
        const auto bytes = data.subspan(length, size);
        bytes[0] = static_cast<std::byte>(code);
        bytes[1] = static_cast<std::byte>(size - 2);
        length += size;
        return bytes;
    };
    if (page != capabilities)
        add(recovery, 8)[3] = std::byte{control == changeable ? std::uint8_t{0} : std::uint8_t{5}};
    if (page != recovery) {
        const auto bytes = add(capabilities, 20);
        if (control != changeable) describe_capabilities(bytes);
    }
    put16(data, length - 2);
    data[2] = std::byte{0x01};  // a disc of 120 mm with data
    reply(length, packet16(7));
}

void AtapiDrive::describe_capabilities(std::span<std::byte> page) const {
    constexpr unsigned kib_a_second = 2822;                            // 16 times a CD's
    page[2] = std::byte{0x0b};                                         // reads CD-R, CD-RW and DVD-ROM
    page[6] = removal_prevented_ ? std::byte{0x23} : std::byte{0x21};  // a tray that can be locked
    put16(page.subspan(8), kib_a_second);
    put16(page.subspan(12), 64);  // KiB of buffer
    put16(page.subspan(14), kib_a_second);
}

// Features 0 (profiles), 1 (core), 3 (removable medium) and 10h (random readable).
void AtapiDrive::get_configuration() {
    constexpr unsigned one_feature = 2, dvd_rom = 0x0010, cd_rom = 0x0008;
    constexpr unsigned persistent = 0x02, current = 0x01;
    const unsigned wanted = packet_[1] & 3u, start = packet16(2);
    if (wanted > one_feature) return check(invalid_field);
    const bool dvd = sectors_ > most_cd_sectors;
    const auto data = cleared(64);
    unsigned length = 8;
    const auto add = [&](unsigned code, unsigned flags, std::initializer_list<std::uint8_t> bytes) {
        if (wanted == one_feature ? code != start : code < start) return;
        put16(data.subspan(length), code);
        data[length + 2] = static_cast<std::byte>(flags);
        data[length + 3] = static_cast<std::byte>(bytes.size());
        std::ranges::transform(bytes, data.begin() + length + 4, [](std::uint8_t b) { return std::byte{b}; });
        length += 4 + static_cast<unsigned>(bytes.size());
    };
    add(0x0000, persistent | current, {0, dvd_rom, dvd, 0, 0, cd_rom, !dvd, 0});
    add(0x0001, persistent | current, {0, 0, 0, 2});  // ATAPI
    add(0x0003, persistent | current, {0x21, 0, 0, 0});
    add(0x0010, current, {0, 0, sector_size >> 8, 0, 0, 1, 0, 0});
    put32(data, length - 4);
    put16(data.subspan(6), dvd ? dvd_rom : cd_rom);
    reply(length, packet16(7));
}

// Only by polling: events of the medium, of which there are none.
void AtapiDrive::get_event_status() {
    constexpr std::uint8_t polled = 0x01, media = 1u << 4, no_event = 0x80, media_class = 4, medium_present = 0x02;
    if ((packet_[1] & polled) == 0) return check(invalid_field);
    const bool asked = (packet_[4] & media) != 0;
    const auto data = cleared(8);
    const unsigned length = asked ? 8 : 4;
    put16(data, length - 2);
    data[2] = std::byte{asked ? media_class : no_event};
    data[3] = std::byte{media};
    data[5] = std::byte{medium_present};
    reply(length, packet16(7));
}

void AtapiDrive::mechanism_status() {
    cleared(8);
    reply(8, packet16(8));
}

}  // namespace bulkhead::guest
