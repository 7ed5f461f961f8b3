// SPDX-License-Identifier: Apache-2.0
#include "arch/cpu/instructions.hpp"
#include "guest/emulate/emulate.hpp"
#include "guest/emulate/walk.hpp"
#include "monitor/cpu_loop.hpp"
#include "monitor/handlers.hpp"
#include "monitor/vcpu_state.hpp"
#include "monitor/vm.hpp"
#include "vmx/fields.hpp"

namespace bulkhead::monitor::handler {
namespace {

namespace emulator = guest::emulator;
namespace field = vmx::field;
using isa::Gpr;

class MachinePorts final : public emulator::Ports {
  public:
    explicit MachinePorts(Vcpu& vcpu) : vcpu_(vcpu), bus_(vcpu.vm.machine().ports()) {}
    std::uint32_t in(std::uint16_t port, unsigned size) override {
        vcpu_.trace_port(port, size);
        return bus_.in(port, size);
    }
    void out(std::uint16_t port, unsigned size, std::uint32_t value) override {
        vcpu_.trace_port(port, size);
        bus_.out(port, size, value);
    }
    void in_run(std::uint16_t port, unsigned size, std::span<std::byte> to) override {
        vcpu_.trace_port(port, size);
        bus_.in_run(port, size, to);
    }
    void out_run(std::uint16_t port, unsigned size, std::span<const std::byte> from) override {
        vcpu_.trace_port(port, size);
        bus_.out_run(port, size, from);
    }

  private:
    Vcpu& vcpu_;
    guest::PortBus& bus_;
};

// The guest's clock stands at the access and not at the exit, much of which decoding and the walk of the page tables
// take: a timer that is started in a device's memory and one that is by WRMSR run for as long as each other.
class TimedBus final : public emulator::Bus {
  public:
    explicit TimedBus(Vm& vm) : vm_(vm), bus_(vm.memory(), vm.machine().mmio()) {}
    bool read(GuestPhys from, std::span<std::byte> to) override {
        vm_.set_clock(cpu::rdtsc());
        return bus_.read(from, to);
    }
    bool write(GuestPhys to, std::span<const std::byte> from) override {
        vm_.set_clock(cpu::rdtsc());
        return bus_.write(to, from);
    }
    bool takes_runs(GuestPhys first, unsigned size) const override { return bus_.takes_runs(first, size); }

  private:
    Vm& vm_;
    emulator::MachineBus bus_;
};

// A page that the processor has translated for the access of this exit, and found no fault with (SDM Vol. 3C, table
// 28-7).
struct Translated {
    GuestVirt page;
    GuestPhys frame;
    emulator::Access::Kind kind;
};

std::optional<Translated> translated_by(const vmx::Exit& exit) {
    using Kind = emulator::Access::Kind;
    const auto violation = vmx::EptViolation::decode(exit.qualification);
    if (!violation.linear_address_valid || !violation.final_access) return std::nullopt;
    const Kind kind = violation.write ? Kind::write : violation.fetch ? Kind::execute : Kind::read;
    return Translated{exit.guest_linear.align_down(page_size), exit.guest_physical.align_down(page_size), kind};
}

// Walks the guest's page tables for all pages but that one.
class ExitTranslate final : public emulator::Translate {
  public:
    ExitTranslate(emulator::Translate& walk, const std::optional<Translated>& known) : walk_(walk), known_(known) {}
    std::expected<GuestPhys, isa::Fault> translate(GuestVirt address, emulator::Access access) override {
        if (known_ && known_->page == address.align_down(page_size) && known_->kind == access.kind && !access.implicit)
            return known_->frame + address.offset_in(page_size);
        return walk_.translate(address, access);
    }

  private:
    emulator::Translate& walk_;
    const std::optional<Translated>& known_;
};

// For the operator: which instruction it was that could not be emulated.
Next give_up(ExitContext& c, VcpuState& state, emulator::Bus& bus, emulator::Translate& walk) {
    std::array<std::byte, 15> bytes{};
    const unsigned count = emulator::peek_instruction(state, bus, walk, bytes);
    char storage[160];
    TextBuffer text{storage};
    print(text, "{} at {}: cannot emulate the instruction", vmx::name_of(c.exit.reason()),
          GuestPhys{c.exit.guest_physical});
    for (unsigned i = 0; i < count; ++i) print(text, " {:02x}", static_cast<unsigned>(bytes[i]));
    c.vcpu.vm.crash(c.vcpu, text.view());
    return Next::pick;
}

// A device has been told something: it may have ended the guest, or the vCPU has to wait for room.
Next told(ExitContext& c) {
    if (c.vcpu.vm.machine().output_stalled()) c.vcpu.wait = Vcpu::Wait::output_room;
    return c.vcpu.vm.is_ending() || c.vcpu.wait != Vcpu::Wait::none ? Next::pick : Next::resume;
}

Next emulate(ExitContext& c, const std::optional<Translated>& known = {}) {
    Vm& vm = c.vcpu.vm;
    vm.machine().set_current(c.vcpu.index);
    VcpuState state{c.vcpu};
    TimedBus bus{vm};
    const std::array<std::uint64_t, 4> pdptes{
        vmx::read<field::GUEST_PDPTE0>(), vmx::read<field::GUEST_PDPTE1>(), vmx::read<field::GUEST_PDPTE2>(),
        vmx::read<field::GUEST_PDPTE3>()};
    emulator::Walk walk{state, vm.memory(), {.physical_bits = vm.cpuid().physical_address_bits()}, &pdptes};
    ExitTranslate translate{walk, known};
    MachinePorts ports{c.vcpu};
    const emulator::Result result = emulator::emulate(state, bus, translate, &ports);
    Vcpu::meet(result.breakpoints);
    switch (result.outcome) {
        case emulator::Outcome::fault: return raise(c, result.fault);
        case emulator::Outcome::unsupported: return give_up(c, state, bus, walk);
        case emulator::Outcome::done:
            if (result.loaded_ss) c.vcpu.complete_load_of_ss();
            else c.vcpu.complete_instruction();
            break;
        // Interrupts get their turn between the iterations of a string instruction.
        case emulator::Outcome::restart: vmx::trace_instruction(false); break;
    }
    return told(c);
}

}  // namespace

Next io_instruction(ExitContext& c) {
    const vmx::IoAccess access = vmx::IoAccess::decode(c.exit.qualification);
    if (access.string) [[unlikely]]
        return emulate(c);
    guest::Machine& machine = c.vcpu.vm.machine();
    std::uint64_t& rax = c.vcpu.registers[Gpr::RAX];
    if (!access.in) {
        machine.ports().out(access.port, access.size, static_cast<std::uint32_t>(rax));
        c.vcpu.skip_instruction(c.exit.length);
        c.vcpu.trace_port(access.port, access.size);
        return told(c);
    }
    std::uint32_t value = machine.ports().in(access.port, access.size);
    if (access.port == machine.uart().status_port() && machine.uart().poll_would_wait()) [[unlikely]] {
        // A guest that polls a busy transmitter sleeps until it is free, and sees it free if that can be had at once;
        // not with a machine that others wait for.
        c.vcpu.wait = Vcpu::Wait::serial_line;
        if (!c.vcpu.vm.is_shared() && c.cpu.wait_in_place(c.vcpu)) value = machine.ports().in(access.port, access.size);
    }
    // A 32-bit result clears the upper half of RAX, a smaller one leaves the rest as it was.
    if (access.size == 4)
        rax = value;
    else
        rax = (rax & ~((1ull << 8 * access.size) - 1)) | value;
    c.vcpu.skip_instruction(c.exit.length);
    c.vcpu.trace_port(access.port, access.size);
    return c.vcpu.wait == Vcpu::Wait::none ? Next::resume : Next::pick;
}

// All RAM is mapped with every right: the guest reached for a device, or for nothing.
Next ept_violation(ExitContext& c) {
    // The processor itself, delivering an event: there is no instruction to emulate, and trying again would not end.
    if (vmx::interrupted_event()) {
        char storage[120];
        TextBuffer text{storage};
        print(text, "an event was to be delivered through {}, which is not memory", c.exit.guest_physical);
        c.vcpu.vm.crash(c.vcpu, text.view());
        return Next::pick;
    }
    // IRET had unblocked NMIs when it faulted; it runs again.
    if (vmx::EptViolation::decode(c.exit.qualification).nmi_unblocked_by_iret)
        vmx::write<field::GUEST_INTERRUPTIBILITY_STATE>(vmx::read<field::GUEST_INTERRUPTIBILITY_STATE>() |
                                                        vmx::interruptibility::BLOCKING_BY_NMI);
    return emulate(c, translated_by(c.exit));
}

}  // namespace bulkhead::monitor::handler
