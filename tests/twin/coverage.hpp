// SPDX-License-Identifier: Apache-2.0
// How often each form ran, by mode, prefix and what ended it.
#pragma once

#include "tests/twin/case.hpp"

inline constexpr const char* place_names[places] = {
    "inside", "unaligned", "across pages", "read only", "into a read-only page", "absent", "into an absent page",
    "out of an absent page", "supervisor", "from memory to the device", "from the device to memory", "past the limit",
    "not canonical",
};

class Coverage {
  public:
    void count(unsigned form, unsigned mode, unsigned prefix, uint64_t vector) {
        Row& row = rows_[form];
        ++row.by_mode[mode];
        ++row.by_prefix[prefix];
        ++row.by_fault[column_of(vector)];
    }

    void print(const Mode* modes, unsigned mode_count) const {
        for (unsigned n = 0; n < mode_count; ++n) {
            put("mode m");
            put_decimal(n);
            put(": ");
            put(modes[n].name);
            put("\n");
        }
        cell("form", 22);
        for (unsigned n = 0; n < mode_count; ++n) {
            put(n < 10 ? "   m" : "  m");
            put_decimal(n);
        }
        put(" |");
        for (const Prefix& p : prefixes) cell(p.name, 7);
        put(" |");
        for (const char* name : faults) cell(name, 5);
        put("\n");
        for (unsigned n = 0; n < form_count; ++n) print_row(forms[n], rows_[n], mode_count);
    }

  private:
    static constexpr unsigned most_modes = 11;
    static constexpr const char* faults[] = {"none", "#DE", "#DB", "#BR", "#UD", "#NM",
                                             "#NP",  "#SS", "#GP", "#PF", "#AC"};
    static constexpr unsigned fault_columns = sizeof faults / sizeof *faults;
    struct Row {
        uint16_t by_mode[most_modes], by_prefix[prefix_count], by_fault[fault_columns];
    };

    static unsigned column_of(uint64_t vector) {
        static constexpr uint8_t vectors[fault_columns] = {3, 0, 1, 5, 6, 7, 11, 12, 13, 14, 17};
        for (unsigned n = 0; n < fault_columns; ++n)
            if (vectors[n] == vector) return n;
        return 0;
    }
    static void cell(const char* text, unsigned width) {
        unsigned length = 0;
        while (text[length]) ++length;
        while (length < width) put(" "), ++length;
        put(text);
    }
    static void number(unsigned value, unsigned width) {
        unsigned digits = 1;
        for (unsigned n = value; n >= 10; n /= 10) ++digits;
        cell("", width - digits);
        put_decimal(value);
    }
    static void print_row(const Form& f, const Row& row, unsigned mode_count) {
        cell(f.name, 11);
        put(" ");
        if (f.mandatory) put_hex(f.mandatory, 2);
        else put("  ");
        for (unsigned n = 0; n < 3; ++n)
            if (n < f.length) put_hex(f.opcode[n], 2);
            else put("  ");
        if (f.extension < 0) put("  ");
        else put("/"), put_decimal(static_cast<uint32_t>(f.extension));
        for (unsigned n = 0; n < mode_count; ++n) number(row.by_mode[n], 5);
        put(" |");
        for (const uint16_t n : row.by_prefix) number(n, 7);
        put(" |");
        for (const uint16_t n : row.by_fault) number(n, 5);
        put("\n");
    }

    Row rows_[most_forms]{};
};
inline Coverage coverage;
