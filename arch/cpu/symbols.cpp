// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "arch/cpu/backtrace.hpp"

namespace bulkhead::cpu {

std::optional<Symbol> find_symbol(std::span<const SymbolEntry> entries, const char* strings, std::uint64_t offset) {
    const auto after = std::upper_bound(entries.begin(), entries.end(), offset,
                                        [](std::uint64_t o, const SymbolEntry& entry) { return o < entry.offset; });
    if (after == entries.begin()) return std::nullopt;
    const SymbolEntry& entry = *(after - 1);
    return Symbol{strings + entry.name, offset - entry.offset};
}

}  // namespace bulkhead::cpu
