// SPDX-License-Identifier: Apache-2.0
// QEMU's firmware configuration device: items and files, read by the port and by DMA.
#include "guest/fw_cfg.hpp"

#include <bit>
#include <cstring>
#include <string>

#include "tests/fuzz/fuzz.hpp"
#include "tests/unit/fake_memory.hpp"

using namespace bulkhead;
using fuzz::require;
using guest::FwCfg;

namespace {

constexpr std::size_t ram = 64 * kib;
constexpr std::uint64_t request_at = 0x100;

// Only the control word and the place of the transfer are written to.
struct Ram final : guest::Memory {
    bool read(GuestPhys from, std::span<std::byte> to) override { return memory.read(from, to); }
    bool write(GuestPhys to, std::span<const std::byte> from) override {
        check(to, from.size());
        return memory.write(to, from);
    }
    bool fill(GuestPhys to, std::uint64_t size, std::byte value) override {
        check(to, size);
        return memory.fill(to, size, value);
    }
    void check(GuestPhys first, std::uint64_t size) const {
        const auto within = [&](std::uint64_t begin, std::uint64_t length) {
            return first.value - begin <= length && size <= length - (first.value - begin);
        };
        require(size == 0 || within(control, 4) || within(target, length), "DMA writes where it was told to");
    }
    FakeMemory memory{ram};
    std::uint64_t control{}, target{}, length{};
};

struct Bench {
    fuzz::Time time;
    Ram memory;
    FwCfg device{memory, time.timers};
    std::vector<std::byte> item;
};

constexpr std::uint16_t key = 0x42;

void select(FwCfg& device, std::uint16_t which) {
    device.out(FwCfg::selector_port, 2, which);
}

// The item, and zeros behind it.
void read_by_port(fuzz::Input& in, Bench& bench) {
    select(bench.device, key);
    for (std::size_t i = 0; i < bench.item.size() + 4; ++i) {
        const auto expected = i < bench.item.size() ? static_cast<std::uint8_t>(bench.item[i]) : std::uint8_t{0};
        require(bench.device.in(FwCfg::data_port, 1) == expected, "an item reads byte by byte, and then zeros");
    }
    select(bench.device, in.any<std::uint16_t>());
}

std::uint32_t request(Bench& bench, std::uint64_t at, std::uint32_t control, std::uint32_t length, std::uint64_t to) {
    struct {
        std::uint32_t control, length;
        std::uint64_t address;
    } const block{std::byteswap(control), std::byteswap(length), std::byteswap(to)};
    if (!bench.memory.memory.store(GuestPhys{at}, block)) static_cast<void>(0);
    bench.memory.control = at, bench.memory.target = to, bench.memory.length = length;
    bench.device.out(FwCfg::dma_port, 4, std::byteswap(static_cast<std::uint32_t>(at >> 32)));
    bench.device.out(FwCfg::dma_port + 4, 4, std::byteswap(static_cast<std::uint32_t>(at)));
    while (bench.time.timers.earliest() != guest::never)
        bench.time.pass(bench.time.timers.earliest() - bench.time.clock.now);
    std::uint32_t answer = 0;
    return bench.memory.memory.load(GuestPhys{at}, answer) ? std::byteswap(answer) : 0;
}

void any_transfer(fuzz::Input& in, Bench& bench) {
    const auto near = [&in](std::uint64_t edge) { return edge + in.below(64) - 32; };
    const std::uint64_t at = in.below(4) ? request_at : near(in.chance() ? ram : 0);
    const std::uint64_t to = in.chance() ? in.below(ram) : in.chance() ? near(ram) : in.any<std::uint64_t>();
    const std::uint32_t length = in.chance() ? in.any<std::uint16_t>() : in.any<std::uint32_t>() & 0xff'ffff;
    const std::uint32_t answer = request(bench, at, in.any<std::uint32_t>() & 0x00ff'001f, length, to);
    require(answer <= 1 || at + 16 > ram, "a transfer ends, well or with an error");
}

void read_by_dma(fuzz::Input& in, Bench& bench) {
    constexpr std::uint64_t to = 0x1000;
    const auto length = static_cast<std::uint32_t>(in.below(static_cast<unsigned>(bench.item.size()) + 32));
    require(request(bench, request_at, std::uint32_t{key} << 16 | 8 | 2, length, to) == 0, "a read into RAM succeeds");
    for (std::size_t i = 0; i < length; ++i) {
        const std::byte expected = i < bench.item.size() ? bench.item[i] : std::byte{};
        require(bench.memory.memory.at<std::byte>(to + i) == expected, "DMA brings the item, and then zeros");
    }
}

}  // namespace

FUZZ_TARGET(in) {
    Bench bench;
    bench.item = in.bytes(in.below(64));
    require(bench.device.add(key, bench.item) && !bench.device.add(key, bench.item), "a key is taken once");
    for (unsigned n = in.below(40); n != 0; --n)
        static_cast<void>(bench.device.add_file_copy(in.ConsumeRandomLengthString(60), bench.item));
    in.repeat(
        [&] {
            switch (in.below(5)) {
                case 0:
                    fuzz::access_port(in, bench.device, FwCfg::selector_port, FwCfg::data_port);
                    break;
                case 1:
                    static_cast<void>(
                        bench.device.in(static_cast<std::uint16_t>(FwCfg::dma_port + in.below(8)), in.size()));
                    break;
                case 2:
                    any_transfer(in, bench);
                    break;
                case 3:
                    read_by_port(in, bench);
                    break;
                default:
                    read_by_dma(in, bench);
                    break;
            }
        },
        64);
}
