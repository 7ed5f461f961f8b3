// SPDX-License-Identifier: Apache-2.0
// Exceptions and traps in long mode: vectors, error codes, where they come back to (SDM Vol. 3A, chapter 6), debug
// exceptions (Vol. 3B, 18.3), and the shadows of STI and MOV SS.
#include "runtime.hpp"

namespace {

constexpr word tf = 1 << 8, interrupt_flag = 1 << 9, rf = 1 << 16, ac = 1 << 18;
constexpr word cr0_ts = 1 << 3, cr0_em = 1 << 2, cr0_mp = 1 << 1, cr0_am = 1 << 18, cr0_wp = 1 << 16, cr0_ne = 1 << 5;
constexpr word cr4_de = 1 << 3, cr4_osfxsr = 1 << 9, cr4_osxmmexcpt = 1 << 10, cr4_umip = 1 << 11, cr4_smep = 1 << 20,
               cr4_smap = 1 << 21;
constexpr word single_step = 1 << 14, general_detect = 1 << 13;

extern "C" uint64_t page_directories[];

// A page of its own at 1 GiB, which is not otherwise used.
constexpr word window = 0x40000000;
alignas(4096) uint64_t table[512];
alignas(4096) uint8_t page[4096];

void map(word address, uint64_t entry) {
    page_directories[window >> 21] = reinterpret_cast<word>(table) | 7;
    table[address >> 12 & 511] = entry;
    asm volatile("invlpg (%0)" ::"r"(address) : "memory");
}
uint64_t page_at() { return reinterpret_cast<word>(page); }

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
    write_dr6(0xffff0ff0);
    f.flags |= rf;
    if (trap.count >= 16) f.flags &= ~tf;
}
void expect_traps() {
    trap = {};
    write_dr6(0xffff0ff0);
    handlers[DB] = on_debug;
}

}  // namespace

TEST(faults) {
    check_raises("#DE by DIV", DE, 0, [] { asm volatile("div %%ecx" ::"a"(1), "d"(0), "c"(0)); });
    check_raises("#DE by IDIV that overflows", DE, 0,
                 [] { asm volatile("idiv %%ecx" ::"a"(0x80000000), "d"(-1), "c"(-1)); });
    check_raises("#UD by UD2", UD, 0, [] { asm volatile("ud2"); });
    check_raises("#UD by UD0", UD, 0, [] { asm volatile(".byte 0x0f, 0xff, 0xc0"); });
    check_raises("#UD by a LOCK that cannot be", UD, 0, [] { asm volatile(".byte 0xf0, 0x90"); });
    check_raises("#UD by PUSH CS", UD, 0, [] { asm volatile(".byte 0x0e"); });
    check_raises("#UD by AAA", UD, 0, [] { asm volatile(".byte 0x37"); });
    check_raises("#UD by INTO", UD, 0, [] { asm volatile(".byte 0xce"); });
    check_raises("#GP by an address that is not canonical", GP, 0, [] {
        asm volatile("mov (%0), %%al" ::"r"(1ul << 47) : "rax");
    });
    check_raises("#SS by one of the stack", SS, 0, [] {
        asm volatile("mov %%rsp, %%rbx; mov %0, %%rbp; mov (%%rbp), %%al; nop" ::"r"(1ul << 47) : "rax", "rbx", "rbp");
    });
    check_raises("#GP by a null selector of RPL 3 for SS", GP, 0, [] { asm volatile("mov %0, %%ss" ::"r"(3)); });
    check_raises("#GP by a selector beyond the GDT", GP, 0xfff8, [] { asm volatile("mov %0, %%ds" ::"r"(0xfff8)); });
    check_raises("#GP by a code segment in SS", GP, 8, [] { asm volatile("mov %0, %%ss" ::"r"(8)); });
    gdt[10] = 0x00cf13000000ffff;  // 50h: data, not present
    check_raises("#NP by a data segment that is not present", NP, 0x50,
                 [] { asm volatile("mov %0, %%ds" ::"r"(0x50)); });
    check_raises("#SS by a stack that is not present", SS, 0x50, [] { asm volatile("mov %0, %%ss" ::"r"(0x50)); });
    check_raises("#GP by LTR of a busy TSS", GP, 0x30, [] { asm volatile("ltr %w0" ::"r"(0x30)); });
    check_raises("#GP by LLDT of what is no LDT", GP, 0x10, [] { asm volatile("lldt %w0" ::"r"(0x10)); });
    asm volatile("mov %0, %%ds; mov %0, %%es" ::"r"(0x10));
}

TEST(software_events) {
    handlers[BP] = [](Frame& f) { trap.ip[0] = f.ip, ++trap.count; };
    trap = {};
    word after;
    asm volatile("int3; 1: lea 1b(%%rip), %0" : "=r"(after)::"memory");
    check("INT3 is a trap", trap.ip[0], after);
    asm volatile(".byte 0xcd, 0x03; 1: lea 1b(%%rip), %0" : "=r"(after)::"memory");
    check("INT 3 likewise", trap.ip[0], after);
    handlers[0x80] = handlers[BP];
    asm volatile("int $0x80; 1: lea 1b(%%rip), %0" : "=r"(after)::"memory");
    check("INT 80h", trap.ip[0], after);
    check("each came once", trap.count, 3);
    handlers[BP] = handlers[0x80] = nullptr;
    // INT n of a vector with an error code in its exception pushes none.
    handlers[0x90] = [](Frame& f) { trap.ip[1] = f.error; };
    asm volatile("int $0x90" ::: "memory");
    check("INT 90h has no error code", trap.ip[1], 0);
    handlers[0x90] = nullptr;
    set_gate(0x91, 0);
    check_raises("INT of a gate that is absent", GP, 0x91 * 8 + 2, [] { asm volatile("int $0x91"); });
    expect_traps();
    asm volatile(".byte 0xf1; 1: lea 1b(%%rip), %0" : "=r"(after)::"memory");
    check("INT1 is a trap", trap.ip[0], after);
    check("  with DR6 as it was", trap.dr6[0], 0xffff0ff0);
    handlers[DB] = nullptr;
}

TEST(page_faults) {
    const auto read = [] { asm volatile("mov (%0), %%al" ::"r"(window) : "rax"); };
    const auto write = [] { asm volatile("movb $1, (%0)" ::"r"(window) : "memory"); };
    map(window, 0);
    check_raises("read of no page", PF, 0, read);
    check("  CR2", last_event.cr2, window);
    check_raises("write to no page", PF, 2, write);
    map(window, page_at() | 1);
    check_quiet("read of a read-only page", read);
    check_quiet("write to it without CR0.WP", write);
    write_cr0(read_cr0() | cr0_wp);
    check_raises("write to it with CR0.WP", PF, 3, write);
    map(window, page_at() | 3 | 1ul << 51);
    check_raises("read with a reserved bit", PF, 9, read);
    check_raises("write with a reserved bit", PF, 0xb, write);
    map(window, page_at() | 3 | 1ul << 63);
    check_raises("bit 63 without EFER.NXE is reserved", PF, 9, read);
    write_msr(0xc0000080, read_msr(0xc0000080) | 1 << 11);
    check_quiet("bit 63 with EFER.NXE", read);
    page[0] = 0xc3;
    check_raises("fetch from a page with XD", PF, 0x11, [] { asm volatile("call *%0" ::"r"(window)); });
    map(window, page_at() | 3);
    check_quiet("fetch without XD", [] { asm volatile("call *%0" ::"r"(window)); });
    check("accessed, not dirty", table[0] & 0x60, 0x20);
    write();
    check("dirty after a write", table[0] & 0x60, 0x60);
    map(window + 0x1000, 0);
    check_raises("a read across a page's end", PF, 0, [] {
        asm volatile("mov (%0), %%rax" ::"r"(window + 0xffc) : "rax");
    });
    check("  CR2 is the second page", last_event.cr2, window + 0x1000);
    write_cr0(read_cr0() & ~cr0_wp);
}

TEST(supervisor_modes) {
    map(window, page_at() | 7);
    page[0] = 0xc3;
    const auto read = [] { asm volatile("mov (%0), %%al" ::"r"(window) : "rax"); };
    const auto fetch = [] { asm volatile("call *%0" ::"r"(window)); };
    if (cpuid(7).b >> 7 & 1) {
        check_quiet("fetch from a user page without SMEP", fetch);
        write_cr4(read_cr4() | cr4_smep);
        check_raises("fetch from a user page with SMEP", PF, 0x11, fetch);
        write_cr4(read_cr4() & ~cr4_smep);
    }
    if (cpuid(7).b >> 20 & 1) {
        write_cr4(read_cr4() | cr4_smap);
        check_raises("read of a user page with SMAP", PF, 1, read);
        check_quiet("read with SMAP and AC", [&] {
            asm volatile("stac");
            read();
            asm volatile("clac");
        });
        check("STAC and CLAC left AC clear", read_flags() & ac, 0);
        write_cr4(read_cr4() & ~cr4_smap);
    }
}

TEST(floating_point) {
    const word cr0 = read_cr0();
    write_cr0(cr0 | cr0_ts);
    check_raises("x87 with TS", NM, 0, [] { asm volatile("fnop"); });
    check_raises("SSE with TS", NM, 0, [] { asm volatile("xorps %xmm0, %xmm0"); });
    check_raises("WAIT with TS and MP", NM, 0, [] { asm volatile("fwait"); });
    write_cr0((cr0 | cr0_ts) & ~cr0_mp);
    check_quiet("WAIT with TS alone", [] { asm volatile("fwait"); });
    write_cr0((cr0 & ~cr0_mp) | cr0_em);
    check_raises("x87 with EM", NM, 0, [] { asm volatile("fnop"); });
    check_raises("SSE with EM", UD, 0, [] { asm volatile("xorps %xmm0, %xmm0"); });
    write_cr0(cr0);
    write_cr4(read_cr4() & ~cr4_osfxsr);
    check_raises("SSE without OSFXSR", UD, 0, [] { asm volatile("xorps %xmm0, %xmm0"); });
    write_cr4(read_cr4() | cr4_osfxsr);
    const uint32_t unmasked = 0x1f80 & ~(1 << 9), masked = 0x1f80;  // ZM
    const auto divide = [=] {
        asm volatile(
            "ldmxcsr %0; xorps %%xmm1, %%xmm1; mov $0x3f800000, %%eax; movd %%eax, %%xmm0; divss %%xmm1, %%xmm0" ::"m"(
                unmasked)
            : "eax");
    };
    check_raises("a SIMD exception", XM, 0, divide);
    write_cr4(read_cr4() & ~cr4_osxmmexcpt);
    check_raises("  without OSXMMEXCPT", UD, 0, divide);
    write_cr4(read_cr4() | cr4_osxmmexcpt);
    asm volatile("ldmxcsr %0" ::"m"(masked));
    check_raises("a reserved bit of MXCSR", GP, 0, [] {
        const uint32_t bad = 1 << 16;
        asm volatile("ldmxcsr %0" ::"m"(bad));
    });
    check_raises("an x87 exception, at the next instruction", MF, 0, [] {
        const uint16_t control = 0x037b;  // ZM clear
        asm volatile("fninit; fldcw %0; fld1; fldz; fdivrp; fwait" ::"m"(control));
    });
    asm volatile("fninit");
    check_raises("FXSAVE that is not aligned", GP, 0, [] {
        alignas(16) static uint8_t area[544];
        asm volatile("fxsave %0" : "=m"(area[8]));
    });
    check_raises("MOVAPS that is not aligned", GP, 0, [] {
        alignas(16) static uint8_t area[32];
        asm volatile("movaps %%xmm0, %0" : "=m"(area[8]));
    });
}

TEST(single_stepping) {
    expect_traps();
    word first, second;
    asm volatile("pushf; orl $0x100, (%%rsp); popf\n"
                 "nop\n 1: nop\n 2: pushf; andl $~0x100, (%%rsp); popf\n"
                 "lea 1b(%%rip), %0; lea 2b(%%rip), %1"
                 : "=r"(first), "=r"(second)::"cc", "memory");
    check("a trap after each instruction", trap.count, 5);
    check("the first after the one behind POPF", trap.ip[0], first);
    check("the second one on", trap.ip[1], second);
    check("DR6.BS", trap.dr6[0], 0xffff4ff0);

    // Instructions that are VM exits as a guest.
    expect_traps();
    asm volatile("pushf; orl $0x100, (%%rsp); popf\n"
                 "cpuid\n 1: mov $0x277, %%ecx; rdmsr\n 2: pushf; andl $~0x100, (%%rsp); popf\n"
                 "lea 1b(%%rip), %0; lea 2b(%%rip), %1"
                 : "=r"(first), "=r"(second)::"rax", "rbx", "rcx", "rdx", "cc", "memory");
    check("stepping over CPUID: ip", trap.ip[0], first);
    check("  DR6", trap.dr6[0], 0xffff4ff0);
    check("stepping over RDMSR: ip", trap.ip[2], second);
    check("  count", trap.count, 6);

    expect_traps();
    asm volatile("mov $0x80, %%dx; pushf; orl $0x100, (%%rsp); popf\n"
                 "inb %%dx, %%al\n 1: nop\n 2: pushf; andl $~0x100, (%%rsp); popf\n"
                 "lea 1b(%%rip), %0; lea 2b(%%rip), %1"
                 : "=r"(first), "=r"(second)::"rax", "rdx", "cc", "memory");
    check("stepping over IN: ip", trap.ip[0], first);
    check("  then", trap.ip[1], second);
    check("  count", trap.count, 5);

    expect_traps();
    asm volatile("mov %%cr0, %%rax; pushf; orl $0x100, (%%rsp); popf\n"
                 "mov %%rax, %%cr0\n 1: wbinvd\n 2: pushf; andl $~0x100, (%%rsp); popf\n"
                 "lea 1b(%%rip), %0; lea 2b(%%rip), %1"
                 : "=r"(first), "=r"(second)::"rax", "cc", "memory");
    check("stepping over MOV to CR0: ip", trap.ip[0], first);
    check("stepping over WBINVD: ip", trap.ip[1], second);
    check("  count", trap.count, 5);

    expect_traps();
    static uint8_t from[4] = {1, 2, 3, 4}, to[4];
    asm volatile("pushf; orl $0x100, (%%rsp); popf\n"
                 "rep movsb\n 1: pushf; andl $~0x100, (%%rsp); popf\n lea 1b(%%rip), %0"
                 : "=r"(first) : "S"(from), "D"(to), "c"(4) : "cc", "memory");
    check("each round of REP MOVSB traps", trap.count, 7);
    check("  and is done after the last", trap.ip[3], first);

    // MOV SS holds off the trap for one instruction.
    expect_traps();
    asm volatile("mov %%ss, %%eax; pushf; orl $0x100, (%%rsp); popf\n"
                 "mov %%eax, %%ss\n nop\n 1: pushf; andl $~0x100, (%%rsp); popf\n lea 1b(%%rip), %0"
                 : "=r"(first)::"rax", "cc", "memory");
    check("no trap between MOV SS and the next", trap.ip[0], first);
    check("  count", trap.count, 4);

    expect_traps();
    asm volatile("mov %%ss, %%eax; mov $0, %%ecx; pushf; orl $0x100, (%%rsp); popf\n"
                 "mov %%eax, %%ss\n cpuid\n 1: pushf; andl $~0x100, (%%rsp); popf\n lea 1b(%%rip), %0"
                 : "=r"(first)::"rax", "rbx", "rcx", "rdx", "cc", "memory");
    check("nor if the next is CPUID", trap.ip[0], first);
    handlers[DB] = nullptr;
}

TEST(breakpoints) {
    static uint64_t watched;
    expect_traps();
    word at, next;
    asm volatile("lea 1f(%%rip), %0; mov %0, %%dr0; mov $0x2, %%eax; mov %%rax, %%dr7\n 1: nop\n 2: lea 2b(%%rip), %1"
                 : "=&r"(at), "=r"(next)::"rax", "memory");
    write_dr7(0x400);
    check("an instruction breakpoint is a fault", trap.ip[0], at);
    check("  DR6", trap.dr6[0], 0xffff0ff1);
    check("  once, RF being set", trap.count, 1);
    check("  RF in the saved flags", trap.flags[0] & rf, 0);

    expect_traps();
    write_dr1(reinterpret_cast<word>(&watched));
    write_dr7(0x8 | 0xd << 20);  // G1, writes, 4 bytes
    asm volatile("movl $1, %1\n 1: lea 1b(%%rip), %0" : "=r"(next) : "m"(watched) : "memory");
    write_dr7(0x400);
    check("a write watchpoint is a trap", trap.ip[0], next);
    check("  DR6", trap.dr6[0], 0xffff0ff2);
    expect_traps();
    write_dr7(0x8 | 0xd << 20);
    asm volatile("movl %0, %%eax" ::"m"(watched) : "rax", "memory");
    write_dr7(0x400);
    check("it does not watch reads", trap.count, 0);

    expect_traps();
    write_dr7(0x400 | general_detect);
    word detected;
    asm volatile("1: mov %%dr0, %%rax; lea 1b(%%rip), %0" : "=r"(detected)::"rax", "memory");
    check("general detect is a fault before MOV DR", trap.ip[0], detected);
    check("  DR6.BD", trap.dr6[0], 0xffff2ff0);
    check("  DR7.GD is cleared for the handler", read_dr7() & general_detect, 0);
    handlers[DB] = nullptr;
    write_dr7(0x400);
}

TEST(debug_registers) {
    write_dr0(0x123456789a);
    write_dr3(~0ul >> 17);
    check("DR0 keeps 64 bits", read_dr0(), 0x123456789a);
    check("DR3 keeps 64 bits", read_dr3(), ~0ul >> 17);
    write_dr6(0);
    check("DR6's fixed bits", read_dr6(), 0xffff0ff0);
    write_dr6(0xffffffff);
    show("DR6 of all ones", read_dr6());
    write_dr7(0);
    check("DR7's fixed bit", read_dr7(), 0x400);
    check_raises("DR6 with bit 32", GP, 0, [] { write_dr6(1ul << 32); });
    check_raises("DR7 with bit 32", GP, 0, [] { write_dr7(1ul << 32); });
    write_cr4(read_cr4() & ~cr4_de);
    asm volatile("mov %0, %%dr4" ::"r"(0xffff0ff1ul));
    check("DR4 is DR6 without CR4.DE", read_dr6(), 0xffff0ff1);
    write_cr4(read_cr4() | cr4_de);
    check_raises("DR4 with CR4.DE", UD, 0, [] { asm volatile("mov %%dr4, %%rax" ::: "rax"); });
    check_raises("DR5 with CR4.DE", UD, 0, [] { asm volatile("mov %%dr5, %%rax" ::: "rax"); });
    write_cr4(read_cr4() & ~cr4_de);
    write_dr6(0xffff0ff0);
    write_dr0(0);
    write_dr3(0);
}

TEST(double_faults) {
    // A page fault whose gate is absent is a #GP while delivering it: contributory after page fault is a double fault.
    map(window, 0);
    set_gate(PF, 0);
    const Event e = events_of([] { asm volatile("mov (%0), %%al" ::"r"(window) : "rax"); });
    check("a page fault whose gate is absent", e.vector, DF);
    check("  error code", e.error, 0);
    check("  CR2 is the first fault's", e.cr2, window);
    // A benign one is not combined; its error code says that an event was being delivered (EXT).
    set_gate(UD, 0);
    check_raises("#UD whose gate is absent", GP, UD * 8 + 3, [] { asm volatile("ud2"); });
    set_gate(DE, 0);
    check_raises("#DE whose gate is absent", DF, 0, [] { asm volatile("div %%ecx" ::"a"(1), "d"(0), "c"(0)); });
}
