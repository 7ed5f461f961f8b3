// SPDX-License-Identifier: Apache-2.0
// The 8254 with port 61h, while time goes by.
#include "guest/pit.hpp"

#include "tests/fuzz/fuzz.hpp"

using namespace bulkhead;
using fuzz::require;

namespace {

struct Rises {
    std::uint64_t count{};
    void set(bool level) { count += level; }
};

// Mode 2 with a count of 16 bits: what is read is between the count and 1.
void check_rate_generator(fuzz::Input& in, guest::Pit& pit, fuzz::Time& time) {
    const std::uint32_t count = std::max<std::uint32_t>(in.any<std::uint16_t>(), 2);
    pit.out(0x43, 1, 0x34);
    pit.out(0x40, 1, count & 0xff);
    pit.out(0x40, 1, count >> 8);
    time.pass(fuzz::Time::hz / 100'000 + in.any<std::uint16_t>());  // several clocks: the count has been loaded
    pit.out(0x43, 1, 0x00);                                         // latch
    std::uint32_t value = pit.in(0x40, 1);
    value |= pit.in(0x40, 1) << 8;
    require(value >= 1 && value <= count, "a rate generator counts from its count to 1");
}

}  // namespace

FUZZ_TARGET(in) {
    fuzz::Time time;
    guest::Pit pit{time.timers};
    Rises rises;
    pit.irq().connect(Delegate<void(bool)>::to<&Rises::set>(&rises));
    std::uint64_t writes = 0;
    in.repeat([&] {
        switch (in.below(8)) {
            case 0:
            case 1:
            case 2:
                fuzz::access_port(in, pit, 0x40, 0x43);
                break;
            case 3:
                fuzz::access_port(in, pit, 0x61, 0x61);
                break;
            case 4:
                pit.watch(in.chance());
                break;
            case 5:
                check_rate_generator(in, pit, time);
                break;
            default:
                time.pass(in);
                break;
        }
        writes += 4;
        const std::uint64_t clocks = guest::scale(time.clock.now, guest::Pit::hz, fuzz::Time::hz);
        require(rises.count <= clocks + writes, "OUT rises at most once a clock");
    });
}
