// SPDX-License-Identifier: Apache-2.0
#include "guest/ata_disk.hpp"

#include <algorithm>

namespace bulkhead::guest {
namespace {

using namespace ata;

enum Command : std::uint8_t {
    RECALIBRATE = 0x10,  // and the fifteen after it, as ATA-1 has them; SEEK likewise
    READ_SECTORS = 0x20,
    READ_SECTORS_WITHOUT_RETRY = 0x21,
    READ_SECTORS_EXT = 0x24,
    READ_NATIVE_MAX_ADDRESS_EXT = 0x27,
    READ_MULTIPLE_EXT = 0x29,
    WRITE_SECTORS = 0x30,
    WRITE_SECTORS_WITHOUT_RETRY = 0x31,
    WRITE_SECTORS_EXT = 0x34,
    WRITE_MULTIPLE_EXT = 0x39,
    READ_VERIFY_SECTORS = 0x40,
    READ_VERIFY_SECTORS_WITHOUT_RETRY = 0x41,
    READ_VERIFY_SECTORS_EXT = 0x42,
    SEEK = 0x70,
    INITIALIZE_DEVICE_PARAMETERS = 0x91,
    READ_MULTIPLE = 0xc4,
    WRITE_MULTIPLE = 0xc5,
    SET_MULTIPLE_MODE = 0xc6,
    FLUSH_CACHE_EXT = 0xea,
    IDENTIFY_DEVICE = 0xec,
    READ_NATIVE_MAX_ADDRESS = 0xf8,
};

constexpr std::uint64_t last_28_bit = 0x0fff'ffff;
constexpr unsigned most_cylinders = 16383;

constexpr std::uint64_t sectors_in(const DiskGeometry& g) {
    return std::uint64_t{g.cylinders} * g.heads * g.sectors;
}

}  // namespace

AtaDisk::AtaDisk(unsigned drive, BlockStore& store)
    : drive_(drive), store_(store), sectors_((store.size() + sector_size - 1) / sector_size) {
    reset();
}

DiskGeometry AtaDisk::default_geometry(std::uint64_t bytes) {
    constexpr unsigned heads = 16, sectors = 63;
    const std::uint64_t cylinders = bytes / sector_size / (heads * sectors);
    return {static_cast<unsigned>(std::clamp<std::uint64_t>(cylinders, 1, most_cylinders)), heads, sectors};
}

void AtaDisk::revert() {
    multiple_ = 0;
    geometry_ = default_geometry(sectors_ * sector_size);
}

// 9.12.
void AtaDisk::set_signature() {
    count_ = lba_low_ = {.now = 1};
    lba_mid_ = lba_high_ = {};
    device_ = 0;
    status_ = idle_status();
}

void AtaDisk::execute(std::uint8_t command) {
    activity_ = Activity::none;
    if (execute_transfer(command)) return;
    switch (command) {
        case READ_VERIFY_SECTORS:
        case READ_VERIFY_SECTORS_WITHOUT_RETRY: return verify_sectors(Width::bits_28);
        case READ_VERIFY_SECTORS_EXT: return verify_sectors(Width::bits_48);
        case READ_NATIVE_MAX_ADDRESS: return read_native_max(Width::bits_28);
        case READ_NATIVE_MAX_ADDRESS_EXT: return read_native_max(Width::bits_48);
        case INITIALIZE_DEVICE_PARAMETERS: return initialize_device_parameters();
        case SET_MULTIPLE_MODE: return set_multiple();
        case FLUSH_CACHE_EXT: return complete();
        case IDENTIFY_DEVICE: return identify();
        default: break;
    }
    if ((command & 0xf0) == RECALIBRATE) return recalibrate();
    if ((command & 0xf0) == SEEK) return seek();
    abort();
}

bool AtaDisk::execute_transfer(std::uint8_t command) {
    switch (command) {
        case READ_SECTORS:
        case READ_SECTORS_WITHOUT_RETRY: read_sectors(Width::bits_28, 1); return true;
        case READ_SECTORS_EXT: read_sectors(Width::bits_48, 1); return true;
        case READ_MULTIPLE: read_sectors(Width::bits_28, multiple_); return true;
        case READ_MULTIPLE_EXT: read_sectors(Width::bits_48, multiple_); return true;
        case WRITE_SECTORS:
        case WRITE_SECTORS_WITHOUT_RETRY: write_sectors(Width::bits_28, 1); return true;
        case WRITE_SECTORS_EXT: write_sectors(Width::bits_48, 1); return true;
        case WRITE_MULTIPLE: write_sectors(Width::bits_28, multiple_); return true;
        case WRITE_MULTIPLE_EXT: write_sectors(Width::bits_48, multiple_); return true;
        default: return false;
    }
}

// ---- addresses ----

// What the registers have becomes lba_ and left_. A count of 0 is the most that the register could say, and one more.
bool AtaDisk::locate(Width width) {
    width_ = width;
    left_ = width == Width::bits_28 ? count_.now : count_.both();
    if (left_ == 0) left_ = width == Width::bits_28 ? 0x100 : 0x1'0000;
    const std::uint64_t low = lba_low_.now, mid = lba_mid_.now, high = lba_high_.now, head = device_ & device::HEAD;
    if (width == Width::bits_48) {
        lba_ = std::uint64_t{lba_high_.before} << 40 | std::uint64_t{lba_mid_.before} << 32 |
               std::uint64_t{lba_low_.before} << 24 | high << 16 | mid << 8 | low;
        return true;
    }
    if ((device_ & device::LBA) != 0) {
        lba_ = head << 24 | high << 16 | mid << 8 | low;
        return true;
    }
    const std::uint64_t cylinder = high << 8 | mid;
    if (low == 0 || low > geometry_.sectors || head >= geometry_.heads) {
        fail(error::IDNF);
        return false;
    }
    lba_ = (cylinder * geometry_.heads + head) * geometry_.sectors + low - 1;
    return true;
}

// The address of a sector, in the form in which the host gave one.
void AtaDisk::show(std::uint64_t lba) {
    const auto byte = [&](unsigned n) { return static_cast<std::uint8_t>(lba >> (8 * n)); };
    const auto set_head = [&](std::uint64_t head) {
        device_ = static_cast<std::uint8_t>((device_ & ~device::HEAD) | (head & device::HEAD));
    };
    if (width_ == Width::bits_48) {
        lba_low_ = {byte(0), byte(3)};
        lba_mid_ = {byte(1), byte(4)};
        lba_high_ = {byte(2), byte(5)};
        return;
    }
    if ((device_ & device::LBA) != 0) {
        set_head(lba >> 24);
    } else {
        const std::uint64_t track = lba / geometry_.sectors, sector = lba % geometry_.sectors + 1;
        set_head(track % geometry_.heads);
        lba = track / geometry_.heads << 8 | sector;
    }
    lba_low_.now = byte(0);
    lba_mid_.now = byte(1);
    lba_high_.now = byte(2);
}

// With the address of the sector that is to blame (ATA/ATAPI-6, 8.27.5).
void AtaDisk::fail_here(std::uint8_t error_bits) {
    show(lba_);
    fail(error_bits);
}

void AtaDisk::seek() {
    if (!locate(Width::bits_28)) return;
    if (lba_ >= sectors_) return fail(error::IDNF);
    complete();
}

void AtaDisk::recalibrate() {
    width_ = Width::bits_28;
    show(0);
    complete();
}

void AtaDisk::read_native_max(Width width) {
    width_ = width;
    std::uint64_t last = sectors_ - (sectors_ != 0 ? 1 : 0);
    if (width == Width::bits_28)
        last = std::min(last, (device_ & device::LBA) != 0 ? last_28_bit : sectors_in(geometry_) - 1);
    show(last);
    complete();
}

// ---- data ----

bool AtaDisk::load() {
    const auto done = store_.read(lba_ * sector_size, buffer().first(sector_size));
    if (!done) fail_here(lba_ < sectors_ ? error::UNC : error::IDNF);
    return done.has_value();
}

bool AtaDisk::save() {
    const auto done = store_.write(lba_ * sector_size, buffer().first(sector_size));
    if (!done) fail_here(lba_ < sectors_ ? error::ABRT : error::IDNF);
    return done.has_value();
}

void AtaDisk::read_sectors(Width width, unsigned per_block) {
    if (per_block == 0) return abort();
    if (!locate(width)) return;
    activity_ = Activity::read;
    per_block_ = per_block;
    read_block();
}

// Where the disk ends is found out before the host has sent anything. The first block is asked for without an interrupt
// (9.6).
void AtaDisk::write_sectors(Width width, unsigned per_block) {
    if (per_block == 0) return abort();
    if (!locate(width)) return;
    if (lba_ >= sectors_ && !save()) return;
    activity_ = Activity::write;
    per_block_ = per_block;
    start_sectors(Direction::to_device);
}

// What can be read is where the store has it: nothing else can be wrong with it.
void AtaDisk::verify_sectors(Width width) {
    if (!locate(width)) return;
    const std::uint64_t first_bad = store_.size() / sector_size;
    if (lba_ + left_ > first_bad) {
        lba_ = std::max(lba_, first_bad);
        if (!load()) return;
    }
    complete();
}

void AtaDisk::start_sectors(Direction direction) {
    rewind_buffer(sector_size);
    start_block(direction, std::min(left_, per_block_) * sector_size);
}

void AtaDisk::read_block() {
    if (!load()) return;
    start_sectors(Direction::to_host);
    request_interrupt();
}

void AtaDisk::next_sector() {
    ++lba_;
    --left_;
}

void AtaDisk::buffer_passed() {
    const bool writing = activity_ == Activity::write;
    if (writing && !save()) return;
    next_sector();
    if (writing || load()) rewind_buffer(sector_size);
}

// The registers then have the last sector and a count of 0, as before ATA-4.
void AtaDisk::finish_transfer() {
    show(lba_ - 1);
    count_ = {};
    if (activity_ == Activity::write) return complete();
    complete_silently();
}

void AtaDisk::block_passed() {
    if (activity_ == Activity::identify) return complete_silently();
    if (activity_ == Activity::read) next_sector();
    if (left_ == 0) return finish_transfer();
    if (activity_ == Activity::read) return read_block();
    start_sectors(Direction::to_device);
    request_interrupt();
}

// ---- parameters ----

void AtaDisk::initialize_device_parameters() {
    const unsigned heads = (device_ & device::HEAD) + 1u, sectors = count_.now;
    if (sectors == 0) return abort();
    const std::uint64_t cylinders = std::min<std::uint64_t>(sectors_ / (heads * sectors), 0xffff);
    geometry_ = {static_cast<unsigned>(cylinders), heads, sectors};
    complete();
}

// A bad number switches READ and WRITE MULTIPLE off (8.49).
void AtaDisk::set_multiple() {
    multiple_ = count_.now;
    const bool good = multiple_ <= most_multiple && (multiple_ & (multiple_ - 1)) == 0;
    if (good) return complete();
    multiple_ = 0;
    abort();
}

// IDENTIFY DEVICE (8.15.8).
void AtaDisk::identify() {
    const DiskGeometry physical = default_geometry(sectors_ * sector_size);
    clear_identity();
    set_word(0, 0x0040);  // ATA, not removable
    set_word(1, physical.cylinders);
    set_word(2, 0xc837);  // needs no SET FEATURES to spin up; this is all
    set_word(3, physical.heads);
    set_word(6, physical.sectors);
    set_text(27, 20, "Bulkhead disk");
    set_common_identity(drive_);
    set_word(47, 0x8000 | most_multiple);
    set_word(53, 0x0003);  // words 54 to 58 and 64 to 70
    set_word(59, multiple_ != 0 ? 0x100 | multiple_ : 0);
    identify_sizes();
    identify_commands();
    activity_ = Activity::identify;
    rewind_buffer(2 * identify_words);
    start_block(Direction::to_host, 2 * identify_words);
    request_interrupt();
}

void AtaDisk::identify_sizes() {
    const std::uint64_t reached = sectors_in(geometry_), lba_28 = std::min(sectors_, last_28_bit);
    set_word(54, geometry_.cylinders);
    set_word(55, geometry_.heads);
    set_word(56, geometry_.sectors);
    for (unsigned i = 0; i < 2; ++i) set_word(57 + i, static_cast<unsigned>(reached >> (16 * i)));
    for (unsigned i = 0; i < 2; ++i) set_word(60 + i, static_cast<unsigned>(lba_28 >> (16 * i)));
    for (unsigned i = 0; i < 4; ++i) set_word(100 + i, static_cast<unsigned>(sectors_ >> (16 * i)));
}

// Words 82 to 84: what is supported; 85 to 87: what is on.
void AtaDisk::identify_commands() {
    constexpr unsigned nop = 1u << 14, look_ahead = 1u << 6, write_cache = 1u << 5, power_management = 1u << 3;
    constexpr unsigned valid = 1u << 14, flush_ext = 1u << 13, flush = 1u << 12, address_48 = 1u << 10;
    set_word(82, nop | look_ahead | write_cache | power_management);
    set_word(83, valid | flush_ext | flush | address_48);
    set_word(84, valid);
    set_word(85, nop | power_management | (look_ahead_ ? look_ahead : 0) | (write_cache_ ? write_cache : 0));
    set_word(86, flush_ext | flush | address_48);
    set_word(87, valid);
}

}  // namespace bulkhead::guest
