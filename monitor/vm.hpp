// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "guest/config.hpp"
#include "guest/cpu_state.hpp"
#include "guest/cpuid.hpp"
#include "guest/machine.hpp"
#include "monitor/guest_memory.hpp"
#include "monitor/mailbox.hpp"
#include "monitor/system.hpp"
#include "monitor/vcpu.hpp"
#include "vmx/ept.hpp"

namespace bulkhead::monitor {

class CpuLoop;

// One compartment: the configuration it comes from, for ever, and while its guest runs, all that the guest holds. The
// frames and blocks of a running guest are on its owner id, so that ending it gives back everything at once.
//
// Everything but `ask` is called on the VM's home CPU alone.
class Vm final : public guest::MachineEvents {
  public:
    enum class State : std::uint8_t { off, building, running };
    // What became of the guest, in the words of a log.
    enum class Ending : std::uint8_t { powered_off, reset, triple_fault, crashed, stopped };

    Vm(const guest::GuestConfig& config, mm::OwnerId owner, Partition& partition, unsigned home);

    // ---- from any CPU

    void ask(Request request);

    // ---- lifecycle

    bool has_requests() const { return !mailbox_.empty(); }
    void serve_requests(CpuLoop& cpu);
    // Of any VM, on any CPU.
    State state() const { return state_.load(std::memory_order_acquire); }
    // One piece of the work that makes a guest: so that its neighbours on this CPU run in between.
    void build_step(CpuLoop& cpu);
    // The guest asked for it (guest::MachineEvents), or its exit handler found it out. Takes effect when the handler returns.
    void power_off() override { end_soon(Ending::powered_off); }
    void reset() override { end_soon(Ending::reset); }
    void end_soon(Ending ending) {
        if (!ending_) ending_ = ending;
    }
    // For a guest that cannot go on: `why` and the vCPU's state become its report.
    void crash(std::string_view why);
    // Writes the vCPU's state to the report and the log. Of the VM whose VMCS is current.
    void keep_report(std::string_view why);
    bool is_ending() const { return ending_.has_value(); }
    void end(CpuLoop& cpu);

    // ---- the running guest

    guest::Machine& machine() { return *machine_; }
    Vcpu& vcpu() { return *vcpu_; }
    guest::Clock& clock() { return clock_; }
    guest::TimerQueue& timers() { return timers_; }
    GuestMemory& memory() { return *memory_; }
    vmx::Ept& ept() { return *ept_; }
    const guest::Cpuid& cpuid() const { return *cpuid_; }
    const vmx::Controls& controls() const { return the_system.platform.controls; }
    const vmx::ControlRegisterPolicy& cr0() const { return cr0_; }
    const vmx::ControlRegisterPolicy& cr4() const { return cr4_; }

    // The guest's time 0 on the host's TSC.
    std::uint64_t tsc_base() const { return tsc_base_; }
    // IA32_TSC_ADJUST (SDM volume 3, 17.17.3): what the guest added to its TSC.
    std::uint64_t tsc_adjust() const { return tsc_adjust_; }
    void set_tsc_adjust(std::uint64_t adjust);

    void wake(Vcpu& vcpu);
    void set_loop(CpuLoop* loop) { loop_ = loop; }

    // ---- what is known of it

    const guest::GuestConfig& config() const { return config_; }
    std::string_view name() const { return config_.name; }
    unsigned home() const { return home_; }
    std::string_view report() const { return {report_.data(), report_size_}; }
    void write_accounting(TextSink& sink) const;

  private:
    using Step = std::expected<void, std::string_view>;

    // #DB, #AC and #MC: see handler::exception_or_nmi.
    static constexpr std::uint32_t exception_bitmap = 1u << static_cast<unsigned>(isa::Exception::DB) |
        1u << static_cast<unsigned>(isa::Exception::AC) | 1u << static_cast<unsigned>(isa::Exception::MC);

    Step begin_building();
    Step add_block();
    Step finish_building(CpuLoop& cpu);
    Step load(guest::InitialState& initial);
    Step create_msr_bitmap();
    vmx::Controls offered_controls() const;
    Step create_vcpu(const guest::InitialState& initial, CpuLoop& cpu);
    void fail(std::string_view why);
    void release();
    void partition_event(link::PartitionState state, std::string_view text);
    void log_ending(Ending ending);
    std::span<const std::byte> module(std::string_view name) const;

    void input_came() { ask(Request::input); }
    void room_came() { ask(Request::output_room); }

    const guest::GuestConfig& config_;
    const mm::OwnerId owner_;
    const unsigned home_;
    Partition& partition_;
    CpuLoop* loop_{};
    Mailbox mailbox_;

    std::atomic<State> state_{State::off};
    std::optional<Ending> ending_;
    bool restart_{};
    std::uint64_t built_{};  // bytes of memory

    guest::Clock clock_;
    guest::TimerQueue timers_{clock_};
    std::uint64_t tsc_base_{}, tsc_adjust_{};
    vmx::ControlRegisterPolicy cr0_{}, cr4_{};
    guest::MsrParameters msr_parameters_{};
    HostPhys msr_bitmap_{};
    std::optional<vmx::Ept> ept_;
    std::optional<GuestMemory> memory_;
    std::optional<guest::Cpuid> cpuid_;
    std::optional<guest::Machine> machine_;
    std::optional<Vcpu> vcpu_;

    Accounting last_account_;
    std::size_t report_size_{};
    std::array<char, 2048> report_{};
};

}  // namespace bulkhead::monitor
