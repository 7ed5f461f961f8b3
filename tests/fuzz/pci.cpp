// SPDX-License-Identifier: Apache-2.0
// PCI configuration mechanism #1 and the reset control register.
#include "guest/host_bridge.hpp"
#include "guest/isa_bridge.hpp"
#include "guest/pci.hpp"

#include "tests/fuzz/fuzz.hpp"

using namespace bulkhead;
using fuzz::require;

namespace {

struct Reset {
    void pulse() { ++count; }
    unsigned count{};
};

std::uint32_t read(guest::PciHost& host, std::uint32_t address) {
    host.out(0xcf8, 4, address);
    require(host.in(0xcf8, 4) == (address & 0x80ff'fffc), "the address register keeps what it has");
    return host.in(0xcfc, 4);
}

}  // namespace

FUZZ_TARGET(in) {
    Reset reset;
    guest::PciHost host{Delegate<void()>::to<&Reset::pulse>(&reset)};
    guest::HostBridge bridge{nullptr};
    guest::IsaBridge isa;
    require(host.attach(0, 0, bridge) && host.attach(1, 0, isa), "there is room for both");
    in.repeat([&] {
        fuzz::access_port(in, host, guest::PciHost::first_port, guest::PciHost::last_port);
        // A function of the bus, and a register of it: nobody at all is all ones, in every register alike.
        const std::uint32_t function = 0x8000'0000 | in.below(1u << 16) << 8;
        const bool there = read(host, function) != ~0u;
        require(there || read(host, function | (in.below(64) << 2)) == ~0u, "a function that is not there is all ones");
        require(read(host, 0x8000'0000) == 0x1237'8086, "the host bridge keeps its identity");
        require(read(host, function & 0x7fff'ffff) == ~0u, "without the enable bit nobody answers");
    });
}
