// SPDX-License-Identifier: Apache-2.0
#include "guest/loader_flat.hpp"

#include "guest/flat_segments.hpp"

namespace bulkhead::guest {

namespace {

// Usable memory from the load address on.
std::uint64_t room(std::span<const E820Entry> map) {
    for (const E820Entry& range : map)
        if (range.type == E820Type::usable && range.first <= flat_load_address && range.end() > flat_load_address)
            return range.end() - flat_load_address;
    return 0;
}

}  // namespace

std::expected<InitialState, LoadError> load_flat(std::span<const std::byte> image, std::span<const E820Entry> map,
                                                 Memory& memory) {
    if (image.empty()) return load_error("the flat image is empty");
    if (image.size() > room(map))
        return load_error("not enough memory: the flat image has {} bytes, and the guest has {} from 1 MiB on",
                          image.size(), room(map));
    if (!memory.write(flat_load_address, image)) return load_error("the guest's memory at 1 MiB cannot be written");

    InitialState state;
    state.rip = flat_load_address.value;
    state.cr0 = isa::cr0::PE | isa::cr0::ET;
    set_flat_segments(state, isa::access_rights::DB);
    return state;
}

}  // namespace bulkhead::guest
