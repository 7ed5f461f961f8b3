// SPDX-License-Identifier: Apache-2.0
#include "guest/machine.hpp"

#include "guest/memory_map.hpp"
#include "lib/log.hpp"

namespace bulkhead::guest {

Machine::Machine(const MachineConfig& config, TimerQueue& timers, SerialPeer& serial, MachineEvents& events)
    : vcpus_(config.vcpus),
      uart_(timers, serial, com1, config.pace_serial ? Uart::Pacing::baud : Uart::Pacing::instant),
      io_apic_(fabric_, ioapic_id),
      fabric_(pic_, io_apic_),
      pit_(timers),
      rtc_(timers, config.boot_seconds),
      i8042_(Delegate<void()>::to<&MachineEvents::reset>(&events)),
      acpi_pm_(timers, Delegate<void()>::to<&MachineEvents::power_off>(&events)),
      pci_(Delegate<void()>::to<&MachineEvents::reset>(&events)) {
    for (unsigned i = 0; i < vcpus_; ++i) {
        Lapic& lapic = lapics_[i].emplace(i, timers, config.crystal_hz, fabric_);
        fabric_.attach(lapic);
    }
    lapics_[0]->set_virtual_wire();
    set_current(0);

    pic_.intr().connect(Delegate<void(bool)>::to<&IrqFabric::set_intr>(&fabric_));
    wire<0>(pit_.irq0());
    wire<1>(i8042_.irq());
    wire<4>(uart_.irq());
    wire<8>(rtc_.irq());
    wire<9>(acpi_pm_.sci());
    claim_ports();

    const MemoryMap map{config.memory};
    rtc_.describe_machine(map.low_size(), map.high_size(), vcpus_);
}

// The ranges are constants: that they fit and do not overlap is a property of this list.
void Machine::claim(std::uint16_t first, std::uint16_t last, PortDevice& device) {
    if (!ports_.claim(first, last, device)) panic("guest: the ports from {:x} are claimed twice", first);
}

// The bus looks in this order: those that a running system uses all the time come first.
void Machine::claim_ports() {
    claim(com1, com1 + 7, uart_);
    claim(AcpiPm::base, AcpiPm::last, acpi_pm_);
    claim(0x20, 0x21, pic_);
    claim(0xa0, 0xa1, pic_);
    claim(0x4d0, 0x4d1, pic_);
    claim(0x40, 0x43, pit_);
    claim(0x61, 0x61, pit_);
    claim(PciHost::first_port, PciHost::last_port, pci_);
    claim(0x70, 0x71, rtc_);
    claim(0x60, 0x60, i8042_);
    claim(0x64, 0x64, i8042_);
    claim(0x92, 0x92, i8042_);
    if (!mmio_.claim(layout::lapic, page_size, lapic_page_) || !mmio_.claim(layout::ioapic, page_size, io_apic_))
        panic("guest: the interrupt controllers overlap");
}

std::expected<void, isa::Fault> Machine::write_apic_base(unsigned vcpu, std::uint64_t value) {
    if (const auto written = lapics_[vcpu]->write_base(value); !written) return written;
    mmio_.move(lapic_page_, GuestPhys{value}.align_down(page_size));
    return {};
}

}  // namespace bulkhead::guest
