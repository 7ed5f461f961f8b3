// SPDX-License-Identifier: Apache-2.0
// The keyboard controller and port 92h.
#include "guest/i8042.hpp"

#include "tests/fuzz/fuzz.hpp"

using namespace bulkhead;
using fuzz::require;

namespace {

constexpr unsigned OBF = 1, KBD_INT = 1;

struct Reset {
    void pulse() { ++count; }
    unsigned count{};
};

std::uint32_t reply_to(guest::I8042& controller, std::uint8_t command) {
    controller.out(0x64, 1, command);
    require((controller.in(0x64, 1) & OBF) != 0, "a reply fills the output buffer");
    const std::uint32_t value = controller.in(0x60, 1);
    require((controller.in(0x64, 1) & OBF) == 0, "reading empties it");
    require(!controller.irq().level(), "with nothing to read there is no interrupt");
    return value;
}

void check(guest::I8042& controller) {
    const bool full = controller.in(0x64, 1) & OBF;
    require(!controller.irq().level() || full, "the line says that there is something to read");
    require(((controller.in(0x92, 1) & 2) != 0) == controller.a20(), "port 92h shows A20");
}

void check_commands(guest::I8042& controller) {
    require(reply_to(controller, 0xaa) == 0x55, "the self-test passes");
    require((reply_to(controller, 0xd0) & 2u) == (controller.a20() ? 2u : 0), "the output port shows A20");
    const std::uint32_t command_byte = reply_to(controller, 0x20);
    controller.out(0x64, 1, 0xd2);
    controller.out(0x60, 1, 0x5a);
    require(controller.irq().level() == ((command_byte & KBD_INT) != 0), "the command byte enables the interrupt");
    require(controller.in(0x60, 1) == 0x5a, "what is written to the output buffer is read there");
}

}  // namespace

FUZZ_TARGET(in) {
    Reset reset;
    guest::I8042 controller{Delegate<void()>::to<&Reset::pulse>(&reset)};
    in.repeat([&] {
        switch (in.below(8)) {
            case 0:
                check_commands(controller);
                break;
            case 1:
                fuzz::access_port(in, controller, 0x92, 0x92);
                break;
            case 2:
            case 3:
            case 4:
                fuzz::access_port(in, controller, 0x60, 0x60);
                break;
            default:
                fuzz::access_port(in, controller, 0x64, 0x64);
                break;
        }
        check(controller);
    });
}
