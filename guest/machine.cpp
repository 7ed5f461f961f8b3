// SPDX-License-Identifier: Apache-2.0
#include "guest/machine.hpp"

#include "guest/memory_map.hpp"
#include "lib/log.hpp"

namespace bulkhead::guest {

Machine::Machine(const MachineConfig& config, TimerQueue& timers, SerialPeer& serial, MachineEvents& events)
    : vcpus_(config.vcpus),
      input_(timers, serial),
      uart_(timers, config.firmware.rom.empty() ? serial : input_, com1,
            config.pace_serial ? Uart::Pacing::baud : Uart::Pacing::instant),
      pit_(timers),
      rtc_(timers, config.boot_seconds),
      hpet_(timers, Hpet::Input::to<&Machine::hpet_interrupt>(this)),
      i8042_(Delegate<void()>::to<&Machine::reset_processors>(this),
             config.firmware.rom.empty() ? nullptr : &keyboard_),
      acpi_pm_(timers, Delegate<void()>::to<&MachineEvents::power_off>(&events)),
      pci_(Delegate<void()>::to<&MachineEvents::reset>(&events)),
      events_(events) {
    add_lapics(config, timers);
    connect_interrupts();
    claim_addresses(!config.firmware.places_acpi);
    add_firmware(config.firmware);
    if (has_firmware() || !config.drives.empty()) add_isa_bridge();
    if (!config.drives.empty()) add_drives(config.drives);
    add_fw_cfg(config, timers);
    add_test_devices(config, serial, events);
    const MemoryMap map{config.memory};
    rtc_.describe_machine(map.low_size(), map.high_size(), vcpus_);
    for (unsigned i = 0; i < config.drives.size(); ++i)
        if (config.drives[i].kind == DriveKind::disk)
            rtc_.describe_disk(i, AtaDisk::default_geometry(config.drives[i].store->size()));
    if (has_firmware()) rtc_.set_boot_order(config.firmware.boot_order);
}

// What firmware finds of a PC, and would find no use for after it: see docs/firmware.md.
void Machine::add_firmware(const FirmwareConfig& config) {
    if (!config.rom.empty()) {
        rom_.emplace(config.rom);
        shadow_.emplace(*config.memory, config.rom, *config.map);
        input_.connect(uart_, i8042_);
        keyboard_.set_typist(Keyboard::Typist::to<&ConsoleInput::next_key>(&input_));
        vga_.emplace();
        claim(VgaText::first_port, VgaText::last_port, *vga_);
        if (!mmio_.claim(rom_->base(), rom_->size(), *rom_) ||
            !mmio_.claim(ShadowMemory::base, ShadowMemory::size, *shadow_))
            panic("guest: no place for the firmware");
    }
    if (config.places_acpi) {
        pm_function_.emplace(acpi_pm_, ports_);
        if (!pci_.attach(1, 3, *pm_function_)) panic("guest: no place for the power management function");
    }
    host_bridge_.emplace(shadow_ ? &*shadow_ : nullptr);
    if (!pci_.attach(0, 0, *host_bridge_)) panic("guest: no place for the host bridge");
}

// Function 0 of a device is what tells of the others.
void Machine::add_isa_bridge() {
    isa_bridge_.emplace();
    if (!pci_.attach(1, 0, *isa_bridge_)) panic("guest: no place for the ISA bridge");
}

void Machine::add_drives(std::span<const Drive> drives) {
    ide_function_.emplace(ports_, drives);
    for (unsigned i = 0; i < IdeFunction::channels; ++i)
        ide_function_->irq(i).connect(fabric_.isa_input(IdeFunction::irqs[i]));
    if (!pci_.attach(1, 1, *ide_function_)) panic("guest: no place for the IDE controller");
}

// The keyboard controller and port 92h drive the processors' INIT and no more (82371SB data sheet, 4.3). Firmware finds
// out what is wanted; where there is none, it is a new start of the machine.
void Machine::reset_processors() {
    if (!has_firmware()) return events_.reset();
    for (unsigned i = 0; i < vcpus_; ++i)
        if (processors_[i] != nullptr) processors_[i]->init();
}

void Machine::connect_interrupts() {
    pit_.irq().connect(Delegate<void(bool)>::to<&Machine::pit_interrupt>(this));
    hpet_.on_legacy_change(Delegate<void()>::to<&Machine::legacy_route_changed>(this));
    i8042_.irq().connect(fabric_.isa_input(1));
    uart_.irq().connect(fabric_.isa_input(4));
    rtc_.irq().connect(Delegate<void(bool)>::to<&Machine::rtc_interrupt>(this));
    acpi_pm_.sci().connect(fabric_.isa_input(AcpiPm::sci_irq));
    // A timer interrupt that is masked everywhere, as systems with another timer leave it, costs nothing.
    fabric_.watch(0, Delegate<void(bool)>::to<&Pit::watch>(&pit_));
}

void Machine::pit_interrupt(bool level) {
    if (!hpet_.replaces_legacy()) fabric_.isa_input(0)(level);
}

// IRQ 8, and an event of the fixed hardware (ACPI specification 4.8.2.4).
void Machine::rtc_interrupt(bool level) {
    if (!hpet_.replaces_legacy()) fabric_.isa_input(8)(level);
    acpi_pm_.rtc_interrupt(level);
}

// The inputs change hands.
void Machine::legacy_route_changed() {
    const bool replaced = hpet_.replaces_legacy();
    fabric_.isa_input(0)(!replaced && pit_.irq().level());
    fabric_.isa_input(8)(!replaced && rtc_.irq().level());
}

// The ranges are constants: that they fit and do not overlap is a property of this list.
void Machine::claim(std::uint16_t first, std::uint16_t last, PortDevice& device) {
    if (!ports_.claim(first, last, device)) panic("guest: the ports from {:x} are claimed twice", first);
}

// The bus looks in this order: those that a running system uses all the time come first.
void Machine::claim_addresses(bool acpi) {
    claim(com1, com1 + 7, uart_);
    if (acpi) claim(AcpiPm::base, AcpiPm::last, acpi_pm_);
    claim(0x20, 0x21, fabric_.pic());
    claim(0xa0, 0xa1, fabric_.pic());
    claim(0x4d0, 0x4d1, fabric_.pic());
    claim(0x40, 0x43, pit_);
    claim(0x61, 0x61, pit_);
    claim(PciHost::first_port, PciHost::last_port, pci_);
    claim(0x70, 0x71, rtc_);
    claim(0x60, 0x60, i8042_);
    claim(0x64, 0x64, i8042_);
    claim(0x92, 0x92, i8042_);
    if (!mmio_.claim(layout::ioapic, page_size, fabric_.io_apic()) || !mmio_.claim(Hpet::base, Hpet::bytes, hpet_))
        panic("guest: no place for the I/O APIC and the HPET");
}

// This and those for tests are there only because the configuration asks. They come last on the bus.
void Machine::add_fw_cfg(const MachineConfig& config, TimerQueue& timers) {
    if (config.fw_cfg_memory == nullptr) return;
    fw_cfg_.emplace(*config.fw_cfg_memory, timers);
    claim(FwCfg::selector_port, FwCfg::data_port, *fw_cfg_);
    claim(FwCfg::dma_port, FwCfg::dma_last, *fw_cfg_);
}

void Machine::add_test_devices(const MachineConfig& config, SerialPeer& serial, MachineEvents& events) {
    if (config.debug_exit) {
        debug_exit_.emplace(Delegate<void(std::uint64_t)>::to<&MachineEvents::exit>(&events));
        claim(DebugExit::first_port, DebugExit::last_port, *debug_exit_);
        claim(DebugExit::shutdown_port, DebugExit::shutdown_port, *debug_exit_);
    }
    if (config.debug_console) {
        debug_console_.emplace(serial);
        for (const std::uint16_t port : DebugConsole::ports) claim(port, port, *debug_console_);
    }
    if (config.test_ram.empty()) return;
    test_device_.emplace(config.test_ram);
    connect_test_device();
}

// Its lines are the devices' own: who changes one last has it.
void Machine::connect_test_device() {
    claim(TestDevice::loop_first, TestDevice::loop_last, *test_device_);
    claim(TestDevice::line_first, TestDevice::line_last, *test_device_);
    if (!mmio_.claim(TestDevice::ram_base, TestDevice::ram_size, *test_device_))
        panic("guest: no place for the test device");
    for (unsigned n = 0; n < TestDevice::lines; ++n) {
        InterruptLine& line = test_device_->line(n);
        line.set(n >= IrqFabric::isa_irqs);  // as the pin idles
        line.connect(n < IrqFabric::isa_irqs ? fabric_.isa_input(n) : fabric_.pci_input(n));
    }
}

void Machine::transmit_room() {
    uart_.transmit_room();
    if (debug_console_) debug_console_->transmit_room();
}

void Machine::input_available() {
    uart_.input_available();
    input_.input_available();
}

void Machine::add_lapics(const MachineConfig& config, TimerQueue& timers) {
    for (unsigned i = 0; i < vcpus_; ++i) {
        const LapicConfig lapic_config{.id = i,
                                       .bootstrap = i == 0,
                                       .crystal_hz = config.crystal_hz,
                                       .physical_address_bits = config.physical_address_bits,
                                       .x2apic = config.x2apic};
        TimerQueue& own_timers = i < config.lapic_timers.size() ? *config.lapic_timers[i] : timers;
        Lapic& lapic = lapics_[i].emplace(lapic_config, own_timers, fabric_).lapic;
        lapic.on_move(Delegate<void(std::optional<GuestPhys>)>::to<&Machine::lapic_moved>(this));
        fabric_.attach(lapic);
    }
    lapic(0).enter_virtual_wire_mode();
    show_lapic(0);
}

std::optional<FarPointer> Machine::resume_from_init(Memory& memory) {
    constexpr unsigned shutdown_byte = 0x0f;
    constexpr std::uint8_t jump_after_eoi = 0x05, jump = 0x0a;
    constexpr GuestPhys warm_reset_vector{0x467};
    const std::uint8_t status = rtc_.nvram(shutdown_byte);
    rtc_.set_nvram(shutdown_byte, 0);
    FarPointer to;
    if ((status != jump && status != jump_after_eoi) || !memory.load(warm_reset_vector, to)) return std::nullopt;
    if (status == jump_after_eoi) {
        fabric_.pic().out(0xa0, 1, 0x20);
        fabric_.pic().out(0x20, 1, 0x20);
    }
    return to;
}

// A vCPU moves its local APIC by its own WRMSR, so the one that moves is the current one's. A place that another device
// has is not taken from it.
void Machine::show_lapic(unsigned vcpu) {
    mmio_.release(lapic(current_));
    current_ = vcpu;
    if (const auto base = lapic(vcpu).mmio_base()) static_cast<void>(mmio_.claim(*base, page_size, lapic(vcpu)));
}

}  // namespace bulkhead::guest
