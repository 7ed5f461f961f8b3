// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "lib/format.hpp"

namespace bulkhead::cpu {

// A function of the image; sorted by offset in the table that scripts/symbols makes from the first link.
struct SymbolEntry {
    std::uint32_t offset;  // from the image's base address
    std::uint32_t name;    // in the string table
};
struct Symbol {
    std::string_view name;
    std::uint64_t offset{};  // of the address in the function
};

// The last entry that begins at or below `offset`; none below the first.
std::optional<Symbol> find_symbol(std::span<const SymbolEntry> entries, const char* strings, std::uint64_t offset);

// Where a backtrace begins.
struct CodePosition {
    std::uint64_t rip{};
    std::uint64_t rbp{};
    std::uint64_t rsp{};  // 0: the function at `rip` has a frame
};

// The function at `rip` and its callers, by the chain of frame pointers that begins with `rbp`. A broken chain ends it.
void print_backtrace(TextSink& out, CodePosition from);

}  // namespace bulkhead::cpu
