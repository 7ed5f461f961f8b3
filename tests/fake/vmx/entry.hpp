// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>

#include "arch/isa/registers.hpp"

// Stands for vmx/entry.hpp in unit tests: the guest is a function that plays it from one entry to the next exit.
namespace bulkhead::vmx {

enum class EntryOutcome : std::uint8_t { exited = 0, fail_valid = 1, fail_invalid = 2 };

}  // namespace bulkhead::vmx

namespace bulkhead::test {

// It writes the exit to the VMCS that is current (FakeProcessor::set), as a processor does.
using Guest = std::function<vmx::EntryOutcome(isa::Registers& registers, bool launched)>;
inline Guest& guest() {
    static Guest played;
    return played;
}

}  // namespace bulkhead::test

namespace bulkhead::vmx {

[[nodiscard]] inline EntryOutcome enter(isa::Registers& registers, bool launched) {
    return test::guest()(registers, launched);
}

}  // namespace bulkhead::vmx
