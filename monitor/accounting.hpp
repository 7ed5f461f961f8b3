// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>

#include "vmx/exit.hpp"

namespace bulkhead::monitor {

// Where a vCPU's time went since its guest was started, in ticks of the TSC, and what it exited for.
struct Accounting {
    std::uint64_t guest{};  // in VMX non-root mode
    std::uint64_t root{};   // in VMX root mode on its behalf
    std::uint64_t idle{};   // halted, or waiting for its serial line
    std::array<std::uint64_t, vmx::exit_reason_count> exits{};
    std::uint64_t apic_msrs{}, deadline_msrs{};  // of the exits for RDMSR and WRMSR

    Accounting& operator+=(const Accounting& other) {
        guest += other.guest;
        root += other.root;
        idle += other.idle;
        apic_msrs += other.apic_msrs;
        deadline_msrs += other.deadline_msrs;
        for (std::size_t i = 0; i < exits.size(); ++i) exits[i] += other.exits[i];
        return *this;
    }
    std::uint64_t all_exits() const {
        std::uint64_t sum = 0;
        for (const std::uint64_t n : exits) sum += n;
        return sum;
    }
};

}  // namespace bulkhead::monitor
