// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <expected>

#include "arch/isa/exception.hpp"

namespace bulkhead::guest::emulator {

enum class Outcome : std::uint8_t {
    done,         // retired: RIP is at the next instruction
    fault,        // nothing but completed iterations of a string instruction happened; `fault` is to be raised
    unsupported,  // not emulated: nothing happened
    restart,      // a part of a repeated string instruction was done: enter the guest, which executes the rest
};

struct Result {
    Outcome outcome{Outcome::done};
    isa::Fault fault{};
    bool loaded_ss{};    // done: blocking by MOV SS begins, and #DB waits for the next instruction
    bool single_step{};  // done, restart: RFLAGS.TF was set when the instruction started, so #DB with DR6.BS is due
    std::uint64_t breakpoints{};  // done, restart: that its operands met, as pending debug exceptions
};

// Why an instruction stopped short.
struct Stop {
    Outcome outcome{Outcome::unsupported};
    isa::Fault fault{};
};

template <class T>
using Expected = std::expected<T, Stop>;

inline std::unexpected<Stop> stop(const isa::Fault& fault) { return std::unexpected(Stop{Outcome::fault, fault}); }
inline std::unexpected<Stop> unsupported() { return std::unexpected(Stop{}); }

}  // namespace bulkhead::guest::emulator
