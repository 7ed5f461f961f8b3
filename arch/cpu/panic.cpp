// SPDX-License-Identifier: Apache-2.0
#include "arch/cpu/panic.hpp"

#include <array>
#include <atomic>

#include "arch/cpu/backtrace.hpp"
#include "arch/cpu/instructions.hpp"
#include "arch/cpu/layout.hpp"
#include "arch/cpu/percpu.hpp"
#include "arch/isa/exception.hpp"
#include "lib/log.hpp"

namespace bulkhead::cpu {

BULKHEAD_PER_CPU constinit unsigned index = 0;

namespace {

constinit RawSink raw_sink = nullptr;
constinit ContextPrinter context_printer = nullptr;
constinit StopOthers stop_others = nullptr;

constexpr unsigned nobody = ~0u;
constinit std::atomic<unsigned> dying{nobody};  // the CPU whose report it is
constinit std::atomic<bool> stopping{false};

class RawOutput final : public TextSink {
  public:
    void write(std::string_view text) override {
        if (raw_sink == nullptr) return;
        for (char c : text) {
            if (c == '\n') raw_sink('\r');
            raw_sink(c);
        }
    }
};

[[noreturn]] void halt_for_ever() {
    for (;;) {
        cli();
        hlt();
    }
}

// One report at a time, and the first tells most: a CPU that comes later waits for its NMI, and one that fails in its
// own report says so and stops.
void claim_report(RawOutput& out) {
    unsigned expected = nobody;
    if (dying.compare_exchange_strong(expected, index)) return;
    if (expected != index) halt_for_ever();
    print(out, "\nA fault in the report itself; stopped.\n");
    stop_machine();
}

std::string_view name_of(std::uint64_t vector) {
    static constexpr std::array<std::string_view, 22> names = {
        "#DE, divide error",      "#DB, debug exception",    "NMI",
        "#BP, breakpoint",        "#OF, overflow",           "#BR, bound range exceeded",
        "#UD, invalid opcode",    "#NM, no device",          "#DF, double fault",
        "coprocessor overrun",    "#TS, invalid TSS",        "#NP, segment not present",
        "#SS, stack fault",       "#GP, general protection", "#PF, page fault",
        "reserved vector 15",     "#MF, x87 error",          "#AC, alignment check",
        "#MC, machine check",     "#XM, SIMD error",         "#VE, virtualization exception",
        "#CP, control protection"};
    return vector < names.size() ? names[vector] : std::string_view{"unknown exception"};
}

void print_page_fault(TextSink& out, const TrapFrame& frame, std::uint64_t address) {
    namespace pf = isa::page_fault;
    const std::uint64_t code = frame.error_code;
    const std::string_view access = (code & pf::instruction) != 0 ? "execution"
                                    : (code & pf::write) != 0     ? "write"
                                                                  : "read";
    print(out, "{} of {:016x}, which is {}\n", access, address,
          (code & pf::present) != 0 ? "mapped, but not for that" : "not mapped");
}

void print_registers(TextSink& out, const TrapFrame& f) {
    print(out, "rip {:016x}  cs {:04x}  rflags {:08x}  error code {:x}\n", f.rip, f.cs, f.rflags, f.error_code);
    print(out, "rax {:016x}  rbx {:016x}  rcx {:016x}  rdx {:016x}\n", f.rax, f.rbx, f.rcx, f.rdx);
    print(out, "rsi {:016x}  rdi {:016x}  rbp {:016x}  rsp {:016x}\n", f.rsi, f.rdi, f.rbp, f.rsp);
    print(out, "r8  {:016x}  r9  {:016x}  r10 {:016x}  r11 {:016x}\n", f.r8, f.r9, f.r10, f.r11);
    print(out, "r12 {:016x}  r13 {:016x}  r14 {:016x}  r15 {:016x}\n", f.r12, f.r13, f.r14, f.r15);
    print(out, "cr0 {:08x}  cr2 {:016x}  cr3 {:x}  cr4 {:x}\n", read_cr0(), read_cr2(), read_cr3(), read_cr4());
}

[[noreturn]] void finish(RawOutput& out) {
    if (context_printer != nullptr) context_printer(out);
    print(out, "The machine is stopped.\n");
    if (raw_sink != nullptr) raw_sink('\0');
    stop_machine();
}

}  // namespace

void set_raw_sink(RawSink sink) { raw_sink = sink; }
void set_context_printer(ContextPrinter printer) { context_printer = printer; }
void set_stop_others(StopOthers stop) { stop_others = stop; }

void die(const TrapFrame& frame) {
    RawOutput out;
    const std::uint64_t address = read_cr2();
    claim_report(out);
    print(out, "\nBULKHEAD FAULT on CPU {}: {}\n", index, name_of(frame.vector));
    const auto exception = static_cast<isa::Exception>(frame.vector);
    if (exception == isa::Exception::PF) print_page_fault(out, frame, address);
    // A push on the guard page faults, and so does the push of that fault's frame.
    if (exception == isa::Exception::DF && layout::classify(HostVirt{address}) == layout::StackAddress::guard)
        print(out, "the stack has overflowed into its guard page\n");
    print_registers(out, frame);
    print_backtrace(out, {frame.rip, frame.rbp, frame.rsp});
    finish(out);
}

void panic_handler(std::string_view reason) {
    cli();
    RawOutput out;
    claim_report(out);
    print(out, "\nBULKHEAD PANIC on CPU {}: {}\n", index, reason);
    print_backtrace(out, {.rip = reinterpret_cast<std::uint64_t>(__builtin_return_address(0)),
                          .rbp = *static_cast<const std::uint64_t*>(__builtin_frame_address(0))});
    finish(out);
}

void stop_machine() {
    cli();
    if (!stopping.exchange(true) && stop_others != nullptr) stop_others();
    halt_for_ever();
}

void stop_if_ordered() {
    if (stopping.load()) halt_for_ever();
}

}  // namespace bulkhead::cpu
