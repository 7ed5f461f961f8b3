// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <expected>
#include <optional>

#include "arch/isa/exception.hpp"
#include "guest/acpi_pm.hpp"
#include "guest/bus.hpp"
#include "guest/clock.hpp"
#include "guest/config.hpp"
#include "guest/console.hpp"
#include "guest/i8042.hpp"
#include "guest/interrupt.hpp"
#include "guest/ioapic.hpp"
#include "guest/irq_fabric.hpp"
#include "guest/lapic.hpp"
#include "guest/pci.hpp"
#include "guest/pic.hpp"
#include "guest/pit.hpp"
#include "guest/rtc.hpp"
#include "guest/uart.hpp"

namespace bulkhead::guest {

struct MachineConfig {
    std::uint64_t memory{};  // bytes
    unsigned vcpus{1};
    std::uint64_t crystal_hz{};    // what the local APIC timers count: tsc_ratio(tsc_hz).crystal_hz
    std::uint64_t boot_seconds{};  // UTC since 1970, now
    bool pace_serial{};            // the UART takes the time of its baud rate
};

// What a guest does to its whole machine. Called from within a device: the machine must outlive the call.
class MachineEvents {
  public:
    virtual void power_off() = 0;
    virtual void reset() = 0;

  protected:
    ~MachineEvents() = default;
};

// All devices of one guest, wired as on a PC. A machine that is reset is built anew: it has no state that survives.
class Machine {
  public:
    static constexpr std::uint16_t com1 = 0x3f8;
    static constexpr unsigned ioapic_id = 0;

    Machine(const MachineConfig& config, TimerQueue& timers, SerialPeer& serial, MachineEvents& events);
    Machine(const Machine&) = delete;
    Machine& operator=(const Machine&) = delete;

    // What the local APIC of this vCPU tells goes to its processor.
    void connect(unsigned vcpu, ProcessorEvents& events) { lapics_[vcpu]->connect(events); }
    // The vCPU whose exit is being handled: an access to the local APIC's page is to its own.
    void set_current(unsigned vcpu) { lapic_page_.current = &*lapics_[vcpu]; }

    PortBus& ports() { return ports_; }
    MmioBus& mmio() { return mmio_; }
    unsigned vcpus() const { return vcpus_; }
    Lapic& lapic(unsigned vcpu) { return *lapics_[vcpu]; }
    Uart& uart() { return uart_; }
    Rtc& rtc() { return rtc_; }
    const I8042& i8042() const { return i8042_; }

    // WRMSR of IA32_APIC_BASE: the local APIC's page moves with it.
    std::expected<void, isa::Fault> write_apic_base(unsigned vcpu, std::uint64_t value);
    // A polite request to shut down.
    void press_power_button() { acpi_pm_.press_power_button(); }

  private:
    // Each vCPU reaches its own local APIC at the one address.
    struct LapicPage final : MmioDevice {
        std::uint64_t read(std::uint64_t offset, unsigned size) override { return current->read(offset, size); }
        void write(std::uint64_t offset, unsigned size, std::uint64_t value) override {
            current->write(offset, size, value);
        }
        Lapic* current{};
    };

    template <unsigned irq>
    void isa_irq(bool level) {
        fabric_.set_isa_irq(irq, level);
    }
    template <unsigned irq>
    void wire(InterruptLine& line) {
        line.connect(Delegate<void(bool)>::to<&Machine::isa_irq<irq>>(this));
    }
    void claim(std::uint16_t first, std::uint16_t last, PortDevice& device);
    void claim_ports();

    const unsigned vcpus_;
    PortBus ports_;
    MmioBus mmio_;
    Uart uart_;
    Pic pic_;
    IoApic io_apic_;
    IrqFabric fabric_;
    Pit pit_;
    Rtc rtc_;
    I8042 i8042_;
    AcpiPm acpi_pm_;
    PciHost pci_;
    LapicPage lapic_page_;
    std::array<std::optional<Lapic>, max_vcpus> lapics_;
};

}  // namespace bulkhead::guest
