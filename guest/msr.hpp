// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <expected>
#include <optional>

#include "arch/isa/exception.hpp"
#include "arch/isa/msr.hpp"
#include "guest/msr_table.hpp"

namespace bulkhead::guest {

struct MsrParameters {
    std::uint64_t tsc_hz{};
    unsigned physical_address_bits{36};
    std::uint64_t arch_capabilities_value{};  // of the host, for the bits that hold in a guest too
    // What the CPUID policy shows.
    bool spec_ctrl{}, arch_capabilities{}, xsaves{}, rdtscp{};
};

// IA32_EFER after a guest wrote `value` over `before`; nothing if that raises #GP (SDM volume 3, 4.1 and table 2-1 of
// volume 4): a reserved bit, or a change of LME while paging is on. LMA cannot be written.
std::optional<std::uint64_t> legal_efer(std::uint64_t before, std::uint64_t value, bool paging);

// The MSRs of one vCPU that are nothing but a value, and the policy for all of them.
class Msrs {
  public:
    explicit Msrs(const MsrParameters& parameters);

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

    bool shown(const MsrRow& row) const;
    std::uint64_t constant_value(const MsrRow& row) const;
    bool passes(const MsrRow& row, isa::Msr msr, std::uint64_t value) const;

    MsrParameters parameters_;
    std::array<std::uint64_t, stored_values> values_{};
};

}  // namespace bulkhead::guest
