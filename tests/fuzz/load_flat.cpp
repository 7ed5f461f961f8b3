// SPDX-License-Identifier: Apache-2.0
// The loader of flat binaries, with images that fit and images that do not.
#include "guest/loader_flat.hpp"

#include "tests/fuzz/images.hpp"

using namespace bulkhead;
using fuzz::require;

FUZZ_TARGET(in) {
    const std::uint64_t room = in.below(3) * page_size;
    fuzz::Ram memory{in, mib + room};
    const fuzz::Bytes image(in.below(3 * page_size), std::byte{in.any<std::uint8_t>()});
    const auto state = guest::load_flat(image, memory.map(), memory);
    fuzz::check_outcome(state, memory);
    require(!state || (!image.empty() && image.size() <= room), "what does not fit is refused");
    if (state) require(memory.holds(guest::flat_load_address.value, image), "the image is there, whole");
}
