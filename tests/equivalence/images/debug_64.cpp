// SPDX-License-Identifier: Apache-2.0
// Debug exceptions (SDM Vol. 3B, 18.2 and 18.3) around instructions that are VM exits in a guest: single steps in rings
// 0 and 3, breakpoints on instructions, data and ports, what becomes of DR6 and DR7.
#include "interrupts.hpp"
#include "rings.hpp"

extern "C" {
extern uint64_t page_directories[];
extern uint8_t kernel_stack_end[];
extern uint8_t arrive[];
}
// Where SYSCALL and SYSENTER arrive.
asm(R"(
        .text
        .globl arrive
arrive: nop
        int $0x80
        ud2
)");

namespace {

constexpr word tf = 1 << 8, rf = 1 << 16, cr4_de = 1 << 3;
// DR7: global enable of breakpoint 0 (an instruction), and of 1 on data and ports, 4 bytes.
constexpr word off = 0x400, on_instruction = 0x402, on_write = 0xd00408, on_access = 0xf00408, on_port = 0xe00408,
               general_detect = 1 << 13;
constexpr word quiet = 0xffff0ff0, stepped = 0xffff4ff0, hit0 = 0xffff0ff1, hit1 = 0xffff0ff2, detected = 0xffff2ff0;
constexpr word nothing = 0x60000000;  // neither memory nor a device
constexpr word version = lapic_base + lapic_version, icr_high = lapic_base + lapic_icr_high;
constexpr word unknown_msr = 0x4b564d00;
alignas(16) volatile uint32_t watched[4];
alignas(16) uint8_t buffer[64];

struct Trap {
    unsigned count;
    word ip[16], flags[16], dr6[16];
} trap;
void on_debug(Frame& f) {
    if (trap.count < 16) {
        trap.ip[trap.count] = f.ip;
        trap.flags[trap.count] = f.flags;
        trap.dr6[trap.count] = read_dr6();
    }
    ++trap.count;
    write_dr6(quiet);
    f.flags |= rf;
    if (trap.count >= 16) f.flags &= ~tf;
}
void expect_traps() {
    trap = {};
    write_dr6(quiet);
    handlers[DB] = on_debug;
}
// How many there were, how far from where it should be the nth came, and its DR6.
void check_traps(const char* name, unsigned count, word at, word dr6, unsigned n = 0) {
    const word distance = (trap.ip[n] - at) & 0xffff;
    check(name, word{trap.count} << 56 | distance << 32 | (trap.dr6[n] & 0xffffffff), word{count} << 56 | dr6);
}
void show_traps(const char* name, word origin) {
    show(name, trap.count);
    for (unsigned i = 0; i < trap.count && i < 16; ++i) {
        put("  from ");
        put_hex((trap.ip[i] - origin) & 0xffff);
        show(", DR6", trap.dr6[i]);
    }
}

}  // namespace

// Runs what comes before and what is between begin and end, with a DR7 (breakpoint 0 is at begin) and with more flags.
#define RUN(dr7, flag, before, text, ...)                                                                          \
    word a = 0, c = 0, d = 0, si = reinterpret_cast<word>(buffer), di = si, begin, end;                            \
    __VA_ARGS__;                                                                                                   \
    expect_traps();                                                                                                \
    asm volatile("lea 1f(%%rip), %%rbx; mov %%rbx, %%dr0; mov %7, %%dr7; pushf; orl $" flag ", (%%rsp); popf\n"    \
                 before "\n 1: " text "\n 2: nop; pushf; andl $~0x100, (%%rsp); popf\n"                            \
                 "lea 1b(%%rip), %0; lea 2b(%%rip), %1"                                                            \
                 : "=&r"(begin), "=&r"(end), "+a"(a), "+c"(c), "+d"(d), "+S"(si), "+D"(di) : "r"(word{dr7})        \
                 : "rbx", "cc", "memory");                                                                         \
    write_dr7(off)
// Steps over one instruction: four more traps follow, of NOP and of what ends the stepping.
#define STEP_OVER(name, text, ...)                   \
    do {                                             \
        RUN(off, "0x100", "", text, ##__VA_ARGS__);  \
        check_traps(name, 5, end, stepped);          \
    } while (false)
// A breakpoint on an instruction: a fault, once.
#define BREAK_AT(name, before, text, ...)                       \
    do {                                                        \
        RUN(on_instruction, "0", before, text, ##__VA_ARGS__);  \
        check_traps(name, 1, begin, hit0);                      \
    } while (false)
// A breakpoint on data or ports: a trap, once.
#define WATCH(name, dr7, address, text, ...)        \
    do {                                            \
        write_dr1(word{address});                   \
        RUN(dr7, "0", "", text, ##__VA_ARGS__);     \
        check_traps(name, 1, end, hit1);            \
    } while (false)

TEST(steps) {
    start_lapic();
    STEP_OVER("NOP", "nop");
    STEP_OVER("CPUID", "cpuid");
    STEP_OVER("RDTSC", "rdtsc");
    if (cpuid(0x80000001).d >> 27 & 1) STEP_OVER("RDTSCP", "rdtscp");
    STEP_OVER("RDMSR", "rdmsr", c = 0x277);
    STEP_OVER("RDMSR of the TSC", "rdmsr", c = 0x10);
    STEP_OVER("RDMSR of IA32_APIC_BASE", "rdmsr", c = 0x1b);
    STEP_OVER("WRMSR", "wrmsr", c = 0x277, a = 0x70406, d = 0x70406);
    STEP_OVER("IN", "inb %%dx, %%al", d = 0x80);
    STEP_OVER("IN of a device", "inb %%dx, %%al", d = 0x3fd);
    STEP_OVER("OUT", "outb %%al, %%dx", d = 0x80);
    STEP_OVER("INSB", "insb", d = 0x3fd);
    STEP_OVER("OUTSB", "outsb", d = 0x80);
    STEP_OVER("MOV from CR0", "mov %%cr0, %%rax");
    STEP_OVER("MOV to CR0", "mov %%rax, %%cr0", a = read_cr0());
    STEP_OVER("MOV to CR0 that sets TS", "mov %%rax, %%cr0", a = read_cr0() | 8);
    STEP_OVER("CLTS", "clts");
    STEP_OVER("LMSW", "lmsw %%ax", a = read_cr0());
    STEP_OVER("SMSW", "smsw %%ax");
    STEP_OVER("MOV to CR3", "mov %%rax, %%cr3", a = read_cr3());
    STEP_OVER("MOV to CR4", "mov %%rax, %%cr4", a = read_cr4());
    STEP_OVER("MOV to CR4 that sets TSD", "mov %%rax, %%cr4", a = read_cr4() | 4);
    write_cr4(read_cr4() & ~word{4});
    STEP_OVER("MOV to CR8", "mov %%rax, %%cr8", a = 3);
    STEP_OVER("MOV from CR8", "mov %%cr8, %%rax");
    write_cr8(0);
    STEP_OVER("MOV from DR7", "mov %%dr7, %%rax");
    STEP_OVER("MOV to DR7", "mov %%rax, %%dr7", a = off);
    STEP_OVER("WBINVD", "wbinvd");
    STEP_OVER("INVLPG", "invlpg (%%rsi)");
    STEP_OVER("CLFLUSH", "clflush (%%rsi)");
    STEP_OVER("PAUSE", "pause");
    STEP_OVER("SGDT", "sgdt (%%rsi)");
    STEP_OVER("STR", "str %%ax");
    STEP_OVER("CLI", "cli");
    STEP_OVER("STI", "sti");
    disable_interrupts();
}

TEST(steps_in_device_memory) {
    STEP_OVER("a read", "mov (%%rsi), %%eax", si = version);
    STEP_OVER("a write", "mov %%eax, (%%rdi)", di = icr_high);
    STEP_OVER("OR", "orl $0, (%%rdi)", di = icr_high);
    STEP_OVER("XCHG", "xchg %%eax, (%%rdi)", di = icr_high);
    STEP_OVER("CMP", "cmpl $1, (%%rsi)", si = version);
    STEP_OVER("MOVSL from it", "movsl", si = version);
    STEP_OVER("MOVSL to it", "movsl", di = icr_high);
    STEP_OVER("STOSL", "stosl", di = icr_high);
    STEP_OVER("LODSL", "lodsl", si = version);
    STEP_OVER("REP STOSL of none", "rep stosl", di = icr_high);
    STEP_OVER("REP STOSL of one", "rep stosl", di = icr_high, c = 1);
    STEP_OVER("the task priority", "mov %%eax, (%%rdi)", di = lapic_base + lapic_tpr);
    STEP_OVER("EOI", "mov %%eax, (%%rdi)", di = lapic_base + lapic_eoi);
    RUN(off, "0x100", "", "rep stosl", di = nothing, c = 3);
    check_traps("REP STOSL of three: after the first it is not over", 7, begin, stepped);
    check_traps("  after the last it is", 7, end, stepped, 2);
}

TEST(steps_and_events) {
    static word flags;
    handlers[0x90] = [](Frame& f) { flags = f.flags; };
    handlers[UD] = handlers[GP] = [](Frame& f) { f.ip += 2; };
    {
        RUN(off, "0x100", "", "int $0x90");
        check_traps("INT: the first trap is behind the instruction that IRET leads to", 4, end + 1, stepped);
        check("  the flags that it saved", flags & tf, tf);
    }
    {
        RUN(off, "0x100", "", "ud2");
        check_traps("a fault, likewise", 4, end + 1, stepped);
    }
    {
        RUN(off, "0x100", "", "wrmsr", c = unknown_msr);
        check_traps("a fault by WRMSR", 4, end + 1, stepped);
    }
    {
        RUN(off, "0x100", "mov %%ss, %%eax", "mov %%eax, %%ss; cpuid");
        check_traps("MOV SS: the trap is behind the next instruction, a CPUID", 6, end, stepped, 1);
    }
    {
        RUN(off, "0x100", "mov %%ss, %%eax", "mov %%eax, %%ss; mov (%%rsi), %%edx", si = version);
        check_traps("  or a read of a device", 6, end, stepped, 1);
    }
    {
        RUN(off, "0x100", "mov %%ss, %%eax", "mov %%eax, %%ss; mov %%cr0, %%rdx");
        check_traps("  or MOV from CR0", 6, end, stepped, 1);
    }
    {
        RUN(off, "0x100", "", "sti; cpuid; cli");
        check_traps("STI does not hold the trap off", 7, begin + 1, stepped);
        check_traps("  nor that of CPUID behind it", 7, begin + 3, stepped, 1);
    }
    {
        RUN(off, "0", "", ".byte 0xf1");
        check_traps("INT1", 1, end, quiet);
    }
    {
        RUN(off, "0x100", "", ".byte 0xf1");
        show_traps("INT1 stepped over", begin);
    }
    {
        RUN(off, "0x100", "mov %%ss, %%eax", "mov %%eax, %%ss; .byte 0xf1");
        show_traps("MOV SS and INT1 stepped over", begin);
    }
    handlers[0x90] = handlers[UD] = handlers[GP] = nullptr;
}

TEST(instruction_breakpoints) {
    BREAK_AT("NOP", "nop", "nop");
    check("  RF in the saved flags", trap.flags[0] & rf, 0);
    BREAK_AT("CPUID", "nop", "cpuid");
    BREAK_AT("behind CPUID", "cpuid", "nop");
    BREAK_AT("IN", "nop", "inb %%dx, %%al", d = 0x80);
    BREAK_AT("behind IN", "inb %%dx, %%al", "nop", d = 0x80);
    BREAK_AT("behind OUTSB", "outsb", "nop", d = 0x80);
    BREAK_AT("a read of a device", "nop", "mov (%%rsi), %%eax", si = version);
    BREAK_AT("behind it", "mov (%%rsi), %%eax", "nop", si = version);
    BREAK_AT("REP STOSL, once for all of it", "nop", "rep stosl", di = nothing, c = 3);
    BREAK_AT("MOV to CR0", "mov %%cr0, %%rax", "mov %%rax, %%cr0");
    BREAK_AT("behind it", "mov %%cr0, %%rax; mov %%rax, %%cr0", "nop");
    BREAK_AT("behind WRMSR", "wrmsr", "nop", c = 0x277, a = 0x70406, d = 0x70406);
    BREAK_AT("behind MOV to CR8", "mov %%rax, %%cr8", "nop");
    {
        RUN(on_instruction, "0x100", "cpuid", "cpuid");
        show_traps("stepped over, too", begin);
    }
    {
        RUN(on_instruction, "0", "mov %%ss, %%eax; mov %%eax, %%ss", "cpuid");
        show_traps("behind MOV SS", begin);
    }
    handlers[UD] = handlers[GP] = [](Frame& f) { f.ip += 2; };
    {
        RUN(on_instruction, "0", "nop", "wrmsr", c = unknown_msr);
        check_traps("a WRMSR that faults", 1, begin, hit0);
    }
    {
        // A fault saves RF set (18.3.1.1): its IRET does not meet the breakpoint again.
        static word flags;
        handlers[GP] = [](Frame& f) { flags = f.flags, f.ip += 2; };
        RUN(off, "0", "nop", "wrmsr", c = unknown_msr);
        check("RF in the flags that a #GP by WRMSR saves", flags & rf, rf);
    }
    handlers[UD] = handlers[GP] = nullptr;
}

TEST(data_breakpoints) {
    const auto at = reinterpret_cast<word>(watched);
    WATCH("a write", on_write, at, "mov %%eax, (%%rdi)", di = at);
    WATCH("a read", on_access, at, "mov (%%rsi), %%eax", si = at);
    WATCH("a byte within", on_write, at, "movb %%al, 3(%%rdi)", di = at);
    WATCH("OUTSB of it", on_access, at, "outsb", si = at, d = 0x80);
    WATCH("INSB to it", on_write, at, "insb", di = at, d = 0x80);
    WATCH("REP OUTSB of it alone", on_access, at, "rep outsb", si = at, d = 0x80, c = 1);
    WATCH("behind CPUID", on_write, at, "cpuid; mov %%eax, (%%rdi)", di = at);
    WATCH("SGDT to it", on_write, at, "sgdt (%%rdi)", di = at);
    WATCH("a read of a device", on_access, version, "mov (%%rsi), %%eax", si = version);
    WATCH("a write to a device", on_write, icr_high, "mov %%eax, (%%rdi)", di = icr_high);
    WATCH("OR to a device", on_write, icr_high, "orl $0, (%%rdi)", di = icr_high);
    WATCH("STOSL to a device", on_write, icr_high, "stosl", di = icr_high);
    WATCH("MOVSL from a device to it", on_write, at, "movsl", si = version, di = at);
    WATCH("MOVSL of it to a device", on_access, at, "movsl", si = at, di = icr_high);
    {
        write_dr1(version);
        RUN(on_write, "0", "", "mov (%%rsi), %%eax", si = version);
        check("a read of a device does not hit one on writes", trap.count, 0);
    }
    {
        write_dr1(at);
        RUN(on_write, "0x100", "", "mov %%eax, (%%rdi)", di = at);
        check_traps("with a single step, one trap tells both", 5, end, hit1 | stepped);
    }
    {
        write_dr1(icr_high);
        RUN(on_write, "0x100", "", "mov %%eax, (%%rdi)", di = icr_high);
        check_traps("in a device's memory, too", 5, end, hit1 | stepped);
    }
    {
        write_dr1(at);
        watched[0] = 0x10;
        RUN(on_access, "0", "", "mov (%%rsi), %%ss; nop", si = at);
        check_traps("MOV SS from it: behind the next instruction", 1, end, hit1);
    }
    {
        RUN(on_access, "0", "", "mov (%%rsi), %%ss; cpuid", si = at);
        check_traps("  a CPUID", 1, end, hit1);
    }
    {
        RUN(on_access, "0", "", "mov (%%rsi), %%ss; mov (%%rdi), %%eax", si = at, di = version);
        check_traps("  a read of a device", 1, end, hit1);
    }
    {
        RUN(on_access, "0", "", "mov (%%rsi), %%ss; inb %%dx, %%al", si = at, d = 0x80);
        check_traps("  IN", 1, end, hit1);
    }
    {
        RUN(on_access, "0", "", "mov (%%rsi), %%ss; .byte 0xf1", si = at);
        show_traps("  INT1", begin);
    }
    handlers[0x90] = handlers[BP] = [](Frame&) {};
    {
        RUN(on_access, "0", "", "mov (%%rsi), %%ss; int $0x90", si = at);
        show("  INT", trap.count);
        show("    DR6", trap.count ? trap.dr6[0] : 0);
    }
    {
        RUN(on_access, "0", "", "mov (%%rsi), %%ss; int3", si = at);
        show("  INT3", trap.count);
        show("    DR6", trap.count ? trap.dr6[0] : 0);
    }
    handlers[UD] = handlers[GP] = [](Frame& f) { f.ip += 2; };
    {
        RUN(on_access, "0", "", "mov (%%rsi), %%ss; ud2", si = at);
        show("  UD2", trap.count);
        show("    DR6", trap.count ? trap.dr6[0] : 0);
    }
    {
        RUN(on_access, "0", "", "mov (%%rsi), %%ss; wrmsr", si = at, c = unknown_msr);
        show("  a WRMSR that faults", trap.count);
        show("    DR6", trap.count ? trap.dr6[0] : 0);
    }
    handlers[BP] = handlers[UD] = handlers[GP] = handlers[0x90] = nullptr;
}

TEST(port_breakpoints) {
    write_cr4(read_cr4() | cr4_de);
    WATCH("IN", on_port, 0x80, "inb %%dx, %%al", d = 0x80);
    WATCH("OUT", on_port, 0x80, "outb %%al, %%dx", d = 0x80);
    WATCH("a port within four", on_port, 0x3fc, "inb %%dx, %%al", d = 0x3fd);
    WATCH("OUTSB", on_port, 0x80, "outsb", d = 0x80);
    WATCH("INSB", on_port, 0x80, "insb", d = 0x80);
    WATCH("REP OUTSB of one", on_port, 0x80, "rep outsb", d = 0x80, c = 1);
    {
        write_dr1(0x80);
        RUN(on_port, "0x100", "", "outb %%al, %%dx", d = 0x80);
        check_traps("with a single step", 5, end, hit1 | stepped);
    }
    {
        RUN(on_port, "0", "", "rep outsb", d = 0x80, c = 3);
        check("REP OUTSB of three: each", trap.count, 3);
    }
    {
        RUN(on_port, "0", "", "inb %%dx, %%al", d = 0x84);
        check("another port", trap.count, 0);
    }
    {
        write_dr1(icr_high);
        RUN(on_port, "0", "", "mov %%eax, (%%rdi)", di = icr_high);
        check("memory of that address", trap.count, 0);
    }
    write_cr4(read_cr4() & ~cr4_de);
}

TEST(general_detection) {
    {
        RUN(off | general_detect, "0", "", "mov %%dr0, %%rdx");
        check_traps("MOV from DR0: before it", 1, begin, detected);
    }
    {
        RUN(off | general_detect, "0x100", "", "mov %%dr6, %%rdx");
        check_traps("with a single step: the one behind it comes, too", 6, end, stepped, 1);
        show("  DR6 of the detection", trap.dr6[0]);
    }
    {
        RUN(off | general_detect, "0", "mov %%ss, %%eax; mov %%eax, %%ss", "mov %%dr0, %%rdx");
        check_traps("MOV SS does not hold it off", 1, begin, detected);
    }
    {
        RUN(off | general_detect, "0x100", "nop", "mov %%dr6, %%rdx");
        check_traps("a single step before it clears GD", 6, begin, stepped);
        check_traps("  and it is not detected", 6, end, stepped, 1);
    }
}

TEST(registers) {
    write_dr6(0);
    check("DR6 of 0", read_dr6(), 0xffff0ff0);
    write_dr7(0xffffdfff);
    show("DR7 of all ones, general detect apart", read_dr7());
    write_dr7(off);
    expect_traps();
    handlers[DB] = [](Frame& f) {
        trap.dr6[0] = read_dr6();
        f.flags &= ~tf;
    };
    write_dr6(quiet | 0x8);
    asm volatile("pushf; orl $0x100, (%%rsp); popf; cpuid" ::: "rax", "rbx", "rcx", "rdx", "cc", "memory");
    show("B3, left set, after a single step over CPUID", trap.dr6[0]);
    write_dr6(quiet | 0x8);
    asm volatile("pushf; orl $0x100, (%%rsp); popf; nop" ::: "cc", "memory");
    show("  over NOP", trap.dr6[0]);
    write_dr6(stepped);
    write_dr0(reinterpret_cast<word>(watched));
    write_dr7(0xd0402);
    watched[0] = 1;
    asm volatile("" ::: "memory");
    write_dr7(off);
    check("BS, left set, stays when a breakpoint is hit", trap.dr6[0], stepped | 1);
    write_dr6(quiet);
    handlers[DB] = nullptr;
}

TEST(from_ring3) {
    for (unsigned i = 0; i < 4; ++i) page_directories[i] |= 4;
    asm volatile("mov %%cr3, %%rax; mov %%rax, %%cr3" ::: "rax", "memory");
    const auto count = [](const Event& e) { return word{e.vector} << 32 | trap.count; };
    constexpr word ended = word{finished} << 32;
    expect_traps();
    check("CPUID, IN, RDTSC, PAUSE", count(RING3(0x3102, "cpuid; inb $0x80, %%al; rdtsc; pause")), ended | 4);
    expect_traps();
    check("without IOPL: IN faults", count(RING3(0x102, "cpuid; inb $0x80, %%al")), word{GP} << 32 | 1);
    expect_traps();
    check("POPF that clears TF", count(RING3(0x102, "pushf; andl $~0x100, (%%rsp); popf; cpuid")), ended | 3);
    write_msr(0xc0000080, read_msr(0xc0000080) | 1);
    write_msr(0xc0000081, 0x001b0008ull << 32);
    write_msr(0xc0000082, reinterpret_cast<word>(arrive));
    write_msr(0xc0000084, tf);
    expect_traps();
    RING3(0x102, "syscall");
    show_traps("SYSCALL with TF in FMASK", reinterpret_cast<word>(arrive));
    write_msr(0xc0000084, 0);
    expect_traps();
    RING3(0x102, "syscall");
    show_traps("SYSCALL without it", reinterpret_cast<word>(arrive));
    write_msr(0xc0000080, read_msr(0xc0000080) & ~1ul);
    write_msr(0x174, 8);
    write_msr(0x175, reinterpret_cast<word>(kernel_stack_end));
    write_msr(0x176, reinterpret_cast<word>(arrive));
    expect_traps();
    RING3(0x102, "sysenter");
    show_traps("SYSENTER", reinterpret_cast<word>(arrive));
    write_msr(0x174, 0);
    handlers[DB] = nullptr;
}
