// SPDX-License-Identifier: Apache-2.0
// The loader of flat binaries.
#include "guest/loader_flat.hpp"

#include "tests/fuzz/images.hpp"

using namespace bulkhead;
using fuzz::require;

FUZZ_TARGET(in) {
    fuzz::Ram memory{in};
    const fuzz::Bytes image = in.below(256) == 255 ? fuzz::Bytes(mib + in.below(64), std::byte{0x90}) : in.rest();
    const auto state = guest::load_flat(image, memory.map(), memory);
    fuzz::check_outcome(state, memory);
    if (state) require(memory.holds(guest::flat_load_address.value, image), "the image is there, whole");
}
