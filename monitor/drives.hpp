// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <string_view>

#include "guest/block_image.hpp"
#include "guest/block_overlay.hpp"
#include "guest/config.hpp"
#include "guest/ide_function.hpp"
#include "mm/owner.hpp"

namespace bulkhead::monitor {

// Room for what a guest writes to its disks: blocks that are taken when it starts, so that it cannot run short later
// because of others.
class DiskMemory final : public guest::BlockPages {
  public:
    explicit DiskMemory(mm::OwnerId owner) : owner_(owner) {}

    // Takes so many blocks; false when there are not so many. Then, and before another call, `release`.
    [[nodiscard]] bool reserve(std::size_t blocks);
    // Takes back all pages.
    void release();

    Page allocate() override;
    void read(Page page, std::size_t offset, std::span<std::byte> to) override;
    void write(Page page, std::size_t offset, std::span<const std::byte> from) override;

  private:
    const mm::OwnerId owner_;
    HostPhys untouched_{};     // a block, which begins with the address of the next one; null: none
    HostPhys next_{}, end_{};  // pages of the block in use
};

// The contents of one drive, as the guest has them. The operator is told of each kind of failure once.
class DriveStore final : public guest::BlockStore {
  public:
    DriveStore(std::string_view guest, const guest::DriveConfig& config, std::span<const std::byte> image,
               guest::BlockPages* writes);

    std::uint64_t size() const override { return contents().size(); }
    std::expected<void, guest::BlockError> read(std::uint64_t offset, std::span<std::byte> to) override;
    std::expected<void, guest::BlockError> write(std::uint64_t offset, std::span<const std::byte> from) override;

  private:
    guest::BlockStore& contents() { return overlay_ ? static_cast<guest::BlockStore&>(*overlay_) : image_; }
    const guest::BlockStore& contents() const { return const_cast<DriveStore*>(this)->contents(); }
    void tell(std::string_view what, std::uint64_t offset, guest::BlockError error);

    const std::string_view guest_;
    const guest::DriveConfig& config_;
    guest::BlockImage image_;
    std::optional<guest::BlockOverlay> overlay_;
    std::uint32_t told_{};  // a bit for each BlockError
};

// The drives of one guest. What is written to its disks outlives a reset of its machine, and is gone with `remove`.
class Drives {
  public:
    // The configuration outlives the drives. `owner` is for them alone.
    Drives(const guest::GuestConfig& config, mm::OwnerId owner) : config_(config), memory_(owner) {}

    bool inserted() const { return count_ != 0; }
    // `images`: one for each drive of the configuration, for as long as they are inserted. On failure: `remove`.
    std::expected<void, std::string_view> insert(std::span<const std::span<const std::byte>> images);
    void remove();

    std::span<const guest::Drive> list() const { return std::span{list_}.first(count_); }

  private:
    std::size_t blocks_for(std::span<const std::span<const std::byte>> images) const;

    const guest::GuestConfig& config_;
    DiskMemory memory_;
    std::array<std::optional<DriveStore>, guest::max_drives> stores_;
    std::array<guest::Drive, guest::max_drives> list_{};
    std::size_t count_{};
};

}  // namespace bulkhead::monitor
