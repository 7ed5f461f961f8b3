// SPDX-License-Identifier: Apache-2.0
// The high precision event timers: registers in any order, while time goes by.
#include "guest/hpet.hpp"

#include "tests/fuzz/fuzz.hpp"

using namespace bulkhead;
using fuzz::require;

namespace {

struct Inputs {
    void set(unsigned input, bool) { require(input == 0 || input == 8 || (input >= 16 && input < 24), "an input"); }
};

}  // namespace

FUZZ_TARGET(in) {
    fuzz::Time time;
    Inputs inputs;
    guest::Hpet hpet{time.timers, guest::Hpet::Input::to<&Inputs::set>(&inputs)};
    in.repeat([&] {
        // The registers that there are more often than the gaps.
        const std::uint64_t offset = in.chance() ? in.below(0x160) & ~3u : 0x100 + 4 * in.below(4);
        switch (in.below(4)) {
            case 0:
                hpet.write(offset, in.size(8), in.any<std::uint64_t>());
                break;
            case 1:
                hpet.write(0x10, 4, in.below(4));
                break;
            case 2: {
                const std::uint64_t before = hpet.read(0xf0, 8);
                time.pass(in);
                const bool on = (hpet.read(0x10, 4) & 1) != 0;
                require(on || hpet.read(0xf0, 8) == before, "a counter that is off stands still");
                require((hpet.read(0x20, 8) & ~7ull) == 0, "three timers have a status");
                break;
            }
            default:
                static_cast<void>(hpet.read(offset, in.size(8)));
                break;
        }
        require(static_cast<std::uint32_t>(hpet.read(0, 4)) == 0x8086a201, "the capabilities do not change");
    });
}
