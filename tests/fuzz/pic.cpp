// SPDX-License-Identifier: Apache-2.0
// The 8259A pair: requests, acknowledge cycles and ports in any order.
#include "guest/pic.hpp"

#include "tests/fuzz/fuzz.hpp"

using namespace bulkhead;
using fuzz::require;

namespace {

// What is delivered was asked for by an input that is not masked, or is the spurious input 7. The vector's low bits are
// the input, of either chip.
void acknowledge(guest::PicPair& pic) {
    std::uint16_t open = 0;
    for (unsigned irq = 0; irq < 16; ++irq) open |= static_cast<std::uint16_t>(!pic.masked(irq) << irq);
    const bool asked = pic.intr().level();
    const unsigned input = pic.acknowledge() & 7u;
    require(input == 7 || (open >> input & 1) != 0 || (open >> (input + 8) & 1) != 0,
            "a masked input is not delivered");
    require(input == 7 || asked, "only what INTR tells of is delivered");
}

// All masks set, nothing can be delivered but the spurious interrupt.
void mask_all(guest::PicPair& pic) {
    for (const std::uint16_t chip : {0x20, 0xa0}) {
        pic.out(chip, 1, 0x11);  // ICW1 to ICW4
        for (const std::uint8_t value : {0x20, 0x04, 0x01, 0xff})
            pic.out(static_cast<std::uint16_t>(chip + 1), 1, value);
    }
    require(!pic.intr().level(), "with all inputs masked INTR is low");
    require(pic.in(0x21, 1) == 0xff && pic.in(0xa1, 1) == 0xff, "the masks read as written");
}

}  // namespace

FUZZ_TARGET(in) {
    guest::PicPair pic;
    in.repeat([&] {
        switch (in.below(8)) {
            case 0:
                fuzz::access_port(in, pic, 0x20, 0x21);
                break;
            case 1:
                fuzz::access_port(in, pic, 0xa0, 0xa1);
                break;
            case 2:
                fuzz::access_port(in, pic, 0x4d0, 0x4d1);
                break;
            case 3:
            case 4:
                pic.set_irq(in.below(16), in.chance());
                break;
            case 5:
                if (in.below(16) == 0) mask_all(pic);
                break;
            default:
                acknowledge(pic);
                break;
        }
    });
    mask_all(pic);
}
