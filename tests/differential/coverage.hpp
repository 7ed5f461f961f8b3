// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdio>
#include <map>
#include <optional>
#include <string>

#include "tests/differential/case.hpp"

namespace bulkhead::differential {

// How often each operation ran, by mode, prefix and fault.
class Coverage {
  public:
    void count(const Case& c, Mode mode, const std::optional<NativeFault>& fault) {
        Row& row = rows_[c.illegal ? illegal : static_cast<unsigned>(c.insn.operation)];
        ++row.by_mode[static_cast<std::size_t>(mode)];
        ++row.by_fault[fault ? column_of(fault->vector) : 0];
        for (const std::byte b : c.bytes) {
            const unsigned column = prefix_column(std::to_integer<unsigned>(b), mode);
            if (column == prefix_columns) break;
            ++row.by_prefix[column];
        }
    }

    void print() const {
        std::printf("%-12s | %9s %9s %9s %9s | %8s %8s %8s %8s %8s %8s | %9s %8s %8s %8s %8s %8s %8s %8s\n",
                    "operation", "64", "flat 32", "32", "16", "66", "67", "segment", "F2/F3", "LOCK", "REX", "no fault",
                    "#DE", "#BR", "#UD", "#SS", "#GP", "#PF", "#AC");
        for (const auto& [operation, row] : rows_) {
            std::printf("%-12s |", name(operation));
            for (const auto n : row.by_mode) std::printf(" %9zu", n);
            std::printf(" |");
            for (const auto n : row.by_prefix) std::printf(" %8zu", n);
            std::printf(" |");
            for (std::size_t i = 0; i < fault_columns; ++i) std::printf(i == 0 ? " %9zu" : " %8zu", row.by_fault[i]);
            std::printf("\n");
        }
    }

  private:
    static constexpr unsigned illegal = 1000, prefix_columns = 6, fault_columns = 8;
    struct Row {
        std::array<std::size_t, modes> by_mode{};
        std::array<std::size_t, prefix_columns> by_prefix{};
        std::array<std::size_t, fault_columns> by_fault{};
    };

    static unsigned prefix_column(unsigned byte, Mode mode) {
        switch (byte) {
            case 0x66: return 0;
            case 0x67: return 1;
            case 0x26: case 0x2e: case 0x36: case 0x3e: return 2;
            case 0xf2: case 0xf3: return 3;
            case 0xf0: return 4;
            default: return mode == Mode::long64 && (byte & 0xf0) == 0x40 ? 5 : prefix_columns;
        }
    }
    static unsigned column_of(unsigned vector) {
        switch (vector) {
            case 0: return 1;
            case 5: return 2;
            case 6: return 3;
            case 12: return 4;
            case 13: return 5;
            case 14: return 6;
            default: return 7;
        }
    }
    static const char* name(unsigned operation) {
        static constexpr const char* names[] = {
            "-",        "ADD",    "OR",    "ADC",      "SBB",      "AND",       "SUB",          "XOR",
            "CMP",      "ROL",    "ROR",   "RCL",      "RCR",      "SHL",       "SHR",          "SAL",
            "SAR",      "BT",     "BTS",   "BTR",      "BTC",      "TEST",      "NOT",          "NEG",
            "INC",      "DEC",    "MUL",   "IMUL",     "DIV",      "IDIV",      "IMUL r",       "BSF",
            "BSR",      "POPCNT", "SHLD",  "SHRD",     "MOV",      "MOVBE",     "MOVZX",        "MOVSX",
            "CMOVcc",   "SETcc",  "XLAT",  "BOUND",    "XCHG",     "CMPXCHG",   "CMPXCHG8/16B", "XADD",
            "PUSH",     "POP",    "PUSHA", "POPA",     "PUSHF",    "POPF",      "ENTER",        "LEAVE",
            "CALL",     "JMP",    "RET",   "CALL far", "JMP far",  "LDS",       "SLDT",         "STR",
            "LLDT",     "LTR",    "SMSW",  "LMSW",     "CLFLUSH",  "MOVS",      "CMPS",         "STOS",
            "LODS",     "SCAS",   "INS",   "OUTS",     "SSE load", "SSE merge", "SSE store",    "MMX load",
            "MMX store"};
        static_assert(std::size(names) == static_cast<std::size_t>(Operation::MMX_STORE) + 1);
        return operation == illegal ? "illegal" : names[operation];
    }

    std::map<unsigned, Row> rows_;
};

}  // namespace bulkhead::differential
