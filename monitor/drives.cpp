// SPDX-License-Identifier: Apache-2.0
#include "monitor/drives.hpp"

#include <algorithm>

#include "guest/ata_disk.hpp"
#include "guest/atapi_drive.hpp"
#include "lib/log.hpp"
#include "mm/window.hpp"
#include "monitor/system.hpp"

namespace bulkhead::monitor {
namespace {

using guest::BlockError;
using guest::DriveKind;

static_assert(guest::block_page_size == page_size);

constexpr std::string_view name_of(DriveKind kind) {
    return kind == DriveKind::disk ? "disk" : "cdrom";
}

constexpr std::size_t sector_of(DriveKind kind) {
    return kind == DriveKind::disk ? guest::AtaDisk::sector_size : guest::AtapiDrive::sector_size;
}

std::string_view describe(BlockError error) {
    switch (error) {
        case BlockError::past_end: return "it ends before that";
        case BlockError::read_only: return "it takes no writes";
        case BlockError::no_memory: return "its disk-memory is used up";
        case BlockError::medium: break;
    }
    return "its medium failed";
}

}  // namespace

// ---- DiskMemory

bool DiskMemory::reserve(std::size_t blocks) {
    the_system.blocks().set_budget(owner_, blocks);
    for (std::size_t i = 0; i < blocks; ++i) {
        const auto block = the_system.blocks().allocate(owner_);
        if (!block) return false;
        *mm::Window{*block}.at<HostPhys>(0) = untouched_;
        untouched_ = *block;
    }
    return true;
}

void DiskMemory::release() {
    the_system.blocks().release_all(owner_);
    untouched_ = next_ = end_ = {};
}

// What its last owner left in a page is gone before the guest can read it.
guest::BlockPages::Page DiskMemory::allocate() {
    if (next_ == end_) {
        if (untouched_ == HostPhys{}) return Page::none;
        next_ = untouched_;
        end_ = next_ + large_page_size;
        untouched_ = *mm::Window{next_}.at<HostPhys>(0);
    }
    const HostPhys page = next_;
    next_ = next_ + page_size;
    std::ranges::fill(mm::Window{page}.bytes(), std::byte{0});
    return static_cast<Page>(page.value);
}

void DiskMemory::read(Page page, std::size_t offset, std::span<std::byte> to) {
    const mm::Window window{HostPhys{static_cast<std::uint64_t>(page)}};
    std::ranges::copy(window.bytes().subspan(offset, to.size()), to.begin());
}

void DiskMemory::write(Page page, std::size_t offset, std::span<const std::byte> from) {
    const mm::Window window{HostPhys{static_cast<std::uint64_t>(page)}};
    std::ranges::copy(from, window.bytes().subspan(offset).begin());
}

// ---- DriveStore

DriveStore::DriveStore(std::string_view guest, const guest::DriveConfig& config, std::span<const std::byte> image,
                       guest::BlockPages* writes)
    : guest_(guest), config_(config), image_(image) {
    if (writes != nullptr) overlay_.emplace(image_, *writes);
    if (image.size() % sector_of(config.kind) != 0)
        log("guest {}: {} {}: {} bytes are no whole number of sectors: the last one cannot be read", guest_,
            name_of(config.kind), config.file, image.size());
}

std::expected<void, BlockError> DriveStore::read(std::uint64_t offset, std::span<std::byte> to) {
    const auto done = contents().read(offset, to);
    if (!done) tell("read", offset, done.error());
    return done;
}

std::expected<void, BlockError> DriveStore::write(std::uint64_t offset, std::span<const std::byte> from) {
    const auto done = contents().write(offset, from);
    if (!done) tell("write", offset, done.error());
    return done;
}

void DriveStore::tell(std::string_view what, std::uint64_t offset, BlockError error) {
    const std::uint32_t kind = 1u << static_cast<unsigned>(error);
    if ((told_ & kind) != 0) return;
    told_ |= kind;
    log("guest {}: {} {}: a {} of sector {} fails: {}", guest_, name_of(config_.kind), config_.file, what,
        offset / sector_of(config_.kind), describe(error));
}

// ---- Drives

// As much as may be written, and no more than there is to write.
std::size_t Drives::blocks_for(std::span<const std::span<const std::byte>> images) const {
    std::uint64_t pages = 0;
    for (std::size_t i = 0; i < images.size(); ++i)
        if (config_.drives[i].kind == DriveKind::disk) pages += guest::BlockOverlay::most_pages(images[i].size());
    return std::min(pages * page_size + large_page_size - 1, config_.disk_memory) / large_page_size;
}

std::expected<void, std::string_view> Drives::insert(std::span<const std::span<const std::byte>> images) {
    const std::size_t blocks = blocks_for(images);
    if (!memory_.reserve(blocks)) {
        log("guest {}: needs {} MiB for what it writes to its disks", config_.name, blocks * large_page_size / mib);
        return std::unexpected("not enough memory for its disks");
    }
    for (; count_ < images.size(); ++count_) {
        const guest::DriveConfig& drive = config_.drives[count_];
        guest::BlockPages* const writes = drive.kind == DriveKind::disk && blocks != 0 ? &memory_ : nullptr;
        list_[count_] = {drive.kind, &stores_[count_].emplace(config_.name, drive, images[count_], writes)};
    }
    return {};
}

void Drives::remove() {
    for (std::optional<DriveStore>& store : stores_) store.reset();
    count_ = 0;
    memory_.release();
}

}  // namespace bulkhead::monitor
