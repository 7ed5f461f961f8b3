// SPDX-License-Identifier: Apache-2.0
// Ring 3 and compatibility mode from long mode: SYSCALL and SYSRET, SYSENTER and SYSEXIT, IRET, far transfers, the
// stacks of the TSS, FSGSBASE (SDM Vol. 3A, 5.8; Vol. 2).
#include "rings.hpp"

extern "C" {
extern uint64_t page_directories[];
extern uint8_t kernel_stack_end[];
extern uint64_t event_stubs[];
uint64_t seen_rcx, seen_r11, seen_flags, seen_cs, seen_ss, seen_rsp;
alignas(16) uint8_t ring3_data[32];
void syscall_entry();
void sysenter_entry();
void compatibility_code();
}
// Where SYSCALL and SYSENTER arrive: notes what it finds, and comes to an end.
asm(R"(
        .text
        .globl syscall_entry, sysenter_entry, compatibility_code
syscall_entry:
        mov %rcx, seen_rcx
        mov %r11, seen_r11
        mov %rsp, seen_rsp
        mov $kernel_stack_end, %rsp
        pushf
        pop seen_flags
        mov %cs, seen_cs
        mov %ss, seen_ss
        int $0x80
        ud2
sysenter_entry:
        mov %rsp, seen_rsp
        pushf
        pop seen_flags
        mov %cs, seen_cs
        mov %ss, seen_ss
        int $0x80
        ud2
        .code32
compatibility_code:
        .byte 0x40                      # INC EAX here, a REX prefix in 64-bit mode
        mov %eax, seen_rcx
        int $0x80
        ud2
        .code64
)");

namespace {

constexpr uint32_t efer = 0xc0000080, star = 0xc0000081, lstar = 0xc0000082, fmask = 0xc0000084;
constexpr word cr4_fsgsbase = 1 << 16, cr4_umip = 1 << 11, cr4_tsd = 1 << 2, cr0_am = 1 << 18, ac_flag = 1 << 18;

// The image's own pages, for ring 3, too.
void open_to_users() {
    for (unsigned i = 0; i < 4; ++i) page_directories[i] |= 4;
    asm volatile("mov %%cr3, %%rax; mov %%rax, %%cr3" ::: "rax", "memory");
}

}  // namespace

TEST(rings) {
    open_to_users();
    check_event("ring 3 comes to its end", RING3(2, "nop"), finished);
    check_event("CLI", RING3(2, "cli"), GP);
    check_event("HLT", RING3(0x3002, "hlt"), GP);
    check_event("IN", RING3(2, "inb $0x80, %%al"), GP);
    check_event("MOV from CR0", RING3(2, "mov %%cr0, %%rax"), GP);
    check_event("MOV from CR8", RING3(2, "mov %%cr8, %%rax"), GP);
    check_event("RDMSR", RING3(2, "rdmsr"), GP);
    check_event("SWAPGS", RING3(2, "swapgs"), GP);
    check_event("SYSRET", RING3(2, "sysretl"), UD);
    check_event("XSETBV without OSXSAVE", RING3(2, "xsetbv"), UD);
    check_event("CLAC", RING3(2, "clac"), UD);
    check_event("INVPCID", RING3(2, "mov $2, %%eax; invpcid ring3_data, %%rax"), cpuid(7).b >> 10 & 1 ? GP : UD);
    check_event("CPUID", RING3(2, "cpuid"), finished);
    check_event("SIDT", RING3(2, "sidt ring3_data"), finished);
    check_event("STR", RING3(2, "str %%ax"), finished);
    check_event("a page of the supervisor", RING3(2, "movb 0x1000000, %%al"), PF, 5);
    check_event("a fetch from one", RING3(2, "mov $0x1000000, %%eax; jmp *%%rax"), PF, 5);
    write_cr4(read_cr4() | cr4_tsd);
    check_event("RDTSC with CR4.TSD", RING3(2, "rdtsc"), GP);
    write_cr4(read_cr4() & ~cr4_tsd);
    write_cr0(read_cr0() | cr0_am);
    check_event("not aligned, with AM and AC", RING3(2 | ac_flag, "movl ring3_data + 1, %%eax"), AC);
    check_event("aligned", RING3(2 | ac_flag, "movl ring3_data + 4, %%eax"), finished);
    write_cr0(read_cr0() & ~cr0_am);
    if (!(cpuid(7).c >> 2 & 1)) return skip("UMIP", "not there");
    write_cr4(read_cr4() | cr4_umip);
    check_event("SIDT with UMIP", RING3(2, "sidt ring3_data"), GP);
    check_event("STR with UMIP", RING3(2, "str %%ax"), GP);
    check_event("SMSW with UMIP", RING3(2, "smsw %%ax"), GP);
    write_cr4(read_cr4() & ~cr4_umip);
}

TEST(system_call) {
    check_event("SYSCALL without EFER.SCE", RING3(2, "syscall"), UD);
    write_msr(efer, read_msr(efer) | 1);
    write_msr(star, 0x001b0008ull << 32);
    write_msr(lstar, reinterpret_cast<word>(syscall_entry));
    write_msr(fmask, 0x40500);
    check_event("SYSCALL", RING3(0x40002, "syscall; 3: nop"), finished);
    check("  CS", seen_cs & 0xffff, 8);
    check("  SS", seen_ss & 0xffff, 0x10);
    check("  R11 is RFLAGS", seen_r11, 0x40002);
    check("  RFLAGS without FMASK's bits", seen_flags, 2);
    check("  RSP is the caller's", seen_rsp, reinterpret_cast<word>(user_stack + sizeof user_stack - 8));
    word back;
    const Event e = events_of([&] {
        asm volatile("lea 1f(%%rip), %%rcx; mov $0x202, %%r11d; mov %%rcx, %0; mov $user_stack + 2048, %%esp; sysretq\n"
                     "1: int $0x80; ud2"
                     : "=m"(back)::"rcx", "r11", "memory");
    });
    check_event("SYSRET to 64-bit mode", e, finished);
    check_raises("SYSRET to an address that is not canonical", GP, 0, [] {
        asm volatile("mov %%rsp, %%rdx; mov %0, %%rcx; mov $2, %%r11d; sysretq" ::"r"(1ul << 47) : "rcx", "rdx", "r11");
    });
    seen_rcx = 0;
    const Event compatible = events_of([] {
        asm volatile(
            "mov $compatibility_code, %%ecx; mov $2, %%r11d; mov $41, %%eax; mov $user_stack + 2048, %%esp; sysretl" ::
                : "rax", "rcx", "r11", "memory");
    });
    check_event("SYSRET to compatibility mode", compatible, finished);
    check("  INC EAX is an instruction there", seen_rcx & 0xffffffff, 42);
    write_msr(efer, read_msr(efer) & ~1ul);
}

TEST(system_enter) {
    write_msr(0x174, 0);
    check_event("SYSENTER without a segment", RING3(2, "sysenter"), GP);
    write_msr(0x174, 8);
    write_msr(0x175, reinterpret_cast<word>(kernel_stack_end));
    write_msr(0x176, reinterpret_cast<word>(sysenter_entry));
    check_event("SYSENTER", RING3(0x202, "sysenter"), finished);
    check("  CS", seen_cs & 0xffff, 8);
    check("  SS", seen_ss & 0xffff, 0x10);
    check("  RSP", seen_rsp, reinterpret_cast<word>(kernel_stack_end));
    check("  IF is cleared", seen_flags & 0x200, 0);
    write_msr(0x174, 0);
}

TEST(compatibility) {
    // A far return to the 32-bit code segment of ring 0.
    seen_rcx = 0;
    const Event e = events_of([] {
        asm volatile("mov $6, %%eax; push $0x40; push $compatibility_code; lretq" ::: "rax", "memory");
    });
    check_event("a far return to compatibility mode", e, finished);
    check("  INC EAX is an instruction there", seen_rcx & 0xffffffff, 7);
    check_raises("a far return beyond the table", GP, 0xfff8, [] { asm volatile("push $0xfff8; push $0; lretq"); });
    check_raises("a far return to data", GP, 0x10, [] { asm volatile("push $0x10; push $0; lretq"); });
    gdt[10] = 0x00ef9b000000ffff;  // L and D
    check_raises("a segment with both L and D", GP, 0x50, [] { asm volatile("push $0x50; push $0; lretq"); });
    check_raises("IRET to an address that is not canonical", GP, 0, [] {
        asm volatile("mov %%rsp, %%rax; push $0x10; push %%rax; push $2; push $8; push %0; iretq" ::"r"(1ul << 47)
                     : "rax", "memory");
    });
    check_raises("IRET with NT", GP, 0, [] {
        asm volatile("pushf; orl $0x4000, (%%rsp); popf; iretq" ::: "memory", "cc");
    });
    write_flags(read_flags() & ~0x4000ul);
}

TEST(interrupt_stacks) {
    static uint8_t stack[4096];
    static word rsp_in_handler;
    handlers[0x90] = [](Frame& f) { rsp_in_handler = reinterpret_cast<word>(&f); };
    asm volatile("int $0x90" ::: "memory");
    show("the stack is kept, aligned to 16", (rsp_in_handler & 15));
    *reinterpret_cast<uint64_t*>(tss + 36) = reinterpret_cast<word>(stack + sizeof stack - 8);  // IST1
    const word entry = reinterpret_cast<word>(&event_stubs[0x90]);
    set_gate(0x90, (entry & 0xffff) | 8ull << 16 | 0x8e01ull << 32 | static_cast<uint64_t>(entry & 0xffff0000) << 32);
    asm volatile("int $0x90" ::: "memory");
    check("IST1 is used, and aligned", rsp_in_handler,
          ((reinterpret_cast<word>(stack) + sizeof stack - 8) & ~15ul) - sizeof(Frame));
    handlers[0x90] = nullptr;
}

TEST(bases_from_ring3) {
    if (!(cpuid(7).b & 1)) return skip("FSGSBASE", "not there");
    write_cr4(read_cr4() | cr4_fsgsbase);
    check_event("WRFSBASE", RING3(2, "mov $0x1234, %%eax; wrfsbase %%rax; rdfsbase %%rbx; mov %%rbx, seen_rcx"),
                finished);
    check("RDFSBASE", seen_rcx, 0x1234);
    check("IA32_FS_BASE has it", read_msr(0xc0000100), 0x1234);
    check_raises("WRGSBASE of an address that is not canonical", GP, 0,
                 [] { asm volatile("wrgsbase %0" ::"r"(1ul << 47)); });
    write_cr4(read_cr4() & ~cr4_fsgsbase);
    write_msr(0xc0000100, 0);
}
