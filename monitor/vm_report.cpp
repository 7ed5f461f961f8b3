// SPDX-License-Identifier: Apache-2.0
#include "arch/cpu/instructions.hpp"
#include "lib/log.hpp"
#include "monitor/vm.hpp"
#include "vmx/guest_state.hpp"

// What the operator gets to know of a guest.
namespace bulkhead::monitor {
namespace {

struct EndingWords {
    std::string_view text;
    link::PartitionState state;
};

EndingWords words(Vm::Ending ending) {
    switch (ending) {
        case Vm::Ending::powered_off: return {"powered off", link::PartitionState::off};
        case Vm::Ending::reset: return {"reset", link::PartitionState::off};
        case Vm::Ending::exited: return {"exited", link::PartitionState::exited};
        case Vm::Ending::triple_fault: return {"stopped by a triple fault", link::PartitionState::crashed};
        case Vm::Ending::crashed: return {"stopped: it cannot go on", link::PartitionState::crashed};
        case Vm::Ending::none:
        case Vm::Ending::stopped: break;
    }
    return {"stopped by the operator", link::PartitionState::off};
}

}  // namespace

void Vm::partition_event(link::PartitionState state, std::string_view text) {
    the_system.console->set_state(partition_.number(), state, text);
}

void Vm::log_ending(Ending ending) {
    const EndingWords w = words(ending);
    char storage[32];
    TextBuffer text{storage};
    if (ending == Ending::exited) {
        print(text, "{}", exit_status_);
        log("guest {}: exited with status {}", name(), exit_status_);
    } else {
        text.write(w.text);
        log("guest {}: {}", name(), w.text);
    }
    const Accounting& a = last_account_;
    log("guest {}: ticks={} guest={} root={} idle={} exits={}", name(), a.guest + a.root + a.idle, a.guest, a.root,
        a.idle, a.all_exits());
    for (std::size_t i = 0; i < a.exits.size(); ++i)
        if (a.exits[i] != 0)
            log("guest {}: exits {}={}", name(), vmx::name_of(static_cast<vmx::ExitReason>(i)), a.exits[i]);
    log_sources(a);
    partition_event(w.state, text.view());
}

// What the exits for MSRs and ports were about.
void Vm::log_sources(const Accounting& account) const {
    if (account.apic_msrs != 0) log("guest {}: MSRs of the APIC={}", name(), account.apic_msrs);
    if (account.deadline_msrs != 0) log("guest {}: MSRs of the TSC deadline={}", name(), account.deadline_msrs);
    if (!machine_) return;
    const guest::PortBus& ports = machine_->ports();
    for (const guest::PortBus::Range& range : ports.ranges())
        if (range.accesses != 0) log("guest {}: ports from {:x}={}", name(), range.first, range.accesses);
    if (ports.unclaimed_accesses() != 0) log("guest {}: ports of none={}", name(), ports.unclaimed_accesses());
}

void Vm::show_screen() {
    const MachineLock lock{*this};
    the_system.console->note(Delegate<void(TextSink&)>::to<&Vm::write_screen>(this));
}

void Vm::write_screen(TextSink& sink) {
    const guest::VgaText* const vga = state_ == State::running ? machine_->vga() : nullptr;
    if (vga == nullptr)
        print(sink, "guest {} has no screen\n", name());
    else
        vga->write_text(*memory_, sink);
    GuestMemory::close_windows();
}

Accounting Vm::account() const {
    Accounting sum;
    for (const std::optional<Vcpu>& vcpu : vcpus_)
        if (vcpu) sum += vcpu->account;
    return sum;
}

void Vm::write_accounting(TextSink& sink) const {
    const bool running = state_ == State::running;
    const Accounting a = running ? account() : last_account_;
    print(sink, "{:16} {:9} CPU {}  guest {} root {} idle {} exits {}\n", name(),
          running ? "running" : state_ == State::building ? "starting" : "off", home_, a.guest, a.root,
          a.idle, a.all_exits());
    if (running && config_.vcpus > 1)
        for (const std::optional<Vcpu>& vcpu : vcpus_)
            if (vcpu)
                print(sink, "    vCPU {:2} on CPU {}  guest {} root {} idle {} exits {}\n", vcpu->index, vcpu->seat.cpu,
                      vcpu->account.guest, vcpu->account.root, vcpu->account.idle, vcpu->account.all_exits());
    for (std::size_t i = 0; i < a.exits.size(); ++i)
        if (a.exits[i] != 0) print(sink, "    {:32} {}\n", vmx::name_of(static_cast<vmx::ExitReason>(i)), a.exits[i]);
}

void Vm::keep_report(const Vcpu& vcpu, std::string_view why) {
    static constexpr std::string_view gpr_names[] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                                     "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
    static constexpr std::string_view segment_names[] = {"es", "cs", "ss", "ds", "fs", "gs", "ldtr", "tr"};
    TextBuffer text{report_};
    const vmx::GuestState s = vmx::read_guest_state(cr0_, cr4_);
    isa::Registers gpr = vcpu.registers;
    gpr[isa::Gpr::RSP] = s.rsp;
    print(text, "guest {}", name());
    if (config_.vcpus > 1) print(text, " vCPU {}", vcpu.index);
    print(text, ": {}\n", why);
    print(text, "rip {:016x} rflags {:08x} cr0 {:08x} cr2 {:016x}\n", s.rip, s.rflags, s.cr0, cpu::read_cr2());
    print(text, "cr3 {:016x} cr4 {:08x} efer {:04x} dr7 {:08x}\n", s.cr3, s.cr4, s.efer, s.dr7);
    for (std::size_t i = 0; i < 16; ++i)
        print(text, "{:3} {:016x}{}", gpr_names[i], gpr.gpr[i], i % 4 == 3 ? "\n" : "  ");
    for (std::size_t i = 0; i < 8; ++i)
        print(text, "{:4} {:04x} base {:016x} limit {:08x} rights {:05x}\n", segment_names[i], s.segments[i].selector,
              s.segments[i].base, s.segments[i].limit, s.segments[i].rights);
    print(text, "gdtr {:016x} limit {:04x}  idtr {:016x} limit {:04x}\n", s.gdtr_base, s.gdtr_limit, s.idtr_base,
          s.idtr_limit);
    report_size_ = text.view().size();
    std::string_view rest = report();
    while (!rest.empty()) {
        const std::size_t end = rest.find('\n');
        log_line(rest.substr(0, end));
        rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    }
}

}  // namespace bulkhead::monitor
