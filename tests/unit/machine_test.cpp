// SPDX-License-Identifier: Apache-2.0
// The wiring of a guest's machine: each device at its port, each interrupt at its pin.
#include "guest/machine.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "guest/memory_map.hpp"
#include "lib/address.hpp"
#include "tests/unit/fake_memory.hpp"

namespace bulkhead::guest {
namespace {

class Peer final : public SerialPeer {
  public:
    bool put(std::uint8_t byte) override {
        sent.push_back(static_cast<char>(byte));
        return true;
    }
    std::optional<std::uint8_t> get() override { return std::nullopt; }
    std::string sent;
};

class Events final : public MachineEvents {
  public:
    void power_off() override { ++power_offs; }
    void reset() override { ++resets; }
    void exit(std::uint64_t status) override { exits.push_back(status); }
    int power_offs = 0, resets = 0;
    std::vector<std::uint64_t> exits;
};

class Processor final : public ProcessorEvents {
  public:
    void interrupt_pending() override {}
    void nmi() override {}
    void init() override {}
    void startup(std::uint8_t) override {}
};

class MachineTest : public testing::Test {
  protected:
    MachineTest() {
        for (unsigned i = 0; i < 2; ++i) machine->connect(i, processors[i]);
    }
    std::uint32_t in(std::uint16_t port, unsigned size = 1) { return machine->ports().in(port, size); }
    void out(std::uint16_t port, std::uint32_t value, unsigned size = 1) { machine->ports().out(port, size, value); }

    // Each ISA input of the I/O APIC to vector 40h + input of the first processor; the local APIC takes them.
    void route_ioapic(std::uint32_t low_bits) {
        for (unsigned pin = 0; pin < 16; ++pin) {
            ioapic(0x10 + 2 * pin + 1, 0);
            ioapic(0x10 + 2 * pin, (0x40 + pin) | low_bits);
        }
        machine->mmio().write(layout::lapic + 0xf0, 4, 0x1ff);
        machine->mmio().write(layout::lapic + 0x350, 4, 0x10000);
    }
    void ioapic(std::uint32_t reg, std::uint32_t value) {
        machine->mmio().write(layout::ioapic, 4, reg);
        machine->mmio().write(layout::ioapic + 0x10, 4, value);
    }
    void pass_ms(std::uint64_t ms) {
        clock.now += ms * (clock.hz / 1000);
        timers.expire();
    }

    Clock clock{.now = 0, .hz = 50'000'000};
    TimerQueue timers{clock};
    Peer peer;
    Events events;
    Processor processors[2];
    std::unique_ptr<Machine> machine = std::make_unique<Machine>(
        MachineConfig{.memory = 256 * mib, .vcpus = 2, .crystal_hz = 50'000'000, .boot_seconds = 1'000'000'000}, timers,
        peer, events);
};

TEST_F(MachineTest, DevicesAnswerAtTheirPorts) {
    EXPECT_EQ(in(0x3fd), 0x60u) << "UART";
    EXPECT_EQ(in(0x64) & 0x14, 0x14u) << "keyboard controller";
    EXPECT_EQ(in(0x92), 0x02u) << "A20 is open";
    EXPECT_EQ(in(0x604, 2), 1u) << "ACPI: SCI_EN";
    out(0xcf8, 0x80000000, 4);
    EXPECT_EQ(in(0xcfc, 4), 0x12378086u) << "host bridge";
    out(0x70, 0x34);
    EXPECT_EQ(in(0x71), 240u * 16 & 0xff) << "NVRAM knows the memory";
    out(0x21, 0xa5);
    EXPECT_EQ(in(0x21), 0xa5u) << "8259A";
    EXPECT_EQ(in(0x61) & 0xc0, 0u) << "no parity error";
    EXPECT_EQ(machine->mmio().read(layout::lapic + 0x20, 4), 0u);
    machine->mmio().write(layout::ioapic, 4, 1);
    EXPECT_EQ(machine->mmio().read(layout::ioapic + 0x10, 4) >> 16 & 0xff, 23u);
}

TEST_F(MachineTest, AnEmptyBusReadsAllOnes) {
    for (const int port : {0x00, 0x80, 0x170, 0x1f0, 0x2f8, 0x3c0, 0x3d4, 0x3f0, 0x510, 0xc000, 0xffff})
        EXPECT_EQ(in(static_cast<std::uint16_t>(port)), 0xffu) << std::hex << port;
    EXPECT_EQ(machine->mmio().read(GuestPhys{0xfed40000}, 4), 0xffffffffu) << "no TPM";
}

TEST_F(MachineTest, UartInterruptIsIrq4) {
    route_ioapic(0);
    out(0x3fc, 0x08);
    out(0x3f9, 0x02);
    EXPECT_EQ(machine->lapic(0).acknowledge(), 0x44);
    EXPECT_FALSE(machine->lapic(1).interrupt_deliverable());
}

TEST_F(MachineTest, KeyboardControllerInterruptIsIrq1) {
    route_ioapic(0);
    out(0x64, 0x60);
    out(0x60, 0x01);
    out(0x64, 0xd2);
    out(0x60, 0x5a);
    EXPECT_EQ(machine->lapic(0).acknowledge(), 0x41);
}

TEST_F(MachineTest, CountsAccessesToPortsByDevice) {
    out(0x3fb, 0x03);
    in(0x3fd);
    in(0x21);
    in(0x1234, 4);
    for (const PortBus::Range& range : machine->ports().ranges())
        EXPECT_EQ(range.accesses, range.first == 0x3f8 ? 2u : range.first == 0x20 ? 1u : 0u) << range.first;
    EXPECT_EQ(machine->ports().unclaimed_accesses(), 1u);
}

TEST_F(MachineTest, RtcInterruptIsIrq8) {
    route_ioapic(0);
    out(0x70, 0x0b);
    out(0x71, 0x42);
    pass_ms(1);
    EXPECT_EQ(machine->lapic(0).acknowledge(), 0x48);
}

TEST_F(MachineTest, RtcInterruptIsAnEventOfTheFixedHardware) {
    route_ioapic(0x8000);
    out(0x602, 0x400, 2);
    out(0x70, 0x0b);
    out(0x71, 0x42);
    pass_ms(1);
    EXPECT_EQ(in(0x600, 2) & 0x400, 0x400u);
    EXPECT_EQ(machine->lapic(0).acknowledge(), 0x49) << "the SCI";
    EXPECT_EQ(machine->lapic(0).acknowledge(), std::nullopt) << "IRQ 8 is of the same priority class";
}

TEST_F(MachineTest, SciIsIrq9AndLevelTriggered) {
    route_ioapic(0x8000);
    out(0x602, 0x100, 2);
    machine->press_power_button();
    EXPECT_EQ(machine->lapic(0).acknowledge(), 0x49);
    machine->mmio().write(layout::lapic + 0xb0, 4, 0);
    EXPECT_EQ(machine->lapic(0).acknowledge(), 0x49) << "still asserted";
    out(0x600, 0x100, 2);
    machine->mmio().write(layout::lapic + 0xb0, 4, 0);
    EXPECT_EQ(machine->lapic(0).acknowledge(), std::nullopt);
}

TEST_F(MachineTest, TimerInterruptIsInput2) {
    route_ioapic(0);
    out(0x43, 0x34);
    out(0x40, 0xa9);
    out(0x40, 0x04);  // 1 kHz
    pass_ms(2);
    EXPECT_EQ(machine->lapic(0).acknowledge(), 0x42);
}

TEST_F(MachineTest, The8259sReachLint0OfTheFirstProcessor) {
    const std::uint16_t pairs[][2] = {{0x20, 0x21}, {0xa0, 0xa1}};
    for (const auto& [command, data] : pairs) {
        const bool master = command == 0x20;
        out(command, 0x11);
        out(data, master ? 0x30 : 0x38);
        out(data, master ? 0x04 : 0x02);
        out(data, 0x01);
        out(data, 0x00);
    }
    out(0x3fc, 0x08);
    out(0x3f9, 0x02);
    EXPECT_TRUE(machine->lapic(0).interrupt_deliverable());
    EXPECT_FALSE(machine->lapic(1).interrupt_deliverable());
    EXPECT_EQ(machine->lapic(0).acknowledge(), 0x34);
}

TEST_F(MachineTest, EveryWayToReset) {
    out(0x64, 0xfe);
    EXPECT_EQ(events.resets, 1);
    out(0x92, 0x03);
    EXPECT_EQ(events.resets, 2);
    out(0xcf9, 0x06);
    EXPECT_EQ(events.resets, 3);
    EXPECT_EQ(events.power_offs, 0);
}

class MachineWithTestDevices : public MachineTest {
  protected:
    MachineWithTestDevices() {
        machine = std::make_unique<Machine>(MachineConfig{.memory = 256 * mib,
                                                          .vcpus = 2,
                                                          .crystal_hz = 50'000'000,
                                                          .debug_exit = true,
                                                          .debug_console = true,
                                                          .test_ram = ram},
                                            timers, peer, events);
        machine->connect(0, processors[0]);
    }
    std::vector<std::byte> ram{TestDevice::ram_size};
};

TEST_F(MachineWithTestDevices, AreAtTheirPlaces) {
    out(0xf4, 7, 4);
    for (const char c : std::string{"Shutdown"}) out(0x8900, static_cast<std::uint8_t>(c));
    EXPECT_EQ(events.exits, (std::vector<std::uint64_t>{15, 0}));
    out(0xe9, 'x');
    EXPECT_EQ(in(0x402), 0xe9u);
    EXPECT_EQ(peer.sent, "x");
    out(0xe0, 0x12345678, 4);
    EXPECT_EQ(in(0xe2, 2), 0x1234u);
    machine->mmio().write(GuestPhys{0xff00'0010}, 4, 0xcafe);
    EXPECT_EQ(machine->mmio().read(GuestPhys{0xff00'0010}, 4), 0xcafeu);
    EXPECT_FALSE(machine->output_stalled());
}

TEST_F(MachineWithTestDevices, DriveIsaInterruptsAndPinsOfTheIoApic) {
    route_ioapic(0);
    out(0x200e, 1);
    EXPECT_EQ(machine->lapic(0).acknowledge(), 0x4e);
    // Pin 20 as a PCI interrupt: level triggered, active low.
    ioapic(0x10 + 2 * 20 + 1, 0);
    ioapic(0x10 + 2 * 20, 0x60 | 1u << 13 | 1u << 15);
    EXPECT_EQ(machine->lapic(0).acknowledge(), std::nullopt);
    out(0x2014, 0);
    EXPECT_EQ(machine->lapic(0).acknowledge(), 0x60);
}

TEST_F(MachineTest, TheFirmwareConfigurationDeviceIsThereIfItHasAMemory) {
    FakeMemory memory{1 * mib};
    EXPECT_EQ(machine->fw_cfg(), nullptr);
    machine = std::make_unique<Machine>(
        MachineConfig{.memory = 256 * mib, .vcpus = 1, .crystal_hz = 50'000'000, .fw_cfg_memory = &memory}, timers,
        peer, events);
    EXPECT_NE(machine->fw_cfg(), nullptr);
    out(0x510, 0, 2);
    EXPECT_EQ(in(0x511), static_cast<unsigned>('Q'));
    EXPECT_EQ(in(0x514, 4), 0x554d4551u);
    EXPECT_EQ(in(0x51c), 0xffu);
}

TEST_F(MachineTest, DevicesForTestsAreNotThereUnlessAskedFor) {
    for (const int port : {0xe0, 0xe9, 0xf4, 0x402, 0x2000, 0x8900})
        EXPECT_EQ(in(static_cast<std::uint16_t>(port)), 0xffu) << std::hex << port;
    out(0xf4, 0);
    for (const char c : std::string{"Shutdown"}) out(0x8900, static_cast<std::uint8_t>(c));
    EXPECT_TRUE(events.exits.empty());
    EXPECT_EQ(machine->mmio().read(GuestPhys{0xff00'0000}, 4), 0xffffffffu);
}

TEST_F(MachineTest, PowerOff) {
    out(0x604, 1u << 13, 2);
    EXPECT_EQ(events.power_offs, 1);
}

TEST_F(MachineTest, TheLocalApicPageIsTheCurrentVcpusAndMoves) {
    machine->set_current(1);
    EXPECT_EQ(machine->mmio().read(layout::lapic + 0x20, 4) >> 24, 1u);
    machine->set_current(0);
    EXPECT_EQ(machine->lapic(0).base(), 0xfee00900u) << "enabled, first processor";
    EXPECT_EQ(machine->lapic(1).base(), 0xfee00800u);
    ASSERT_TRUE(machine->lapic(0).write_base(0xd0000900));
    EXPECT_EQ(machine->mmio().read(GuestPhys{0xd0000020}, 4), 0u);
    EXPECT_EQ(machine->mmio().read(layout::lapic + 0x20, 4), 0xffffffffu);
    EXPECT_FALSE(machine->lapic(0).write_base(0xd0000900 | 1)) << "a reserved bit";
    EXPECT_EQ(machine->mmio().read(GuestPhys{0xd0000020}, 4), 0u);
    machine->set_current(1);
    EXPECT_EQ(machine->mmio().read(layout::lapic + 0x20, 4) >> 24, 1u) << "the other one's stayed";
    EXPECT_EQ(machine->mmio().read(GuestPhys{0xd0000020}, 4), 0xffffffffu);
    ASSERT_TRUE(machine->lapic(1).write_base(0xfee00c00));
    EXPECT_EQ(machine->mmio().read(layout::lapic + 0x20, 4), 0xffffffffu) << "x2APIC mode has no page";
}

// Its INIT, and firmware's shutdown byte 0Fh: what a PC does since the 286 had no other way back to real mode.
TEST_F(MachineTest, TheBootstrapProcessorResumesWhereTheShutdownByteSays) {
    FakeMemory memory{64 * kib};
    ASSERT_TRUE(memory.store(GuestPhys{0x467}, std::uint32_t{0xf123'4567}));
    const auto shutdown_byte = [&](std::uint8_t value) {
        out(0x70, 0x0f);
        out(0x71, value);
    };
    EXPECT_FALSE(machine->resume_from_init(memory)) << "a reset";
    for (const int value : {0x05, 0x0a}) {
        shutdown_byte(static_cast<std::uint8_t>(value));
        const auto to = machine->resume_from_init(memory);
        ASSERT_TRUE(to);
        EXPECT_EQ(to->segment, 0xf123);
        EXPECT_EQ(to->offset, 0x4567);
        EXPECT_FALSE(machine->resume_from_init(memory)) << "once";
    }
    shutdown_byte(0x04);
    EXPECT_FALSE(machine->resume_from_init(memory));
}

// Each local APIC's timer can be served elsewhere than the devices'.
TEST_F(MachineTest, LocalApicTimersHaveTheirOwnQueues) {
    TimerQueue other{clock};
    TimerQueue* const queues[] = {&timers, &other};
    machine = std::make_unique<Machine>(MachineConfig{.memory = 256 * mib,
                                                      .vcpus = 2,
                                                      .crystal_hz = 50'000'000,
                                                      .boot_seconds = 1'000'000'000,
                                                      .lapic_timers = queues},
                                        timers, peer, events);
    machine->set_current(1);
    machine->mmio().write(layout::lapic + 0xf0, 4, 0x1ff);
    machine->mmio().write(layout::lapic + 0x3e0, 4, 0xb);
    machine->mmio().write(layout::lapic + 0x320, 4, 0x77);
    machine->mmio().write(layout::lapic + 0x380, 4, 1000);
    EXPECT_EQ(other.earliest(), 1000u);
    EXPECT_NE(timers.earliest(), 1000u);
    clock.now += 1000;
    other.expire();
    EXPECT_EQ(machine->lapic(1).acknowledge(), 0x77);
    machine.reset();
}

}  // namespace
}  // namespace bulkhead::guest
