// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>

#include "arch/isa/exception.hpp"

// How exceptions follow from each other (SDM volume 3, 6.15 and table 6-5).
namespace bulkhead::guest {

enum class ExceptionClass : std::uint8_t { benign, contributory, page_fault, double_fault };

constexpr ExceptionClass classify(isa::Exception exception) {
    using enum isa::Exception;
    switch (exception) {
        case DE:
        case TS:
        case NP:
        case SS:
        case GP:
        case CP: return ExceptionClass::contributory;
        case PF:
        case VE: return ExceptionClass::page_fault;
        case DF: return ExceptionClass::double_fault;
        default: return ExceptionClass::benign;
    }
}

enum class Combination : std::uint8_t { serial, double_fault, shutdown };

// What an exception makes when it is raised while `first` was being delivered; an interrupt, an NMI or a software
// interrupt that was being delivered is nothing.
constexpr Combination combine(std::optional<isa::Exception> first, isa::Exception second) {
    using enum ExceptionClass;
    const ExceptionClass before = first ? classify(*first) : benign, now = classify(second);
    if (before == double_fault && now != benign) return Combination::shutdown;
    if (before == contributory && now == contributory) return Combination::double_fault;
    if (before == page_fault && (now == contributory || now == page_fault)) return Combination::double_fault;
    return Combination::serial;
}

// Faults are pushed with RFLAGS.RF = 1, so that the instruction does not meet its breakpoint again when it is executed
// anew (17.3.1.1). Aborts and traps are not, and a #DB has its own rules.
constexpr bool pushes_resume_flag(isa::Exception exception) {
    using enum isa::Exception;
    switch (exception) {
        case DB:
        case NMI:
        case BP:
        case OF:
        case DF:
        case MC: return false;
        default: return true;
    }
}

}  // namespace bulkhead::guest
