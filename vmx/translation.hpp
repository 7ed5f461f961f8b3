// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <limits>

namespace bulkhead::vmx {

// Which cached translations a CPU has to drop before it enters a guest (SDM 28.4.3). Pure bookkeeping; the
// instructions are in invalidation.hpp.
//
// - Guest-physical and combined mappings are tagged by the EPT pointer. A CPU that has not invalidated since the
//   hierarchy last lost or changed a translation must do so, and likewise one that meets the hierarchy for the first
//   time: its root frame may have been another hierarchy's. Entries that become present need nothing (28.4.3.1).
// - Linear and combined mappings are tagged by the VPID. A vCPU invalidates its own by INVLPG, MOV to CR3 and so on
//   only on the CPU where it runs; when it comes back to a CPU, what it left there may be stale. A VPID that had
//   another vCPU before is the same case: a new vCPU was nowhere.

inline constexpr unsigned max_cpus = 64;

// The history of one EPT hierarchy. `changed` is called by whoever changes it, the rest by each CPU for itself.
class EptHistory {
  public:
    EptHistory() = default;
    EptHistory(EptHistory&& other) noexcept : generation_(other.generation_), seen_(other.seen_) {}
    EptHistory& operator=(EptHistory&& other) noexcept {
        generation_ = other.generation_;
        seen_ = other.seen_;
        return *this;
    }

    // After a write that took away or changed a translation. The CPUs that are in a guest now have to be made to exit.
    void changed() { std::atomic_ref(generation_).fetch_add(1, std::memory_order_seq_cst); }

    std::uint64_t generation() const { return load(generation_, std::memory_order_acquire); }
    bool is_stale(unsigned cpu) const { return load(seen_[cpu], std::memory_order_relaxed) != generation(); }
    // `generation` is the one that was read before the invalidation: a change in between is not covered by it.
    void invalidated(unsigned cpu, std::uint64_t generation) {
        std::atomic_ref(seen_[cpu]).store(generation, std::memory_order_release);
    }

    // Whether the CPU has entered with this hierarchy and not invalidated since its last change: whom to interrupt.
    bool may_cache_old(unsigned cpu) const {
        const std::uint64_t seen = load(seen_[cpu], std::memory_order_acquire);
        return seen != never && seen != generation();
    }
    // Whether no CPU can have a translation from before the last change: frames that the hierarchy let go of (tables
    // and memory) may be used again.
    bool all_current() const {
        for (unsigned cpu = 0; cpu < max_cpus; ++cpu)
            if (may_cache_old(cpu)) return false;
        return true;
    }

  private:
    static constexpr std::uint64_t never = 0;
    static std::uint64_t load(const std::uint64_t& word, std::memory_order order) {
        return std::atomic_ref(const_cast<std::uint64_t&>(word)).load(order);
    }

    std::uint64_t generation_{1};
    std::array<std::uint64_t, max_cpus> seen_{};
};

// The VPID of one vCPU and where it was. Only the CPU that runs the vCPU touches it.
class VpidHistory {
  public:
    VpidHistory() = default;
    // Zero: the processor has no VPIDs, and each entry and exit drops what would be tagged by one (28.4.3.1).
    explicit VpidHistory(std::uint16_t vpid) : vpid_(vpid) {}

    std::uint16_t vpid() const { return vpid_; }
    bool is_stale(unsigned cpu) const { return vpid_ != 0 && last_cpu_ != cpu; }
    void invalidated(unsigned cpu) { last_cpu_ = cpu; }
    // After the hypervisor changed the guest's paging behind the processor's back: an emulated INVLPG, a CR0, CR3, CR4
    // or EFER that it wrote itself.
    void changed() { last_cpu_ = nowhere; }

  private:
    static constexpr unsigned nowhere = std::numeric_limits<unsigned>::max();

    std::uint16_t vpid_{};
    unsigned last_cpu_{nowhere};
};

// What a CPU does before it enters.
struct Invalidation {
    bool ept{};
    bool vpid{};

    constexpr bool any() const { return ept || vpid; }
    friend constexpr bool operator==(const Invalidation&, const Invalidation&) = default;
};

[[nodiscard]] inline Invalidation plan_invalidation(const EptHistory& ept, const VpidHistory& vpid, unsigned cpu) {
    return {.ept = ept.is_stale(cpu), .vpid = vpid.is_stale(cpu)};
}

}  // namespace bulkhead::vmx
