// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "guest/acpi_loader.hpp"
#include "guest/config.hpp"
#include "guest/cpu_state.hpp"
#include "guest/cpuid.hpp"
#include "guest/load_error.hpp"
#include "guest/machine.hpp"
#include "guest/placement.hpp"
#include "monitor/drives.hpp"
#include "monitor/guest_memory.hpp"
#include "lib/spinlock.hpp"
#include "monitor/mailbox.hpp"
#include "monitor/seat.hpp"
#include "monitor/system.hpp"
#include "monitor/vcpu.hpp"
#include "vmx/ept.hpp"

namespace bulkhead::monitor {

class CpuLoop;

// One compartment: the configuration it comes from, for ever, and while its guest runs, all that the guest holds. The
// frames and blocks of a running guest are on its owner id, so that ending it gives back everything at once.
//
// Its vCPUs may live on several CPUs, each of which has a seat for those that are its own. The home is the CPU of vCPU
// 0: the VM is built and released there, and its devices' timers are served there. A guest that ends is left by each
// CPU for itself; the home releases it when the last one has. What the vCPUs share - the machine model, and what the
// models set in another vCPU - is locked while it is touched, if there is more than one CPU: see MachineLock.
class Vm final : public guest::MachineEvents, private guest::AddressMap {
  public:
    enum class State : std::uint8_t { off, building, running };
    // What became of the guest, in the words of a log.
    enum class Ending : std::uint8_t { none, powered_off, reset, exited, triple_fault, crashed, stopped };

    // `places`: the CPU of each vCPU. The first one's is the home.
    Vm(const guest::GuestConfig& config, mm::OwnerId owner, Partition& partition, std::span<const unsigned> places);

    // ---- from any CPU

    void ask(Request request);

    State state() const { return state_.load(std::memory_order_acquire); }
    // The guest asked for it (guest::MachineEvents), or an exit handler found it out. Takes effect on each CPU when it
    // comes out of the guest. True for the first who says so.
    void power_off() override { end_soon(Ending::powered_off); }
    void reset() override { end_soon(Ending::reset); }
    void exit(std::uint64_t status) override {
        if (!is_ending()) exit_status_ = status;
        end_soon(Ending::exited);
    }
    bool end_soon(Ending ending);
    bool is_ending() const { return ending_.load(std::memory_order_relaxed) != Ending::none; }
    // For a guest that cannot go on: `why` and the state of this vCPU, which is the current one, become its report.
    void crash(const Vcpu& vcpu, std::string_view why, Ending ending = Ending::crashed);

    // ---- lifecycle, on the home

    bool has_requests() const { return !mailbox_.empty(); }
    void serve_requests();
    // One piece of the work that makes a guest: so that its neighbours on this CPU run in between.
    void build_step();
    // Once every CPU has left.
    bool is_left() const { return seats_taken_.load(std::memory_order_acquire) == 0; }
    void end();

    // ---- on each CPU that has a seat

    unsigned seat_count() const { return seat_count_; }
    Seat& seat(unsigned number) { return *seats_[number]; }
    // Puts the seat's vCPUs into its loop, and takes them out again. The machine is locked.
    void take(Seat& seat);
    void leave(Seat& seat);

    // ---- the running guest

    // Whether its vCPUs live on more than one CPU.
    bool is_shared() const { return seat_count_ > 1; }
    void lock();
    void unlock();
    // The guest's clock stands at `tsc`, the host's, until the next call. The machine is locked.
    void set_clock(std::uint64_t tsc) {
        const guest::Tick now = tsc - tsc_base_;
        if (!is_shared())
            clock_.now = now;
        else
            advance_clock();
    }
    // Fires the timers of a seat that are due. The machine is locked.
    void expire_timers(Seat& seat) {
        seat.timers.expire();
        if (is_shared() && seat.cpu == home_) [[unlikely]]
            rouse_pollers();
    }
    guest::Machine& machine() { return *machine_; }
    Vcpu& vcpu(unsigned index) { return *vcpus_[index]; }
    // Calls visit(vcpu) for those of the seat.
    template <class Visit>
    void for_each(const Seat& seat, Visit visit) {
        for (std::uint32_t left = seat.vcpus; left != 0; left &= left - 1)
            visit(*vcpus_[static_cast<unsigned>(std::countr_zero(left))]);
    }
    guest::Clock& clock() { return clock_; }
    GuestMemory& memory() { return *memory_; }
    vmx::Ept& ept() { return *ept_; }
    const guest::Cpuid& cpuid() const { return *cpuid_; }
    const vmx::Controls& controls() const { return controls_; }
    // What a vCPU reaches without an exit; more if the processor virtualises the x2APIC MSRs.
    HostPhys msr_bitmap(bool x2apic) const { return x2apic ? x2apic_msr_bitmap_ : msr_bitmap_; }
    const vmx::ControlRegisterPolicy& cr0() const { return cr0_; }
    const vmx::ControlRegisterPolicy& cr4() const { return cr4_; }

    // The guest's time 0 on the host's TSC.
    std::uint64_t tsc_base() const { return tsc_base_; }

    // ---- what is known of it

    const guest::GuestConfig& config() const { return config_; }
    std::string_view name() const { return config_.name; }
    unsigned home() const { return home_; }
    std::string_view report() const { return {report_.data(), report_size_}; }
    void write_accounting(TextSink& sink) const;
    // The text on the guest's screen. On the home, with the machine locked if the guest runs.
    void write_screen(TextSink& sink);

  private:
    using Step = std::expected<void, std::string_view>;
    struct BootFiles {
        std::span<const std::byte> kernel, initrd;
        std::span<const std::byte> firmware, vgabios, option_rom, floppy;
        std::array<guest::BootModule, guest::max_modules> modules{};
        std::size_t module_count{};
    };
    using LoadResult = std::expected<guest::InitialState, guest::LoadError>;

    // #DB, #AC and #MC: see handler::exception_or_nmi.
    static constexpr std::uint32_t exception_bitmap = 1u << static_cast<unsigned>(isa::Exception::DB) |
        1u << static_cast<unsigned>(isa::Exception::AC) | 1u << static_cast<unsigned>(isa::Exception::MC);

    Step begin_building();
    Step insert_drives();
    Step add_block();
    Step finish_building();
    bool find_module(std::string_view what, std::string_view file, std::span<const std::byte>& data) const;
    Step find_files(BootFiles& files) const;
    Step write_tables();
    LoadResult load_kernel(const BootFiles& files);
    Step load_firmware(const BootFiles& files);
    // guest::AddressMap: what its host bridge changes.
    void back(GuestPhys first, std::uint64_t size, guest::Backing backing, std::uint64_t offset_in_rom) override;
    Step load(const BootFiles& files, guest::InitialState& initial);
    bool fill_fw_cfg(const BootFiles& files, std::uint64_t entry);
    std::expected<std::span<std::byte>, std::string_view> test_ram();
    Step create_machine();
    std::expected<HostPhys, std::string_view> create_msr_bitmap(bool x2apic);
    Step create_msr_bitmaps();
    vmx::Controls choose_controls() const;
    Step create_vcpu(unsigned index);
    void prepare_vmcs(Vcpu& vcpu);
    void start();
    void stop();
    void advance_clock();
    void rouse_pollers();
    Seat& seat_of(unsigned vcpu);
    void keep_report(const Vcpu& vcpu, std::string_view why);
    Accounting account() const;
    void fail(std::string_view why);
    void release();
    void show_screen();
    void partition_event(link::PartitionState state, std::string_view text);
    void log_ending(Ending ending);
    void log_sources(const Accounting& account) const;
    std::span<const std::byte> module(std::string_view name) const;

    void input_came() { ask(Request::input); }
    void room_came() { ask(Request::output_room); }

    const guest::GuestConfig& config_;
    const mm::OwnerId owner_;
    const unsigned home_;
    Partition& partition_;
    Mailbox mailbox_;

    std::atomic<State> state_{State::off};
    std::atomic<Ending> ending_{Ending::none};
    std::uint64_t exit_status_{};  // of Ending::exited; set with the machine locked
    std::atomic<unsigned> seats_taken_{};
    bool restart_{};
    std::uint64_t built_{};  // bytes of memory

    SpinLock lock_;
    unsigned changes_before_{};  // of the home's timers, when the lock was taken
    guest::Clock clock_;
    std::array<std::optional<Seat>, guest::max_vcpus> seats_;
    unsigned seat_count_{};
    std::uint64_t tsc_base_{};
    guest::InitialState initial_;  // of vCPU 0, unless it starts in firmware
    HostPhys rom_{};               // the firmware's image, in a block of the guest's own
    guest::AcpiLoader acpi_loader_;
    Drives drives_;
    vmx::ControlRegisterPolicy cr0_{}, cr4_{};
    guest::MsrParameters msr_parameters_{};
    vmx::Controls controls_{};
    HostPhys msr_bitmap_{}, x2apic_msr_bitmap_{};
    std::optional<vmx::Ept> ept_;
    std::optional<GuestMemory> memory_;
    std::optional<guest::Cpuid> cpuid_;
    std::optional<guest::Machine> machine_;
    std::array<std::optional<Vcpu>, guest::max_vcpus> vcpus_;

    Accounting last_account_;
    std::size_t report_size_{};
    std::array<char, 2048> report_{};
};

// While one exists, the machine of the VM is this CPU's alone: its model, and what the models tell a vCPU. Nothing to
// do where all vCPUs live on one CPU.
class [[nodiscard]] MachineLock {
  public:
    explicit MachineLock(Vm& vm) : vm_(vm) {
        if (vm_.is_shared()) [[unlikely]]
            vm_.lock();
    }
    ~MachineLock() {
        if (vm_.is_shared()) [[unlikely]]
            vm_.unlock();
    }
    MachineLock(const MachineLock&) = delete;
    MachineLock& operator=(const MachineLock&) = delete;

  private:
    Vm& vm_;
};

}  // namespace bulkhead::monitor
