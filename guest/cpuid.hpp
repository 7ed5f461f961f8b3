// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <concepts>
#include <cstdint>

#include "arch/isa/cpuid.hpp"
#include "guest/config.hpp"
#include "guest/cpuid_table.hpp"
#include "lib/delegate.hpp"

namespace bulkhead::guest {

// TSC frequency = crystal * numerator / denominator (CPUID leaf 15h). The local APIC timer counts the crystal.
struct TscRatio {
    std::uint32_t denominator{1}, numerator{1};
    std::uint32_t crystal_hz{};
    friend constexpr bool operator==(const TscRatio&, const TscRatio&) = default;
};
// The crystal is slower than the TSC, as on processors, wherever that can be exact: a program that measures the one by
// the other finds a ratio of at least 1, whatever its access to the timer's registers takes.
TscRatio tsc_ratio(std::uint64_t tsc_hz);

struct CpuidParameters {
    unsigned vcpus{1};
    Paravirt paravirt{Paravirt::none};
    std::uint64_t tsc_hz{};
    std::uint64_t xcr0{};  // the components that guests may enable: those that are switched with them
    // What the processor tells of the compacted format (leaf 0Dh, subleaf 1, EBX) with all of `xcr0` enabled. Where
    // that does not fit the components' sizes, as is known of an emulator, the format is not shown.
    std::uint32_t compacted_area{};
    // What of the processor is usable by guests beyond the instructions that need no permission.
    bool rdtscp{}, invpcid{}, xsaves{}, spec_ctrl{}, arch_capabilities{};
    std::string_view hidden{};  // names of features that the guest is not shown; what builds on one goes with it
};

// What the answers depend on at the moment of the instruction.
struct CpuidDynamic {
    std::uint32_t apic_id{};
    bool apic_enabled{true};  // IA32_APIC_BASE.EN
    bool osxsave{};           // CR4.OSXSAVE
    bool ospke{};             // CR4.PKE
    bool mode_64{};           // the instruction was executed in 64-bit mode
    std::uint64_t xcr0{1};
};

// CPUID as the vCPUs of one guest see it, worked out once from the host's CPUID, the table and the guest's shape.
class Cpuid {
  public:
    using Host = Delegate<isa::CpuidResult(std::uint32_t leaf, std::uint32_t subleaf)>;

    Cpuid(const CpuidParameters& parameters, Host host);

    // `dynamic` returns a CpuidDynamic. It is called only for the few leaves that depend on it.
    template <std::invocable Source>
    isa::CpuidResult get(std::uint32_t leaf, std::uint32_t subleaf, Source&& dynamic) const {
        const Slot& slot = find(leaf);
        if (slot.kind == Kind::plain) [[likely]]
            return slot.result;
        return complete(slot, subleaf, dynamic());
    }
    isa::CpuidResult get(std::uint32_t leaf, std::uint32_t subleaf, const CpuidDynamic& dynamic) const {
        return get(leaf, subleaf, [&] { return dynamic; });
    }

    // The answer, if it depends on nothing but the leaf; else null.
    const isa::CpuidResult* find_plain(std::uint32_t leaf) const {
        const Slot& slot = find(leaf);
        return slot.kind == Kind::plain ? &slot.result : nullptr;
    }

    // Whether the guest is shown a feature: see cpuid_table::feature.
    bool shows(const cpuid_table::Row& feature) const;

    // The components that XSETBV accepts.
    std::uint64_t xcr0() const { return xcr0_; }
    // Family, model and stepping: what EDX is after RESET and INIT.
    std::uint32_t version() const { return basic_[1].result.eax; }
    unsigned physical_address_bits() const { return extended_[8].result.eax & 0xff; }

  private:
    enum class Kind : std::uint8_t { plain, features, caches, more_features, topology, xsave, extended_features };
    struct Slot {
        isa::CpuidResult result{};
        Kind kind{Kind::plain};
    };
    static constexpr std::uint32_t basic_leaves = 0x20, extended_first = 0x8000'0000, extended_leaves = 0x10;
    static constexpr std::uint32_t own_first = 0x4000'0000, kvm_first = 0x4000'0100;
    static constexpr unsigned cache_subleaves = 5, xsave_components = 10;

    // Above the highest leaf of a range stands the highest basic one (SDM volume 2, CPUID).
    const Slot& find(std::uint32_t leaf) const {
        if (leaf < basic_leaves) [[likely]]
            return basic_[leaf];
        if (leaf - extended_first < extended_leaves) return extended_[leaf - extended_first];
        if (leaf == own_first) return own_;
        if (kvm_ && leaf - kvm_first < kvm_leaves_.size()) return kvm_leaves_[leaf - kvm_first];
        return basic_[basic_leaves - 1];
    }
    isa::CpuidResult complete(const Slot& slot, std::uint32_t subleaf, const CpuidDynamic& dynamic) const;
    isa::CpuidResult topology(std::uint32_t subleaf, std::uint32_t apic_id) const;
    isa::CpuidResult xsave(std::uint32_t subleaf, std::uint64_t enabled) const;

    std::uint64_t usable_xcr0(const CpuidParameters& parameters, Host host) const;
    void apply_table(const CpuidParameters& parameters, Host host);
    void describe_caches(Host host);
    void describe_clock(std::uint64_t tsc_hz);
    void sign();
    void describe_addresses();
    void set_limits(Host host);

    unsigned vcpus_;
    unsigned apic_id_bits_;  // that number the vCPUs
    bool kvm_;
    std::uint64_t xcr0_;
    std::array<Slot, basic_leaves> basic_{};
    std::array<Slot, extended_leaves> extended_{};
    Slot own_{};
    std::array<Slot, 2> kvm_leaves_{};
    std::array<isa::CpuidResult, cache_subleaves> caches_{};
    isa::CpuidResult features_7_1_{};
    std::uint32_t xsave_instructions_{};  // 0Dh, subleaf 1, EAX
};

}  // namespace bulkhead::guest
