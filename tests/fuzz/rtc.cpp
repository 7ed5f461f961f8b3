// SPDX-License-Identifier: Apache-2.0
// The MC146818 and its NVRAM, while time goes by.
#include "guest/rtc.hpp"

#include "tests/fuzz/fuzz.hpp"

using namespace bulkhead;
using fuzz::require;

namespace {

std::uint8_t read(guest::Rtc& rtc, std::uint8_t cell) {
    rtc.out(0x70, 1, cell);
    return static_cast<std::uint8_t>(rtc.in(0x71, 1));
}

// Register C against the line and register B (data sheet, "Register C").
void check_interrupt(guest::Rtc& rtc) {
    const bool level = rtc.irq().level();
    const unsigned enabled = read(rtc, 0x0b) & 0x70u, flags = read(rtc, 0x0c);
    require(((flags & 0x80) != 0) == ((flags & enabled) != 0), "IRQF is set by enabled flags alone");
    require(!level || (flags & 0x80) != 0, "the line is IRQF");
    require(!rtc.irq().level() && (read(rtc, 0x0c) & 0x80) == 0, "reading register C clears it");
}

// What is kept in NVRAM beyond the registers (0Eh on) stays.
void check_nvram(fuzz::Input& in, guest::Rtc& rtc) {
    const auto cell = static_cast<std::uint8_t>(0x40 + in.below(0x40)), value = in.any<std::uint8_t>();
    rtc.out(0x70, 1, cell);
    rtc.out(0x71, 1, value);
    require(read(rtc, cell) == value && rtc.nvram(cell) == value, "NVRAM keeps what is written");
}

}  // namespace

FUZZ_TARGET(in) {
    fuzz::Time time;
    guest::Rtc rtc{time.timers, in.any<std::uint32_t>()};
    in.repeat([&] {
        switch (in.below(8)) {
            case 0:
            case 1:
            case 2:
                fuzz::access_port(in, rtc, 0x70, 0x71);
                break;
            // The registers more often than NVRAM.
            case 3:
                rtc.out(0x70, 1, in.below(14));
                rtc.out(0x71, 1, in.any<std::uint8_t>());
                break;
            case 4:
                check_interrupt(rtc);
                break;
            case 5:
                check_nvram(in, rtc);
                break;
            default:
                time.pass(in);
                break;
        }
        require((read(rtc, 0x0d) & 0x7f) == 0, "register D has the VRT bit alone");
    });
}
