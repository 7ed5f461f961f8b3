// SPDX-License-Identifier: Apache-2.0
// The 16550A with both pacings, a peer that types and one that has no room.
#include "guest/uart.hpp"

#include "tests/fuzz/fuzz.hpp"

using namespace bulkhead;
using fuzz::require;

namespace {

constexpr std::uint16_t base = 0x3f8;
enum Register : std::uint16_t { RBR = base, IER, IIR, LCR, MCR, LSR };
constexpr unsigned DLAB = 0x80, OUT2 = 0x08, THRE = 0x20, TEMT = 0x40, NONE_PENDING = 1;

struct Peer final : guest::SerialPeer {
    bool put(std::uint8_t) override {
        sent += room;
        return room;
    }
    std::optional<std::uint8_t> get() override {
        if (typed == 0) return std::nullopt;
        return static_cast<std::uint8_t>(typed--);
    }
    bool room{true};
    std::uint64_t sent{};
    unsigned typed{};
};

// Counts what is written to THR, so that no byte is sent twice.
struct Counted {
    std::uint32_t in(std::uint16_t port, unsigned size) { return uart.in(port, size); }
    void out(std::uint16_t port, unsigned size, std::uint32_t value) {
        written += port == RBR;
        uart.out(port, size, value);
    }
    guest::Uart& uart;
    std::uint64_t written{};
};

void check(guest::Uart& uart) {
    const bool level = uart.irq().level();
    const std::uint32_t mcr = uart.in(MCR, 1), ier = uart.in(LCR, 1) & DLAB ? 0xf : uart.in(IER, 1);
    const std::uint32_t status = uart.in(LSR, 1);
    require((ier & 0xf0) == 0 && (mcr & 0xe0) == 0, "bits that are not implemented are zero");
    require(!level || ier != 0, "without an interrupt enabled the line is low");
    require(!level || (mcr & OUT2) != 0, "OUT2 gates the line");
    require((status & TEMT) == 0 || (status & THRE) != 0, "an empty transmitter has an empty THR");
}

void check_identification(guest::Uart& uart) {
    const bool level = uart.irq().level();
    const std::uint32_t iir = uart.in(IIR, 1);
    require(!level || (iir & NONE_PENDING) == 0, "when the line is high IIR says why");
    require((iir & 0x30) == 0, "bits 5:4 of IIR are zero");
}

}  // namespace

FUZZ_TARGET(in) {
    fuzz::Time time;
    Peer peer;
    guest::Uart uart{time.timers, peer, base, in.chance() ? guest::Uart::Pacing::baud : guest::Uart::Pacing::instant};
    Counted counted{uart};
    in.repeat([&] {
        switch (in.below(8)) {
            case 0:
            case 1:
            case 2:
                fuzz::access_port(in, counted, base, base + 7);
                break;
            case 3:
                counted.out(RBR, 1, in.any<std::uint8_t>());
                break;
            case 4:
                peer.room = in.chance();
                if (peer.room) uart.transmit_room();
                break;
            case 5:
                peer.typed += in.below(32);
                uart.input_available();
                break;
            case 6:
                check_identification(uart);
                break;
            default:
                time.pass(in);
                break;
        }
        check(uart);
        require(peer.sent <= counted.written, "nothing is sent that was not written");
    });
}
