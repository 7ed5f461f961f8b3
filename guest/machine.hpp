// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include "guest/acpi_pm.hpp"
#include "guest/bus.hpp"
#include "guest/clock.hpp"
#include "guest/config.hpp"
#include "guest/console.hpp"
#include "guest/console_input.hpp"
#include "guest/debug_console.hpp"
#include "guest/debug_exit.hpp"
#include "guest/fw_cfg.hpp"
#include "guest/host_bridge.hpp"
#include "guest/hpet.hpp"
#include "guest/i8042.hpp"
#include "guest/ide_function.hpp"
#include "guest/interrupt.hpp"
#include "guest/irq_fabric.hpp"
#include "guest/isa_bridge.hpp"
#include "guest/keyboard.hpp"
#include "guest/lapic.hpp"
#include "guest/lapic_page.hpp"
#include "guest/memory.hpp"
#include "guest/pci.hpp"
#include "guest/pit.hpp"
#include "guest/pm_function.hpp"
#include "guest/rtc.hpp"
#include "guest/shadow_memory.hpp"
#include "guest/test_device.hpp"
#include "guest/uart.hpp"
#include "guest/vga_text.hpp"

namespace bulkhead::guest {

// Of a guest that starts with firmware of its own, at the reset vector. All but the image are null without one.
struct FirmwareConfig {
    std::span<const std::byte> rom{};  // the image, which ends at 4 GiB
    Memory* memory{};                  // the guest's
    AddressMap* map{};
    std::uint16_t boot_order{};        // see Rtc::set_boot_order
    bool places_acpi{};                // it, and nobody else, says where the registers of ACPI are
};

struct MachineConfig {
    std::uint64_t memory{};  // bytes
    unsigned vcpus{1};
    unsigned physical_address_bits{36};
    std::uint64_t crystal_hz{};    // what the local APIC timers count: tsc_ratio(tsc_hz).crystal_hz
    std::uint64_t boot_seconds{};  // UTC since 1970, now
    bool pace_serial{};            // the UART takes the time of its baud rate
    bool x2apic{true};             // CPUID shows it
    bool debug_exit{};
    bool debug_console{};
    Memory* fw_cfg_memory{};          // the guest's, with which there is a firmware configuration device
    FirmwareConfig firmware{};
    std::span<const Drive> drives{};  // with which there is an IDE controller; max_drives at most
    std::span<std::byte> test_ram{};  // TestDevice::ram_size bytes, with which there is a test device
    // Where the timer of each vCPU's local APIC is served; empty: with the devices'.
    std::span<TimerQueue* const> lapic_timers{};
};

// What a guest does to its whole machine. Called from within a device: the machine must outlive the call.
class MachineEvents {
  public:
    virtual void power_off() = 0;
    virtual void reset() = 0;
    // By its debug exit port.
    virtual void exit(std::uint64_t status) = 0;

  protected:
    ~MachineEvents() = default;
};

// An address of real mode.
struct FarPointer {
    std::uint16_t offset{}, segment{};
};

// All devices of one guest, wired as on a PC. A machine that is reset is built anew: it has no state that survives.
class Machine {
  public:
    static constexpr std::uint16_t com1 = 0x3f8;

    Machine(const MachineConfig& config, TimerQueue& timers, SerialPeer& serial, MachineEvents& events);
    Machine(const Machine&) = delete;
    Machine& operator=(const Machine&) = delete;

    // What the local APIC of this vCPU tells goes to its processor.
    void connect(unsigned vcpu, ProcessorEvents& events) {
        processors_[vcpu] = &events;
        lapic(vcpu).connect(events);
    }
    // The vCPU whose exit is being handled: it finds its own local APIC's page where its IA32_APIC_BASE says.
    void set_current(unsigned vcpu) {
        if (vcpu != current_) show_lapic(vcpu);
    }

    PortBus& ports() { return ports_; }
    const PortBus& ports() const { return ports_; }
    MmioBus& mmio() { return mmio_; }
    unsigned vcpus() const { return vcpus_; }
    Lapic& lapic(unsigned vcpu) { return lapics_[vcpu]->lapic; }
    RegisterPage& lapic_page(unsigned vcpu) { return lapics_[vcpu]->page; }
    Uart& uart() { return uart_; }
    Rtc& rtc() { return rtc_; }
    const I8042& i8042() const { return i8042_; }
    // Null if there is none.
    const VgaText* vga() const { return vga_ ? &*vga_ : nullptr; }
    // Whether a processor that is reset begins in firmware, which then knows what to do.
    bool has_firmware() const { return rom_.has_value(); }

    // Null if the configuration asks for none.
    FwCfg* fw_cfg() { return fw_cfg_ ? &*fw_cfg_ : nullptr; }

    // The console has room again.
    void transmit_room();
    // Something was typed.
    void input_available();
    // What a vCPU wrote last found no room: it must wait.
    bool output_stalled() const { return debug_console_ && debug_console_->stalled(); }

    // What firmware does when the bootstrap processor comes to its reset vector without a reset: as the shutdown byte
    // in NVRAM says, which it clears, it goes on where the far pointer at 0040:0067 points to. Nothing: a reset
    // follows.
    std::optional<FarPointer> resume_from_init(Memory& memory);

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
    void pit_interrupt(bool level);
    void rtc_interrupt(bool level);
    void hpet_interrupt(unsigned input, bool level) { fabric_.isa_input(input)(level); }
    void legacy_route_changed();
    void claim_addresses(bool acpi);
    void add_test_devices(const MachineConfig& config, SerialPeer& serial, MachineEvents& events);
    void add_firmware(const FirmwareConfig& config);
    void add_isa_bridge();
    void add_drives(std::span<const Drive> drives);
    void reset_processors();
    void add_fw_cfg(const MachineConfig& config, TimerQueue& timers);
    void connect_test_device();
    void add_lapics(const MachineConfig& config, TimerQueue& timers);
    void show_lapic(unsigned vcpu);
    void lapic_moved(std::optional<GuestPhys>) { show_lapic(current_); }

    const unsigned vcpus_;
    PortBus ports_;
    MmioBus mmio_;
    ConsoleInput input_;
    Uart uart_;
    IrqFabric fabric_;
    Pit pit_;
    Rtc rtc_;
    Hpet hpet_;
    Keyboard keyboard_;
    I8042 i8042_;
    AcpiPm acpi_pm_;
    PciHost pci_;
    std::optional<Rom> rom_;
    std::optional<ShadowMemory> shadow_;
    std::optional<HostBridge> host_bridge_;
    std::optional<IsaBridge> isa_bridge_;
    std::optional<IdeFunction> ide_function_;
    std::optional<PmFunction> pm_function_;
    std::optional<VgaText> vga_;
    std::optional<FwCfg> fw_cfg_;
    std::optional<DebugExit> debug_exit_;
    std::optional<DebugConsole> debug_console_;
    std::optional<TestDevice> test_device_;
    std::array<std::optional<LocalApic>, max_vcpus> lapics_;
    std::array<ProcessorEvents*, max_vcpus> processors_{};
    MachineEvents& events_;
    unsigned current_{};
};

}  // namespace bulkhead::guest
