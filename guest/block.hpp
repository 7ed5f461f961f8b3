// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>

namespace bulkhead::guest {

enum class BlockError : std::uint8_t {
    past_end,   // the range is not wholly inside the store
    read_only,  // the store takes no writes
    no_memory,  // the store has no room for what is written
    medium,     // what lies below cannot be read or written
};

// What holds a disk's or disc's contents: bytes at offsets from 0 to size(). A controller asks in whole sectors and is
// the only caller; it does not call from two CPUs at once.
class BlockStore {
  public:
    virtual std::uint64_t size() const = 0;  // in bytes; constant
    // Fills the whole of `to`, or fails: then what `to` holds is undefined.
    virtual std::expected<void, BlockError> read(std::uint64_t offset, std::span<std::byte> to) = 0;
    // After past_end and read_only nothing is written; after another failure, any part of it may be.
    virtual std::expected<void, BlockError> write(std::uint64_t offset, std::span<const std::byte> from) = 0;

    bool contains(std::uint64_t offset, std::uint64_t length) const {
        return offset <= size() && length <= size() - offset;
    }

  protected:
    ~BlockStore() = default;
};

}  // namespace bulkhead::guest
