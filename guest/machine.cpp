// SPDX-License-Identifier: Apache-2.0
#include "guest/machine.hpp"

#include "guest/memory_map.hpp"
#include "lib/log.hpp"

namespace bulkhead::guest {

Machine::Machine(const MachineConfig& config, TimerQueue& timers, SerialPeer& serial, MachineEvents& events)
    : vcpus_(config.vcpus),
      uart_(timers, serial, com1, config.pace_serial ? Uart::Pacing::baud : Uart::Pacing::instant),
      pit_(timers),
      rtc_(timers, config.boot_seconds),
      i8042_(Delegate<void()>::to<&MachineEvents::reset>(&events)),
      acpi_pm_(timers, Delegate<void()>::to<&MachineEvents::power_off>(&events)),
      pci_(Delegate<void()>::to<&MachineEvents::reset>(&events)) {
    add_lapics(config, timers);
    connect_interrupts();
    claim_addresses();
    const MemoryMap map{config.memory};
    rtc_.describe_machine(map.low_size(), map.high_size(), vcpus_);
}

void Machine::connect_interrupts() {
    pit_.irq().connect(fabric_.isa_input(0));
    i8042_.irq().connect(fabric_.isa_input(1));
    uart_.irq().connect(fabric_.isa_input(4));
    rtc_.irq().connect(fabric_.isa_input(8));
    acpi_pm_.sci().connect(fabric_.isa_input(9));
    // A timer interrupt that is masked everywhere, as systems with another timer leave it, costs nothing.
    fabric_.watch(0, Delegate<void(bool)>::to<&Pit::watch>(&pit_));
}

// The ranges are constants: that they fit and do not overlap is a property of this list.
void Machine::claim(std::uint16_t first, std::uint16_t last, PortDevice& device) {
    if (!ports_.claim(first, last, device)) panic("guest: the ports from {:x} are claimed twice", first);
}

// The bus looks in this order: those that a running system uses all the time come first.
void Machine::claim_addresses() {
    claim(com1, com1 + 7, uart_);
    claim(AcpiPm::base, AcpiPm::last, acpi_pm_);
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
    if (!mmio_.claim(layout::ioapic, page_size, fabric_.io_apic())) panic("guest: no place for the I/O APIC");
}

void Machine::add_lapics(const MachineConfig& config, TimerQueue& timers) {
    for (unsigned i = 0; i < vcpus_; ++i) {
        const LapicConfig lapic_config{.id = i,
                                       .bootstrap = i == 0,
                                       .crystal_hz = config.crystal_hz,
                                       .physical_address_bits = config.physical_address_bits,
                                       .x2apic = config.x2apic};
        Lapic& lapic = lapics_[i].emplace(lapic_config, timers, fabric_).lapic;
        lapic.on_move(Delegate<void(std::optional<GuestPhys>)>::to<&Machine::lapic_moved>(this));
        fabric_.attach(lapic);
    }
    lapic(0).enter_virtual_wire_mode();
    show_lapic(0);
}

// A vCPU moves its local APIC by its own WRMSR, so the one that moves is the current one's. A place that another device
// has is not taken from it.
void Machine::show_lapic(unsigned vcpu) {
    mmio_.release(lapic(current_));
    current_ = vcpu;
    if (const auto base = lapic(vcpu).mmio_base()) static_cast<void>(mmio_.claim(*base, page_size, lapic(vcpu)));
}

}  // namespace bulkhead::guest
