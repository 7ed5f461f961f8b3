// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "guest/memory.hpp"

namespace bulkhead::guest {

struct MpParameters {
    unsigned vcpus{1};              // up to max_vcpus; their APIC IDs are 0 to vcpus - 1
    std::uint32_t cpu_signature{};  // EAX of CPUID 1
    std::uint32_t cpu_features{};   // EDX of CPUID 1
};

// Writes the floating pointer and the configuration table of the MultiProcessor Specification 1.4 for kernels that know
// no ACPI (layout::mp_pointer). It says what the MADT says. False where the guest has no memory there.
[[nodiscard]] bool write_mp_table(Memory& memory, const MpParameters& parameters);

}  // namespace bulkhead::guest
