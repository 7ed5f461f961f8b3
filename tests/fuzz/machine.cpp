// SPDX-License-Identifier: Apache-2.0
// A whole machine with every device: ports, registers in memory, MSRs and time, as two vCPUs may use them.
#include "guest/machine.hpp"

#include <array>
#include <memory>

#include "guest/memory_map.hpp"
#include "tests/fuzz/fuzz.hpp"
#include "tests/fuzz/store.hpp"
#include "tests/unit/fake_memory.hpp"

using namespace bulkhead;
using fuzz::require;

namespace {

constexpr unsigned vcpus = 2;

struct Peer final : guest::SerialPeer {
    bool put(std::uint8_t) override { return room; }
    std::optional<std::uint8_t> get() override { return std::nullopt; }
    bool room{true};
};

struct Events final : guest::MachineEvents {
    void power_off() override {}
    void reset() override {}
    void exit(std::uint64_t) override {}
};

struct Processor final : guest::ProcessorEvents {
    void interrupt_pending() override {}
    void nmi() override {}
    void init() override { initialize = true; }
    void startup(std::uint8_t) override {}
    bool initialize{};
};

struct Bench {
    Bench() {
        for (unsigned i = 0; i < vcpus; ++i) machine.connect(i, processors[i]);
    }
    fuzz::Time time;
    Peer peer;
    Events events;
    std::array<Processor, vcpus> processors;
    FakeMemory memory{16 * kib};
    std::array<std::byte, guest::TestDevice::ram_size> test_ram;
    fuzz::Store disk{10 * 512 + 1}, disc{3 * 2048};
    const guest::Drive drives[2]{{guest::DriveKind::disk, &disk}, {guest::DriveKind::cdrom, &disc}};
    guest::Machine machine{{.memory = 256 * mib,
                            .vcpus = vcpus,
                            .crystal_hz = fuzz::Time::hz,
                            .boot_seconds = 1'000'000'000,
                            .pace_serial = true,
                            .debug_exit = true,
                            .debug_console = true,
                            .fw_cfg_memory = &memory,
                            .drives = drives,
                            .test_ram = test_ram},
                           time.timers,
                           peer,
                           events};
};

// A port that somebody has claimed, mostly.
void use_port(fuzz::Input& in, guest::PortBus& ports) {
    const auto ranges = ports.ranges();
    const auto& range = ranges[in.below(static_cast<unsigned>(ranges.size()))];
    if (in.below(16) == 0) return fuzz::access_port(in, ports, 0, 0xffff);
    fuzz::access_port(in, ports, range.first, range.last);
}

// Naturally aligned, as the bus of the emulator asks.
void use_memory(fuzz::Input& in, guest::MmioBus& mmio) {
    const auto ranges = mmio.ranges();
    const auto& range = ranges[in.below(static_cast<unsigned>(ranges.size()))];
    const unsigned size = in.chance() ? 4 : in.size(8);
    const GuestPhys at =
        range.first + (in.below(static_cast<unsigned>(std::min<std::uint64_t>(range.size, 0x400))) & ~(size - 1));
    if (in.chance())
        static_cast<void>(mmio.read(at, size));
    else
        mmio.write(at, size, in.any<std::uint32_t>());
}

void use_msr(fuzz::Input& in, guest::Lapic& lapic) {
    switch (in.below(4)) {
        case 0:
            static_cast<void>(lapic.write_base(0xfee0'0000 | (lapic.base() & 0x100) | in.below(4) << 10));
            break;
        case 1:
            static_cast<void>(lapic.write_msr(isa::Msr::IA32_TSC_DEADLINE, in.any<std::uint32_t>()));
            break;
        case 2:
            static_cast<void>(lapic.read_msr(static_cast<isa::Msr>(0x800 + in.below(64))));
            break;
        default:
            static_cast<void>(lapic.write_msr(static_cast<isa::Msr>(0x800 + in.below(64)), in.any<std::uint32_t>()));
    }
}

void run(Bench& bench, unsigned vcpu) {
    guest::Lapic& lapic = bench.machine.lapic(vcpu);
    if (std::exchange(bench.processors[vcpu].initialize, false)) lapic.init();
    const bool deliverable = lapic.interrupt_deliverable();
    require(lapic.acknowledge().has_value() == deliverable, "what is said to be deliverable is delivered");
}

void mask_pics(guest::PortBus& ports) {
    for (const std::uint16_t chip : {0x20, 0xa0}) {
        ports.out(chip, 1, 0x11);  // ICW1 to ICW4, and the mask
        for (const std::uint8_t value : {0x20, 0x04, 0x01, 0xff})
            ports.out(static_cast<std::uint16_t>(chip + 1), 1, value);
    }
}

// All that can hold back an interrupt holds it back: then none comes, whatever the devices do.
void check_masked(fuzz::Input& in, Bench& bench) {
    guest::Machine& machine = bench.machine;
    for (unsigned pin = 0; pin < guest::IoApic::pins; ++pin) {
        machine.mmio().write(guest::layout::ioapic, 4, 0x10 + 2 * pin);
        machine.mmio().write(guest::layout::ioapic + 0x10, 4, 0x10000);
    }
    for (unsigned n = 0; n < 4; ++n) {
        use_port(in, machine.ports());
        mask_pics(machine.ports());
        for (unsigned i = 0; i < vcpus; ++i) machine.lapic(i).init();
        bench.time.pass(in);
        for (unsigned i = 0; i < vcpus; ++i)
            require(!machine.lapic(i).interrupt_deliverable(), "with all masked nothing is delivered");
    }
}

}  // namespace

FUZZ_TARGET(in) {
    const auto bench = std::make_unique<Bench>();
    guest::Machine& machine = bench->machine;
    in.repeat(
        [&] {
            const unsigned vcpu = in.below(vcpus);
            machine.set_current(vcpu);
            switch (in.below(16)) {
                case 0:
                    check_masked(in, *bench);
                    break;
                case 1:
                    bench->peer.room = in.chance();
                    if (bench->peer.room) machine.transmit_room();
                    break;
                case 2:
                case 3:
                    use_msr(in, machine.lapic(vcpu));
                    break;
                case 4:
                case 5:
                case 6:
                    bench->time.pass(in);
                    break;
                case 7:
                case 8:
                case 9:
                case 10:
                    use_memory(in, machine.mmio());
                    break;
                default:
                    use_port(in, machine.ports());
                    break;
            }
            run(*bench, vcpu);
        },
        128);
}
