// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "guest/acpi_pm.hpp"
#include "guest/bus.hpp"
#include "guest/clock.hpp"
#include "guest/config.hpp"
#include "guest/console.hpp"
#include "guest/i8042.hpp"
#include "guest/interrupt.hpp"
#include "guest/irq_fabric.hpp"
#include "guest/lapic.hpp"
#include "guest/lapic_page.hpp"
#include "guest/pci.hpp"
#include "guest/pit.hpp"
#include "guest/rtc.hpp"
#include "guest/uart.hpp"

namespace bulkhead::guest {

struct MachineConfig {
    std::uint64_t memory{};  // bytes
    unsigned vcpus{1};
    unsigned physical_address_bits{36};
    std::uint64_t crystal_hz{};    // what the local APIC timers count: tsc_ratio(tsc_hz).crystal_hz
    std::uint64_t boot_seconds{};  // UTC since 1970, now
    bool pace_serial{};            // the UART takes the time of its baud rate
    bool x2apic{true};             // CPUID shows it
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

    Machine(const MachineConfig& config, TimerQueue& timers, SerialPeer& serial, MachineEvents& events);
    Machine(const Machine&) = delete;
    Machine& operator=(const Machine&) = delete;

    // What the local APIC of this vCPU tells goes to its processor.
    void connect(unsigned vcpu, ProcessorEvents& events) { lapic(vcpu).connect(events); }
    // The vCPU whose exit is being handled: it finds its own local APIC's page where its IA32_APIC_BASE says.
    void set_current(unsigned vcpu) {
        if (vcpu != current_) show_lapic(vcpu);
    }

    PortBus& ports() { return ports_; }
    MmioBus& mmio() { return mmio_; }
    unsigned vcpus() const { return vcpus_; }
    Lapic& lapic(unsigned vcpu) { return lapics_[vcpu]->lapic; }
    Uart& uart() { return uart_; }
    Rtc& rtc() { return rtc_; }
    const I8042& i8042() const { return i8042_; }

    // A polite request to shut down.
    void press_power_button() { acpi_pm_.press_power_button(); }

  private:
    // One vCPU's interrupt controller.
    struct LocalApic {
        LocalApic(const LapicConfig& config, TimerQueue& timers, LapicBus& bus) : lapic(config, page, timers, bus) {}
        RegisterPage page;
        Lapic lapic;
    };

    void claim(std::uint16_t first, std::uint16_t last, PortDevice& device);
    void connect_interrupts();
    void claim_addresses();
    void add_lapics(const MachineConfig& config, TimerQueue& timers);
    void show_lapic(unsigned vcpu);
    void lapic_moved(std::optional<GuestPhys>) { show_lapic(current_); }

    const unsigned vcpus_;
    PortBus ports_;
    MmioBus mmio_;
    Uart uart_;
    IrqFabric fabric_;
    Pit pit_;
    Rtc rtc_;
    I8042 i8042_;
    AcpiPm acpi_pm_;
    PciHost pci_;
    std::array<std::optional<LocalApic>, max_vcpus> lapics_;
    unsigned current_{};
};

}  // namespace bulkhead::guest
