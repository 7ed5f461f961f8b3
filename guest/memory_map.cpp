// SPDX-License-Identifier: Apache-2.0
#include "guest/memory_map.hpp"

#include <algorithm>

namespace bulkhead::guest {

std::span<const E820Entry> MemoryMap::e820(std::span<E820Entry, max_e820_entries> storage) const {
    std::size_t count = 0;
    const auto add = [&](GuestPhys first, GuestPhys end, E820Type type) {
        if (end > first) storage[count++] = {first, end - first, type};
    };
    add(GuestPhys{0}, std::min(layout::ebda, low_end()), E820Type::usable);
    add(layout::ebda, GuestPhys{0xa'0000}, E820Type::reserved);
    add(layout::bios_area, layout::extended_memory, E820Type::reserved);
    add(layout::extended_memory, low_end(), E820Type::usable);
    // The registers of the I/O APIC and of the local APICs.
    add(layout::ioapic, layout::lapic + page_size, E820Type::reserved);
    add(layout::high_ram, layout::high_ram + high_, E820Type::usable);
    return storage.first(count);
}

}  // namespace bulkhead::guest
