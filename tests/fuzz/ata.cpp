// SPDX-License-Identifier: Apache-2.0
// Two disks on an ATA channel, or one, or none.
#include "guest/ata_disk.hpp"

#include <memory>

#include "guest/ata_channel.hpp"
#include "tests/fuzz/fuzz.hpp"
#include "tests/fuzz/store.hpp"

using namespace bulkhead;
using fuzz::require;

namespace {

constexpr std::uint16_t base = 0x1f0, control = 0x3f6, status = base + 7;
enum : std::uint8_t { ERR = 0x01, DRQ = 0x08, BSY = 0x80, SRST = 0x04, nIEN = 0x02 };

struct Bench {
    Bench(unsigned drives) {
        if (drives > 0) channel.attach(0, first);
        if (drives > 1) channel.attach(1, second);
    }
    fuzz::Store stores[2]{fuzz::Store{20 * 512 + 100}, fuzz::Store{40 * 512}};
    guest::AtaDisk first{0, stores[0]}, second{1, stores[1]};
    guest::AtaChannel channel{base, control};
};

// Those that there are, mostly.
std::uint8_t any_command(fuzz::Input& in) {
    constexpr std::uint8_t known[] = {0x20, 0x24, 0x29, 0x30, 0x34, 0x39, 0x40, 0x42, 0x70, 0x90, 0x91,
                                      0xc4, 0xc5, 0xc6, 0xe0, 0xe3, 0xe5, 0xec, 0xef, 0xf8, 0x27, 0x10};
    return in.chance() ? known[in.below(std::size(known))] : in.any<std::uint8_t>();
}

void use_data(fuzz::Input& in, guest::AtaChannel& channel) {
    const unsigned words = in.chance() ? 256 : in.below(64);
    const unsigned size = in.size();
    const bool reads = in.chance();
    for (unsigned i = 0; i < words; ++i)
        if (reads)
            static_cast<void>(channel.in(base, size));
        else
            channel.out(base, size, 0x9876'5432 + i);
}

void check(guest::AtaChannel& channel, unsigned drives, bool in_reset, bool masked) {
    const auto now = static_cast<std::uint8_t>(channel.in(control, 1));
    const bool busy = drives != 0 && (now & BSY) != 0;
    require(!busy || in_reset, "BSY is seen during a software reset only");
    require(drives == 0 || (now & (DRQ | ERR)) != (DRQ | ERR), "a command that failed has no data");
    require(!channel.irq().level() || !(in_reset || masked), "neither in reset nor with nIEN is there an interrupt");
    require(drives != 0 || !channel.irq().level(), "nobody interrupts");
}

// What is written is read again, if there is room for it.
void check_write(guest::AtaChannel& channel) {
    const auto run = [&](unsigned opcode) {
        const unsigned registers[] = {1, 17, 0, 0, 0xe0};
        for (std::uint16_t i = 0; i < 5; ++i) channel.out(static_cast<std::uint16_t>(base + 2 + i), 1, registers[i]);
        channel.out(status, 1, opcode);
    };
    run(0x30);
    require((channel.in(status, 1) & DRQ) != 0, "a sector that is there can be written");
    for (unsigned i = 0; i < 256; ++i) channel.out(base, 2, i * 257);
    if ((channel.in(status, 1) & ERR) != 0) return;
    run(0x20);
    require(channel.irq().level(), "data is announced by an interrupt");
    require((channel.in(status, 1) & (DRQ | ERR)) == DRQ, "a sector that was written can be read");
    require(!channel.irq().level(), "the status acknowledges the interrupt");
    for (unsigned i = 0; i < 256; ++i) require(channel.in(base, 2) == (i * 257 & 0xffff), "it is what was written");
    require((channel.in(status, 1) & (DRQ | ERR)) == 0, "the command is done");
}

}  // namespace

FUZZ_TARGET(in) {
    const unsigned drives = in.below(3);
    const auto bench = std::make_unique<Bench>(drives);
    guest::AtaChannel& channel = bench->channel;
    bool in_reset = false, masked = false;
    const auto set_control = [&](std::uint8_t value) {
        in_reset = (value & SRST) != 0;
        masked = (value & nIEN) != 0;
        channel.out(control, 1, value);
    };
    in.repeat(
        [&] {
            switch (in.below(12)) {
                case 0: set_control(in.any<std::uint8_t>()); break;
                case 1:
                    set_control(SRST);
                    set_control(0);
                    if (drives != 0)
                        require((channel.in(base + 4, 2) & 0xffff) == 0, "a reset leaves a disk's signature");
                    break;
                case 2:
                case 3:
                case 4: use_data(in, channel); break;
                case 5:
                case 6:
                case 7: channel.out(status, 1, any_command(in)); break;
                case 8:
                    if (drives != 0 && !in_reset && !masked) check_write(channel);
                    break;
                default: fuzz::access_port(in, channel, base, base + 7); break;
            }
            check(channel, drives, in_reset, masked);
        },
        32);
}
