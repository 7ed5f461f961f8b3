// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace bulkhead::vmx {

// What a control word may hold: a bit may be 0 if it is 0 in `allowed0`, and 1 if it is 1 in `allowed1`
// (SDM appendix A.2).
struct AllowedSettings {
    std::uint32_t allowed0{}, allowed1{};

    constexpr AllowedSettings() = default;
    constexpr explicit AllowedSettings(std::uint64_t msr)
        : allowed0(static_cast<std::uint32_t>(msr)), allowed1(static_cast<std::uint32_t>(msr >> 32)) {}
    constexpr bool may_set(std::uint32_t bits) const { return (allowed1 & bits) == bits; }
    constexpr bool may_clear(std::uint32_t bits) const { return (allowed0 & bits) == 0; }
};

// The VMX capability MSRs of one processor as it reports them (SDM appendix A). A register that the processor does
// not have is zero.
struct Capabilities {
    std::uint64_t basic{};
    std::uint64_t pinbased{}, procbased{}, procbased2{}, exit{}, entry{};
    std::uint64_t true_pinbased{}, true_procbased{}, true_exit{}, true_entry{};
    std::uint64_t misc{};
    std::uint64_t cr0_fixed0{}, cr0_fixed1{}, cr4_fixed0{}, cr4_fixed1{};
    std::uint64_t ept_vpid{};

    friend constexpr bool operator==(const Capabilities&, const Capabilities&) = default;

    // A.1 basic VMX information
    constexpr std::uint32_t revision() const { return static_cast<std::uint32_t>(basic) & 0x7fff'ffff; }
    constexpr std::uint32_t region_size() const { return static_cast<std::uint32_t>(basic >> 32) & 0x1fff; }
    constexpr bool regions_below_4gib() const { return bit(basic, 48); }
    constexpr bool regions_write_back() const { return (basic >> 50 & 0xf) == 6; }
    constexpr bool string_io_information() const { return bit(basic, 54); }
    constexpr bool true_controls() const { return bit(basic, 55); }

    // A.2 to A.5: of the TRUE registers where there are any, since they alone let the default-1 controls be cleared
    constexpr AllowedSettings pin() const { return AllowedSettings{true_controls() ? true_pinbased : pinbased}; }
    constexpr AllowedSettings proc() const { return AllowedSettings{true_controls() ? true_procbased : procbased}; }
    constexpr AllowedSettings proc2() const { return AllowedSettings{procbased2}; }
    constexpr AllowedSettings exit_controls() const { return AllowedSettings{true_controls() ? true_exit : exit}; }
    constexpr AllowedSettings entry_controls() const { return AllowedSettings{true_controls() ? true_entry : entry}; }
    constexpr bool monitor_trap_flag() const { return proc().may_set(1u << 27); }

    // A.6 miscellaneous data
    // The preemption timer counts down each time bit `shift` of the TSC changes.
    constexpr unsigned preemption_timer_shift() const { return static_cast<unsigned>(misc & 0x1f); }
    constexpr bool exit_stores_lma() const { return bit(misc, 5); }
    constexpr bool activity_hlt() const { return bit(misc, 6); }
    constexpr bool activity_shutdown() const { return bit(misc, 7); }
    constexpr bool activity_wait_for_sipi() const { return bit(misc, 8); }
    constexpr bool writes_exit_information() const { return bit(misc, 29); }
    constexpr bool injects_with_length_zero() const { return bit(misc, 30); }

    // A.10 VPID and EPT capabilities
    constexpr bool ept_execute_only() const { return bit(ept_vpid, 0); }
    constexpr bool ept_four_levels() const { return bit(ept_vpid, 6); }
    constexpr bool ept_uncacheable() const { return bit(ept_vpid, 8); }
    constexpr bool ept_write_back() const { return bit(ept_vpid, 14); }
    constexpr bool ept_2mib_pages() const { return bit(ept_vpid, 16); }
    constexpr bool ept_1gib_pages() const { return bit(ept_vpid, 17); }
    constexpr bool invept_single_context() const { return bit(ept_vpid, 20) && bit(ept_vpid, 25); }
    constexpr bool invept_all_contexts() const { return bit(ept_vpid, 20) && bit(ept_vpid, 26); }
    constexpr bool ept_accessed_dirty() const { return bit(ept_vpid, 21); }
    constexpr bool ept_violation_information() const { return bit(ept_vpid, 22); }
    constexpr bool invvpid_individual_address() const { return bit(ept_vpid, 32) && bit(ept_vpid, 40); }
    constexpr bool invvpid_single_context() const { return bit(ept_vpid, 32) && bit(ept_vpid, 41); }
    constexpr bool invvpid_all_contexts() const { return bit(ept_vpid, 32) && bit(ept_vpid, 42); }

  private:
    static constexpr bool bit(std::uint64_t word, unsigned n) { return (word >> n & 1) != 0; }
};

// Of this CPU, which has VMX.
[[nodiscard]] Capabilities read_capabilities();

}  // namespace bulkhead::vmx
