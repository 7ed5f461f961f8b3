// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "arch/isa/segment.hpp"

// What the processor tells of an exit, taken apart: the exit qualification by exit reason, and the VM-exit
// instruction information (SDM volume 3, 27.2.1 and 27.2.5).
namespace bulkhead::vmx {

namespace detail {
constexpr std::uint64_t bits(std::uint64_t word, unsigned high, unsigned low) {
    return word >> low & ((1ull << (high - low + 1)) - 1);
}
constexpr bool bit(std::uint64_t word, unsigned n) { return (word >> n & 1) != 0; }
}  // namespace detail

// Table 27-3.
struct CrAccess {
    enum class Kind : std::uint8_t { mov_to_cr, mov_from_cr, clts, lmsw };
    std::uint8_t number;
    Kind kind;
    bool lmsw_from_memory;
    isa::Gpr gpr;
    std::uint16_t lmsw_source;

    static constexpr CrAccess decode(std::uint64_t q) {
        return {.number = static_cast<std::uint8_t>(detail::bits(q, 3, 0)),
                .kind = static_cast<Kind>(detail::bits(q, 5, 4)),
                .lmsw_from_memory = detail::bit(q, 6),
                .gpr = static_cast<isa::Gpr>(detail::bits(q, 11, 8)),
                .lmsw_source = static_cast<std::uint16_t>(detail::bits(q, 31, 16))};
    }
};

// Table 27-4.
struct MovDr {
    std::uint8_t number;
    bool from_dr;
    isa::Gpr gpr;

    static constexpr MovDr decode(std::uint64_t q) {
        return {.number = static_cast<std::uint8_t>(detail::bits(q, 2, 0)),
                .from_dr = detail::bit(q, 4),
                .gpr = static_cast<isa::Gpr>(detail::bits(q, 11, 8))};
    }
};

// Table 27-5.
struct IoAccess {
    std::uint8_t size;  // in bytes: 1, 2 or 4
    bool in;
    bool string;
    bool rep;
    bool immediate_port;
    std::uint16_t port;

    static constexpr IoAccess decode(std::uint64_t q) {
        return {.size = static_cast<std::uint8_t>(detail::bits(q, 2, 0) + 1),
                .in = detail::bit(q, 3),
                .string = detail::bit(q, 4),
                .rep = detail::bit(q, 5),
                .immediate_port = detail::bit(q, 6),
                .port = static_cast<std::uint16_t>(detail::bits(q, 31, 16))};
    }
};

// Table 27-2.
struct TaskSwitch {
    enum class Source : std::uint8_t { call, iret, jmp, task_gate };
    std::uint16_t selector;
    Source source;

    static constexpr TaskSwitch decode(std::uint64_t q) {
        return {.selector = static_cast<std::uint16_t>(detail::bits(q, 15, 0)),
                .source = static_cast<Source>(detail::bits(q, 31, 30))};
    }
};

// Table 27-6.
struct ApicAccess {
    enum class Kind : std::uint8_t {
        linear_read = 0,
        linear_write = 1,
        linear_fetch = 2,
        linear_event_delivery = 3,
        physical_event_delivery = 10,
        physical = 15,
    };
    std::uint16_t offset;  // not defined for the physical kinds
    Kind kind;

    static constexpr ApicAccess decode(std::uint64_t q) {
        return {.offset = static_cast<std::uint16_t>(detail::bits(q, 11, 0)),
                .kind = static_cast<Kind>(detail::bits(q, 15, 12))};
    }
};

// Table 27-7.
struct EptViolation {
    bool read, write, fetch;                // what was tried; a read-modify-write sets both of the first two
    bool readable, writable, executable;    // what all entries on the way allow
    bool linear_address_valid;
    bool final_access;                      // of the translated address; else of a paging-structure entry
    bool nmi_unblocked_by_iret;

    static constexpr EptViolation decode(std::uint64_t q) {
        return {.read = detail::bit(q, 0),
                .write = detail::bit(q, 1),
                .fetch = detail::bit(q, 2),
                .readable = detail::bit(q, 3),
                .writable = detail::bit(q, 4),
                .executable = detail::bit(q, 5),
                .linear_address_valid = detail::bit(q, 7),
                .final_access = detail::bit(q, 8),
                .nmi_unblocked_by_iret = detail::bit(q, 12)};
    }
    constexpr bool is_mapped() const { return readable || writable || executable; }
};

// VM-exit instruction information of INS and OUTS (table 27-8).
struct StringIoInformation {
    std::uint8_t address_size;  // in bytes: 2, 4 or 8
    isa::Segment segment;       // of OUTS; INS is always ES

    static constexpr StringIoInformation decode(std::uint32_t information) {
        return {.address_size = static_cast<std::uint8_t>(2u << detail::bits(information, 9, 7)),
                .segment = static_cast<isa::Segment>(detail::bits(information, 17, 15))};
    }
};

// VM-exit instruction information of the instructions with a memory operand: GDTR and LDTR accesses, INVEPT, INVPCID,
// INVVPID, VMPTRLD and their kind (tables 27-9 to 27-14, which agree in these bits).
struct MemoryOperandInformation {
    std::uint8_t scale;         // the index register is shifted left by this
    std::uint8_t address_size;  // in bytes: 2, 4 or 8
    bool is_register;           // the operand is `reg1`, not memory
    isa::Gpr reg1;
    isa::Segment segment;
    bool index_valid, base_valid;
    isa::Gpr index, base, reg2;

    static constexpr MemoryOperandInformation decode(std::uint32_t information) {
        return {.scale = static_cast<std::uint8_t>(detail::bits(information, 1, 0)),
                .address_size = static_cast<std::uint8_t>(2u << detail::bits(information, 9, 7)),
                .is_register = detail::bit(information, 10),
                .reg1 = static_cast<isa::Gpr>(detail::bits(information, 6, 3)),
                .segment = static_cast<isa::Segment>(detail::bits(information, 17, 15)),
                .index_valid = !detail::bit(information, 22),
                .base_valid = !detail::bit(information, 27),
                .index = static_cast<isa::Gpr>(detail::bits(information, 21, 18)),
                .base = static_cast<isa::Gpr>(detail::bits(information, 26, 23)),
                .reg2 = static_cast<isa::Gpr>(detail::bits(information, 31, 28))};
    }
};

}  // namespace bulkhead::vmx
