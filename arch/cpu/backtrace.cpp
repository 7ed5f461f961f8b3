// SPDX-License-Identifier: Apache-2.0
#include "arch/cpu/backtrace.hpp"

#include "arch/cpu/image.hpp"
#include "arch/cpu/layout.hpp"

// build/kernel/symbols.S, made by scripts/symbols; empty in the first link.
extern "C" {
extern const bulkhead::cpu::SymbolEntry symbol_entries[], symbol_entries_end[];
extern const char symbol_strings[];
}

namespace bulkhead::cpu {
namespace {

constexpr unsigned deepest = 32;

bool is_code(std::uint64_t address) {
    const image::Part text = image::text();
    return HostVirt{address} >= text.start && HostVirt{address} < text.end;
}

// Names the function that holds `lookup`, and `address` by its distance from that function's start.
void print_function(TextSink& out, std::uint64_t address, std::uint64_t lookup, std::string_view remark = "") {
    if (!is_code(lookup)) {
        print(out, "  {:016x}  not in the hypervisor's code\n", address);
        return;
    }
    const auto symbol = find_symbol({symbol_entries, symbol_entries_end}, symbol_strings,
                                    HostVirt{lookup} - layout::image_base);
    if (symbol)
        print(out, "  {:016x}  {} + {}{}\n", address, symbol->name, symbol->offset + (address - lookup), remark);
    else
        print(out, "  {:016x}{}\n", address, remark);
}

bool is_stack_word(std::uint64_t address) {
    return address % 8 == 0 && layout::classify(HostVirt{address}) == layout::StackAddress::stack;
}
bool holds_frame(std::uint64_t rbp) { return is_stack_word(rbp) && is_stack_word(rbp + 8); }

// A leaf function has no frame, and one that has just been called has none yet: `rbp` is still its caller's, and the
// way back is on top of the stack. That it is one is a guess, and shown as such.
void print_likely_caller(TextSink& out, std::uint64_t rsp, std::uint64_t rbp) {
    if (!is_stack_word(rsp)) return;
    const std::uint64_t word = *reinterpret_cast<const std::uint64_t*>(rsp);
    const bool in_chain = holds_frame(rbp) && reinterpret_cast<const std::uint64_t*>(rbp)[1] == word;
    if (!is_code(word - 1) || in_chain) return;
    print_function(out, word, word - 1, " (perhaps)");
}

}  // namespace

void print_backtrace(TextSink& out, CodePosition from) {
    print(out, "backtrace:\n");
    print_function(out, from.rip, from.rip);
    print_likely_caller(out, from.rsp, from.rbp);
    std::uint64_t rbp = from.rbp;
    for (unsigned depth = 0; depth < deepest && holds_frame(rbp); ++depth) {
        const auto* frame = reinterpret_cast<const std::uint64_t*>(rbp);
        const std::uint64_t caller = frame[1];
        if (caller == 0) return;
        // A call that does not return may be its function's last instruction: the address after it is the next one's.
        print_function(out, caller, caller - 1);
        if (frame[0] <= rbp) return;  // callers are at higher addresses
        rbp = frame[0];
    }
}

}  // namespace bulkhead::cpu
