// SPDX-License-Identifier: Apache-2.0
// The I/O APIC: registers, pins and EOIs in any order; local APICs that take or refuse.
#include "guest/ioapic.hpp"

#include <optional>

#include "tests/fuzz/fuzz.hpp"

using namespace bulkhead;
using fuzz::require;

namespace {

constexpr unsigned pins = guest::IoApic::pins;
constexpr std::uint32_t MASK = 1u << 16, REMOTE_IRR = 1u << 14, SEND_PENDING = 1u << 12;

// What a message says is what some entry that is not masked says.
struct Bus final : guest::InterruptBus {
    bool deliver(const guest::InterruptMessage& message) override {
        bool found = false;
        for (unsigned pin = 0; pin < pins; ++pin) found |= !io_apic->masked(pin);
        require(found, "with all pins masked there are no messages");
        require(!pin || !io_apic->masked(*pin), "a masked pin sends nothing");
        require(message.destination <= 0xff, "a destination has 8 bits");
        return accepts;
    }
    guest::IoApic* io_apic{};
    std::optional<unsigned> pin;  // that is driven now
    bool accepts{true};
};

std::uint32_t read(guest::IoApic& io_apic, unsigned index) {
    io_apic.write(0, 4, index);
    return static_cast<std::uint32_t>(io_apic.read(0x10, 4));
}

void check(guest::IoApic& io_apic, unsigned pin) {
    const std::uint32_t entry = read(io_apic, 0x10 + 2 * pin);
    require(((entry & MASK) != 0) == io_apic.masked(pin), "the mask reads as it is");
    const bool level = entry >> 15 & 1, fixed = (entry >> 8 & 7) <= 1;
    require(level || (entry & REMOTE_IRR) == 0, "an edge has no remote IRR");
    require(!(level && fixed) || (entry & SEND_PENDING) == 0, "a level is not pending");
    require(read(io_apic, 1) == (0x20 | (pins - 1) << 16), "the version");
    require((read(io_apic, 0x11 + 2 * pin) & 0x00ff'ffff) == 0, "the destination is bits 63:56");
}

}  // namespace

FUZZ_TARGET(in) {
    Bus bus;
    guest::IoApic io_apic{bus, 0x00ff'0000};
    bus.io_apic = &io_apic;
    in.repeat([&] {
        const unsigned pin = in.below(pins);
        bus.accepts = in.below(8) != 0;
        switch (in.below(6)) {
            case 0:
                io_apic.write(in.any<std::uint8_t>() & ~3u, in.size(8), in.any<std::uint64_t>());
                break;
            case 1:
                static_cast<void>(io_apic.read(in.any<std::uint8_t>(), in.size()));
                break;
            case 2:
                io_apic.write(0, 4, 0x10 + in.below(2 * pins));
                io_apic.write(0x10, 4, in.any<std::uint32_t>());
                break;
            case 3:
                io_apic.end_of_interrupt(in.any<std::uint8_t>());
                break;
            default:
                bus.pin = pin;
                io_apic.set_pin(pin, in.chance());
                bus.pin.reset();
                break;
        }
        check(io_apic, pin);
    });
}
