// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <expected>
#include <optional>

#include "arch/isa/exception.hpp"
#include "arch/isa/msr.hpp"
#include "guest/cpuid.hpp"
#include "guest/msr_table.hpp"

namespace bulkhead::guest {

struct MsrParameters {
    std::uint64_t tsc_hz{};
    unsigned physical_address_bits{36};
    std::uint64_t arch_capabilities_value{};  // of the host, for the bits that hold in a guest too
    std::uint64_t offered_efer{};             // see control_registers.hpp
    std::uint32_t shown{1};                   // bit n: the feature `static_cast<MsrShown>(n)` is

    constexpr bool shows(MsrShown feature) const { return (shown >> static_cast<unsigned>(feature) & 1) != 0; }
};

// What follows from what CPUID shows; the rest is left to the caller.
MsrParameters msr_parameters(const Cpuid& cpuid);

// The MSRs of one vCPU that are nothing but a value, and the policy for all of them.
class Msrs {
  public:
    explicit Msrs(const MsrParameters& parameters);

    std::uint64_t offered_efer() const { return parameters_.offered_efer; }

    // The row of an MSR that this guest has.
    const MsrRow* row(isa::Msr msr) const;

    // Whether WRMSR of this value is legal, wherever the MSR lives. Homes check what depends on their state themselves.
    [[nodiscard]] bool legal(isa::Msr msr, std::uint64_t value) const;

    // RDMSR and WRMSR of an MSR whose home is `stored` or `constant`; all others raise #GP here.
    std::expected<std::uint64_t, isa::Fault> read(isa::Msr msr) const;
    std::expected<void, isa::Fault> write(isa::Msr msr, std::uint64_t value);

  private:
    static constexpr std::size_t stored_values = [] {
        std::size_t count = 0;
        for (const MsrRow& r : msr_table::rows)
            if (r.home == MsrHome::stored) count += r.count;
        return count;
    }();

    std::uint64_t constant_value(const MsrRow& row) const;
    bool passes(const MsrRow& row, isa::Msr msr, std::uint64_t value) const;

    MsrParameters parameters_;
    std::array<std::uint64_t, stored_values> values_{};
    mutable std::array<const MsrRow*, 16> recent_{};  // found by the low bits of the MSR: a guest uses the same few
};

}  // namespace bulkhead::guest
