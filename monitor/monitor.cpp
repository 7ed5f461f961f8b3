// SPDX-License-Identifier: Apache-2.0
#include <bit>
#include <new>

#include "arch/cpu/instructions.hpp"
#include "arch/cpu/panic.hpp"
#include "arch/cpu/percpu.hpp"
#include "arch/cpu/traps.hpp"
#include "drivers/power.hpp"
#include "lib/log.hpp"
#include "monitor/cpu_loop.hpp"
#include "monitor/host_devices.hpp"
#include "monitor/host_interrupts.hpp"
#include "monitor/operator.hpp"
#include "monitor/vm.hpp"
#include "vmx/cpu.hpp"

// From boot's handover to a loop on every CPU.
namespace bulkhead::monitor {

constinit System the_system;

namespace {

constexpr std::size_t partition_storage = 64 * kib;
constexpr std::string_view configuration_name = "guests.conf";

// What lives as long as the hypervisor does. Boot has made sure that the pool has room for it.
template <class T, class... Args>
T& make(Args&&... args) {
    const auto frames = the_system.pool().allocate(mm::OwnerId::hypervisor, (sizeof(T) + page_size - 1) / page_size);
    if (!frames) panic("no memory for the monitor");
    return *new (the_system.pool().at<std::byte>(*frames)) T(static_cast<Args&&>(args)...);
}

std::span<std::uint8_t> make_storage() {
    const auto frames = the_system.pool().allocate(mm::OwnerId::hypervisor, partition_storage / page_size);
    if (!frames) panic("no memory for the console");
    return {the_system.pool().at<std::uint8_t>(*frames), partition_storage};
}

[[noreturn]] void refuse(const vmx::Refusal& refusal) {
    char storage[256];
    TextBuffer text{storage};
    refusal.print(text);
    log("Bulkhead cannot run guests on this machine: {}", text.view());
    if (the_system.console != nullptr) host_devices().drain();
    cpu::stop_machine();
}

void start_console(const Handover& handover) {
    const bool framed = handover.command_line.find("console=framed") != std::string_view::npos;
    the_system.console = &make<Console>(framed ? ConsoleMode::framed : ConsoleMode::terminal, make_storage());
    set_host_devices(&make<HostDevices>(*the_system.console, *handover.uart));
    set_log_sink(the_system.console);
}

void read_configuration(const Handover& handover) {
    for (const Module& module : handover.modules) {
        if (module.name != configuration_name) continue;
        const auto config = guest::parse_config(
            {reinterpret_cast<const char*>(module.data.data()), module.data.size()});
        if (config)
            the_system.config = *config;
        else
            log("{}:{}: {}", configuration_name, config.error().line, config.error().message());
        return;
    }
    log("no boot module is called {}: there are no guests", configuration_name);
}

void make_guests() {
    std::array<unsigned, max_cpus> loads{};
    const std::span usable{loads.data(), the_system.handover->cpu_count()};
    for (std::size_t i = 0; i < the_system.config.count; ++i) {
        const guest::GuestConfig& config = the_system.config.guests[i];
        std::array<unsigned, guest::max_vcpus> places{};
        if (!place(config.cpus, usable, std::span{places}.first(config.vcpus))) {
            log("{}:{}: guest {}: this machine has none of its CPUs, it has {}", configuration_name, config.line,
                config.name, the_system.handover->cpu_count());
            continue;
        }
        const auto owner = static_cast<mm::OwnerId>(static_cast<std::size_t>(mm::OwnerId::first_guest) + i);
        Partition& partition = the_system.console->add(config.console, config.name, make_storage());
        the_system.vms[the_system.vm_count++] = &make<Vm>(config, owner, partition,
                                                                  std::span{places}.first(config.vcpus));
    }
}

void route_uart(const Handover& handover) {
    const drivers::acpi::IsaRoute& route = handover.platform->isa_routes[drivers::com1_irq];
    for (drivers::IoApic& io_apic : handover.io_apics)
        if (io_apic.handles(route.gsi) &&
            io_apic.route(route.gsi, vector::uart, handover.apic_ids[0], route.trigger, route.polarity))
            return;
    log("the UART's interrupt reaches no I/O APIC: the console is looked at ten times a second");
}

void print_summary() {
    const Handover& h = *the_system.handover;
    const vmx::Platform& p = the_system.platform;
    log("VT-x: EPT{}{}, VPID {}, unrestricted guest, {}preemption timer 1/{} TSC",
        p.capabilities.ept_2mib_pages() ? ", 2-MiB pages" : "", p.capabilities.ept_accessed_dirty() ? ", A/D" : "",
        p.controls.has_proc2(vmx::control::proc2::ENABLE_VPID),
        p.virtual_interrupts ? "APIC virtualisation, " : "", 1u << p.capabilities.preemption_timer_shift());
    for (Vm* vm : the_system.guests()) {
        char storage[64];
        TextBuffer cpus{storage};
        for (unsigned i = 0; i < vm->seat_count(); ++i) print(cpus, "{}{}", i == 0 ? "" : ", ", vm->seat(i).cpu);
        log("guest {}: {} MiB, {} vCPU{}, {}, console {}, CPU {}", vm->name(), vm->config().memory / mib,
            vm->config().vcpus, vm->config().vcpus == 1 ? "" : "s",
            guest::name_of(vm->config().loader), vm->config().console, cpus.view());
    }
    log("{} CPUs, {} MiB for guests", h.cpu_count(), h.blocks->total() * large_page_size / mib);
}

void print_context(TextSink& out) {
    const Vcpu* const vcpu = running_vcpu;
    if (vcpu != nullptr)
        print(out, "guest {} vCPU {}\n", vcpu->vm.name(), vcpu->index);
    else
        print(out, "no guest\n");
}

}  // namespace

void require_vmx() {
    const auto platform = vmx::probe();
    if (!platform) refuse(platform.error());
    the_system.platform = *platform;
}

void start(const Handover& handover) {
    the_system.handover = &handover;
    start_console(handover);
    the_system.features = vmx::find_state_features([](std::uint32_t leaf, std::uint32_t subleaf) {
        return cpu::cpuid(leaf, subleaf);
    });
    const std::uint32_t widths = cpu::cpuid(0x8000'0008).eax;
    the_system.widths = {.physical = widths & 0xff, .linear = widths >> 8 & 0xff};
    the_system.io_bitmap = &make<vmx::IoBitmap>();
    read_configuration(handover);
    make_guests();
    for (std::size_t i = 0; i < handover.cpu_count(); ++i) the_system.doorbells[i].apic_id = handover.apic_ids[i];
    cpu::set_interrupt_sink(host_interrupt);
    cpu::set_context_printer(print_context);
    start_operator();
    route_uart(handover);
    print_summary();
}

[[noreturn]] void cpu_main() {
    if (const auto enabled = vmx::enable(the_system.pool(), the_system.platform); !enabled) {
        if (cpu::index == 0) refuse(enabled.error());
        log("CPU {}: its guests cannot run: {}", cpu::index, enabled.error().missing);
        for (;;) cpu::hlt();
    }
    CpuLoop& loop = make<CpuLoop>(cpu::index);
    for (Vm* vm : the_system.guests())
        for (unsigned i = 0; i < vm->seat_count(); ++i)
            if (vm->seat(i).cpu == cpu::index) loop.adopt(vm->seat(i));
    if (cpu::index == 0) open_for_business();
    loop.run();
}

}  // namespace bulkhead::monitor
