// SPDX-License-Identifier: Apache-2.0
// A CD-ROM drive on an ATA channel: registers, packets, and what comes back.
#include "guest/atapi_drive.hpp"

#include <memory>

#include "guest/ata_channel.hpp"
#include "tests/fuzz/fuzz.hpp"
#include "tests/fuzz/store.hpp"

using namespace bulkhead;
using fuzz::require;

namespace {

constexpr std::uint16_t base = 0x170, control = 0x376, status = base + 7;
enum : std::uint8_t { ERR = 0x01, DRQ = 0x08, BSY = 0x80, SRST = 0x04, CD = 0x01, IO = 0x02 };

struct Bench {
    Bench() { channel.attach(0, drive); }
    fuzz::Store store{4 * 2048 + 700};
    guest::AtapiDrive drive{0, store};
    guest::AtaChannel channel{base, control};
};

std::uint8_t any_operation(fuzz::Input& in) {
    constexpr std::uint8_t known[] = {0x00, 0x03, 0x12, 0x1b, 0x1e, 0x25, 0x28, 0x2b,
                                      0x43, 0x46, 0x4a, 0x5a, 0xa8, 0xbd, 0xbe};
    return in.chance() ? known[in.below(std::size(known))] : in.any<std::uint8_t>();
}

// A packet, and all that the drive has to say to it.
void run_packet(fuzz::Input& in, guest::AtaChannel& channel) {
    const unsigned limit = in.chance() ? 2048 : in.any<std::uint16_t>();
    const std::uint8_t operation = any_operation(in);
    channel.out(control, 1, 0);
    channel.out(base + 1, 1, 0);
    channel.out(base + 4, 2, limit);
    channel.out(base + 6, 1, 0xa0);
    channel.out(status, 1, 0xa0);
    require((channel.in(control, 1) & (DRQ | ERR)) == DRQ && channel.in(base + 2, 1) % 4 == CD,
            "a packet is asked for");
    channel.out(base, 2, operation | in.any<std::uint8_t>() << 8);
    for (unsigned i = 1; i < 6; ++i) channel.out(base, 2, in.chance() ? in.below(8) << 8 : in.any<std::uint16_t>());
    std::uint64_t total = 0;
    for (;;) {
        require(channel.irq().level(), "each step is told by an interrupt");
        const std::uint32_t now = channel.in(status, 1);
        require((now & BSY) == 0, "it is not busy");
        if ((now & DRQ) == 0) break;
        require((now & ERR) == 0 && channel.in(base + 2, 1) % 4 == IO, "there is data");
        const unsigned size = (channel.in(base + 4, 2) & 0xffff);
        require(size != 0 && size <= limit, "a block is not longer than the host has said");
        for (unsigned i = 0; i < size; i += 2) static_cast<void>(channel.in(base, 2));
        total += size;
        require(total <= 5 * 2048, "there is no more than the disc has");
    }
    require((channel.in(control, 1) & ERR) != 0 || channel.in(base + 2, 1) % 4 == (CD | IO), "the command is done");
}

}  // namespace

FUZZ_TARGET(in) {
    const auto bench = std::make_unique<Bench>();
    guest::AtaChannel& channel = bench->channel;
    bool in_reset = false;
    in.repeat(
        [&] {
            switch (in.below(8)) {
                case 0: {
                    const auto value = in.any<std::uint8_t>();
                    in_reset = (value & SRST) != 0;
                    channel.out(control, 1, value);
                    break;
                }
                case 1:
                    channel.out(control, 1, SRST);
                    channel.out(control, 1, 0);
                    in_reset = false;
                    require((channel.in(base + 4, 2) & 0xffff) == 0xeb14, "a reset leaves a packet device's signature");
                    break;
                case 2:
                case 3:
                    if (!in_reset) run_packet(in, channel);
                    break;
                case 4:
                    for (unsigned n = in.below(300), size = in.size(); n != 0; --n)
                        static_cast<void>(channel.in(base, size));
                    break;
                case 5: channel.out(status, 1, in.chance() ? 0xa0 : in.any<std::uint8_t>()); break;
                default: fuzz::access_port(in, channel, base, base + 7); break;
            }
            const std::uint32_t now = channel.in(control, 1);
            require((now & BSY) == 0 || in_reset, "BSY is seen during a software reset only");
            require((now & (DRQ | ERR)) != (DRQ | ERR), "a command that failed has no data");
        },
        32);
}
