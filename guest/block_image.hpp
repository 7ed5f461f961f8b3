// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>

#include "guest/block.hpp"

namespace bulkhead::guest {

// Bytes in memory as a store that takes no writes.
class BlockImage final : public BlockStore {
  public:
    // The bytes outlive the image.
    explicit BlockImage(std::span<const std::byte> bytes) : bytes_(bytes) {}

    std::uint64_t size() const override { return bytes_.size(); }
    std::expected<void, BlockError> read(std::uint64_t offset, std::span<std::byte> to) override {
        if (!contains(offset, to.size())) return std::unexpected(BlockError::past_end);
        std::ranges::copy(bytes_.subspan(offset, to.size()), to.begin());
        return {};
    }
    std::expected<void, BlockError> write(std::uint64_t offset, std::span<const std::byte> from) override {
        return std::unexpected(contains(offset, from.size()) ? BlockError::read_only : BlockError::past_end);
    }

  private:
    std::span<const std::byte> bytes_;
};

}  // namespace bulkhead::guest
