// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <string_view>

#include "guest/load_error.hpp"
#include "guest/placement.hpp"

namespace bulkhead::guest {

// A program header, of either class.
struct ElfSegment {
    std::uint32_t type{};
    std::uint64_t offset{}, vaddr{}, paddr{}, file_size{}, memory_size{};

    static constexpr std::uint32_t LOAD = 1, NOTE = 4;
};

// An executable for x86, 32-bit or 64-bit (System V ABI, chapters 4 and 5). It views the file, which stays valid.
class Elf {
  public:
    static bool is_elf(std::span<const std::byte> file);
    // Refuses what is truncated, contradicts itself, or is for another machine. Segments of every type lie in the file.
    static std::expected<Elf, LoadError> parse(std::span<const std::byte> file);

    std::size_t segment_count() const { return count_; }
    ElfSegment segment(std::size_t index) const;
    std::span<const std::byte> contents(const ElfSegment& segment) const {
        return file_.subspan(segment.offset, segment.file_size);
    }

    // Where the kernel starts, as a physical address: the entry point is a virtual one where a segment has it as such.
    std::expected<GuestPhys, LoadError> entry() const;
    // What the note of this owner and type holds.
    std::optional<std::span<const std::byte>> note(std::string_view owner, std::uint32_t type) const;
    // Puts the segments at their physical addresses and into `taken`.
    std::expected<void, LoadError> load(std::span<const E820Entry> map, Memory& memory, Footprint& taken) const;

  private:
    std::expected<void, LoadError> check_segments() const;

    std::span<const std::byte> file_;
    bool wide_{};  // 64-bit
    std::uint64_t entry_{}, headers_{};
    std::size_t count_{}, header_size_{};
};

}  // namespace bulkhead::guest
