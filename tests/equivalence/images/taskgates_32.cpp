// SPDX-License-Identifier: Apache-2.0
// Task gates for every kind of event; what a task switch does under paging, to virtual-8086 and ring 3 tasks, with an
// LDT, with 16-bit TSSs, and where the new task's segments are wrong (SDM Vol. 3A, 6.12.2 and chapter 8).
#include "interrupts.hpp"
#include "rings.hpp"

extern "C" {
void event_task();
void error_task();
void nmi_task();
void back_task();
void ring3_task();
void task16();
volatile uint32_t runs, seen_error, seen_cr3, seen_link, seen_flags, seen_fs, seen_ldtr, seen_dr7, seen_cs, seen_esp,
    saved_eip, saved_flags, skipped;
}
// Each of them notes what it finds, and lets the interrupted task go on `skipped` bytes further.
asm(R"(
        .text
        .macro note_task
        incl runs
        mov %esp, seen_esp
        pushf
        pop seen_flags
        mov %cr3, %eax
        mov %eax, seen_cr3
        mov %fs, %eax
        mov %eax, seen_fs
        sldt %eax
        mov %eax, seen_ldtr
        mov %dr7, %eax
        mov %eax, seen_dr7
        mov tss + 0x20, %eax
        mov %eax, saved_eip
        add skipped, %eax
        mov %eax, tss + 0x20
        mov tss + 0x24, %eax
        mov %eax, saved_flags
        clts
        .endm
        .globl event_task, error_task, nmi_task, back_task, ring3_task, task16
event_task:
        note_task
        iret
        jmp event_task
error_task:
        note_task
        pop seen_error
        iret
        jmp error_task
nmi_task:                               # another NMI waits until its IRET
        incl runs
        clts
        cmpl $1, runs
        jne 1f
        mov 0xfee00020, %eax
        mov %eax, 0xfee00310
        movl $0x4400, 0xfee00300
        mov $200, %ecx
2:      pause
        loop 2b
        mov runs, %eax
        mov %eax, seen_error
1:      iret
        jmp nmi_task
back_task:
        note_task
        ljmp $0x28, $0xf4f4f4f4
        jmp back_task
ring3_task:                             # back by INT of a task gate
        incl runs
        mov %cs, seen_cs
        pushf
        pop seen_flags
        iret
        jmp ring3_task
        .code16
task16: addr32 incl runs
        iret
        jmp task16
        .code32
)");

namespace {

// SDM Vol. 3A, figures 8-2 and 8-10.
struct Tss {
    uint32_t link, esp0, ss0, esp1, ss1, esp2, ss2, cr3, eip, eflags, eax, ecx, edx, ebx, esp, ebp, esi, edi, es, cs,
        ss, ds, fs, gs, ldt;
    uint16_t trap, bitmap;
};
struct Tss16 {
    uint16_t link, sp0, ss0, sp1, ss1, sp2, ss2, ip, flags, ax, cx, dx, bx, sp, bp, si, di, es, cs, ss, ds, ldt;
};
static_assert(sizeof(Tss) == 0x68 && sizeof(Tss16) == 44);

constexpr unsigned own = 5, other = 8, spare = 10, ldt = 11, code16 = 12;  // descriptors
constexpr uint32_t nested = 1 << 14, rf = 1 << 16, vm = 1 << 17, tf = 1 << 8;
alignas(16) Tss second;
alignas(16) Tss16 short_tss;
alignas(16) uint8_t second_stack[2048], stack_of_ring0[1024];
alignas(16) uint64_t local_table[4];
alignas(4096) uint32_t directories[2][1024];

uint64_t descriptor(word base, word limit, unsigned access) {
    return (limit & 0xffff) | static_cast<uint64_t>(base & 0xffffff) << 16 | static_cast<uint64_t>(access) << 40 |
           static_cast<uint64_t>(base >> 24) << 56;
}
Tss& first() { return *reinterpret_cast<Tss*>(tss); }
template <class T>
word here(T& object) {
    return reinterpret_cast<word>(&object);
}
void prepare(void (*code)(), uint32_t skip_bytes = 0) {
    second = {};
    second.cr3 = read_cr3();
    second.eip = reinterpret_cast<word>(code);
    second.eflags = 2;
    second.esp = here(second_stack) + sizeof second_stack;
    second.cs = 8;
    second.es = second.ss = second.ds = second.fs = second.gs = 0x10;
    second.esp0 = here(stack_of_ring0) + sizeof stack_of_ring0;
    second.ss0 = 0x10;
    second.bitmap = 0x68;
    gdt[other] = descriptor(here(second), sizeof second - 1, 0x89);
    first().cr3 = read_cr3();
    runs = 0;
    skipped = skip_bytes;
    seen_error = 0xffffffff;
}
void gate_to_task(unsigned vector, unsigned dpl = 0) {
    set_gate(vector, static_cast<uint64_t>(other * 8) << 16 | static_cast<uint64_t>(0x8500 | dpl << 13) << 32);
}
void finish_event(unsigned vector) {
    restore_gate(vector);
    asm volatile("clts");
    write_flags(read_flags() & ~nested);
}

}  // namespace

// A task keeps its own registers, all of them, but an event's task here has used EAX of its own alone.
#define WITHIN(text, ...) \
    asm volatile("push %%ebp; push %%ebx\n" text "\n pop %%ebx; pop %%ebp" __VA_ARGS__)
// Runs text with a task gate for a vector, and says where label 1 is.
#define THROUGH_GATE(vector, text)                                                                        \
    word at;                                                                                              \
    gate_to_task(vector);                                                                                 \
    WITHIN(text "\n mov $1b, %%edi", : "=D"(at)::"eax", "ecx", "edx", "esi", "memory", "cc");             \
    finish_event(vector)

TEST(events) {
    start_lapic();
    {
        prepare(event_task);
        THROUGH_GATE(BP, "int3; 1:");
        check("INT3", runs, 1);
        check("  the saved EIP", saved_eip, at);
        check("  the link", second.link & 0xffff, own * 8);
        check("  NT in the task", seen_flags & nested, nested);
        check("  no error code", seen_esp, here(second_stack) + sizeof second_stack);
    }
    {
        prepare(event_task);
        THROUGH_GATE(OF, "mov $127, %%al; add $127, %%al; into; 1:");
        check("INTO", runs, 1);
        check("  the saved EIP", saved_eip, at);
    }
    {
        prepare(event_task);
        THROUGH_GATE(NMI, "int $2; 1:");
        check("INT 2", runs, 1);
        check("  the saved EIP", saved_eip, at);
    }
    {
        prepare(event_task);
        THROUGH_GATE(0x90, "int $0x90; 1:");
        check("INT 90h", runs, 1);
        check("  the saved EIP", saved_eip, at);
    }
    {
        prepare(event_task);
        THROUGH_GATE(DB, ".byte 0xf1; 1:");
        check("INT1", runs, 1);
        check("  the saved EIP", saved_eip, at);
    }
    {
        prepare(event_task, 2);
        THROUGH_GATE(DE, "xor %%ecx, %%ecx; 1: div %%ecx");
        check("#DE", runs, 1);
        check("  the saved EIP", saved_eip, at);
        check("  RF in the saved flags", saved_flags & rf, rf);
    }
    {
        prepare(event_task, 2);
        THROUGH_GATE(UD, "1: ud2");
        check("#UD", runs, 1);
        check("  the saved EIP", saved_eip, at);
    }
    {
        prepare(error_task, 2);
        THROUGH_GATE(GP, "mov $0x4b564d00, %%ecx; 1: wrmsr");
        check("#GP by WRMSR", runs, 1);
        check("  the saved EIP", saved_eip, at);
        check("  its error code", seen_error, 0);
    }
    {
        gdt[spare] = 0x00cf13000000ffff;
        prepare(error_task, 2);
        THROUGH_GATE(NP, "mov $0x50, %%eax; 1: mov %%eax, %%es");
        check("#NP", runs, 1);
        check("  the saved EIP", saved_eip, at);
        check("  its error code", seen_error, spare * 8);
        check("  RF in the saved flags", saved_flags & rf, rf);
    }
    {
        prepare(event_task);
        write_lapic(lapic_icr, 1 << 18 | 1 << 14 | 0xf0);
        THROUGH_GATE(0xf0, "sti; nop; 1: cli");
        check("an interrupt", runs, 1);
        check("  the saved EIP", saved_eip, at);
        check("  IF in the saved flags", saved_flags & 0x200, 0x200);
        check("  and not in the task", seen_flags & 0x200, 0);
        check("  no error code", seen_esp, here(second_stack) + sizeof second_stack);
        end_of_interrupt();
    }
    {
        prepare(nmi_task);
        THROUGH_GATE(NMI, "mov 0xfee00020, %%eax; mov %%eax, 0xfee00310; movl $0x4400, 0xfee00300\n"
                          "mov $500, %%ecx; 1: pause; loop 1b");
        check("an NMI, and one in its task", runs, 2);
        check("  which waits for the IRET", seen_error, 1);
        (void)at;
    }
    {
        // #NP while a #GP is delivered: a double fault.
        prepare(error_task, 2);
        set_gate(GP, 0);
        THROUGH_GATE(DF, "mov $0x4b564d00, %%ecx; 1: wrmsr");
        restore_gate(GP);
        check("#DF", runs, 1);
        check("  its error code", seen_error, 0);
        (void)at;
    }
}

TEST(far_transfers) {
    prepare(event_task);
    word at;
    WITHIN("lcall $0x40, $0xf4f4f4f4\n 1: mov $1b, %%edi", : "=D"(at)::"eax", "ecx", "edx", "esi", "memory", "cc");
    check("CALL, its offset ignored", runs, 1);
    check("  the saved EIP", saved_eip, at);
    finish_event(0x90);
    prepare(back_task);
    WITHIN("ljmp $0x40, $0xf4f4f4f4\n 1: mov $1b, %%edi", : "=D"(at)::"eax", "ecx", "edx", "esi", "memory", "cc");
    check("JMP", runs, 1);
    check("  the saved EIP", saved_eip, at);
    static struct [[gnu::packed]] {
        uint32_t offset;
        uint16_t selector;
    } const pointer{0, other * 8};
    prepare(back_task);
    WITHIN("ljmp *%1\n 1: mov $1b, %%edi",
           : "=D"(at) : "m"(pointer) : "eax", "ecx", "edx", "esi", "memory", "cc");
    check("JMP through memory", runs, 1);
    check("  the saved EIP", saved_eip, at);
    asm volatile("clts");
    // The local breakpoints end, the global ones do not.
    prepare(event_task);
    write_dr7(0x75f);
    WITHIN("lcall $0x40, $0", ::: "eax", "ecx", "edx", "esi", "edi", "memory", "cc");
    check("DR7's local bits are cleared", seen_dr7, 0x60a | 0x400);
    check("  here, too", read_dr7(), 0x60a | 0x400);
    write_dr7(0x400);
    finish_event(0x90);
    // Single steps: TF of each task is its own.
    static unsigned traps;
    traps = 0;
    handlers[DB] = [](Frame&) { ++traps; };
    prepare(event_task);
    WITHIN("pushf; orl $0x100, (%%esp); popf; lcall $0x40, $0; nop; pushf; andl $~0x100, (%%esp); popf",
           ::: "eax", "ecx", "edx", "esi", "edi", "memory", "cc");
    check("single steps around CALL", traps, 4);
    prepare(event_task);
    second.eflags |= tf;
    traps = 0;
    WITHIN("lcall $0x40, $0", ::: "eax", "ecx", "edx", "esi", "edi", "memory", "cc");
    show("single steps in the task", traps);
    handlers[DB] = nullptr;
    finish_event(0x90);
}

TEST(other_tasks) {
    // A virtual-8086 task that meets UD2: back through a task gate.
    auto* low = reinterpret_cast<volatile uint8_t*>(0x42000);
    asm volatile("" : "+r"(low));
    low[0] = 0x0f;
    low[1] = 0x0b;
    prepare(event_task);
    second.eflags = vm | 2;
    second.eip = 0;
    second.cs = 0x4200;
    second.ds = 0x1234, second.es = 0x2345, second.ss = 0x4100, second.esp = 0x100;
    gdt[other] |= 2ull << 40;  // busy: IRET goes there
    const uint32_t link = first().link;
    first().link = other * 8;
    set_gate(UD, static_cast<uint64_t>(own * 8) << 16 | 0x8500ull << 32);
    WITHIN("pushf; orl $0x4000, (%%esp); popf; iret", ::: "eax", "ecx", "edx", "esi", "edi", "memory", "cc");
    finish_event(UD);
    check("a virtual-8086 task and back by #UD", second.eip, 0);
    check("  its flags", second.eflags & (vm | rf), vm | rf);
    check("  its ES", second.es & 0xffff, 0x2345);
    check("  its CS", second.cs & 0xffff, 0x4200);
    check("  the link back", first().link & 0xffff, other * 8);
    first().link = link;
    // Ring 3: by a task's own registers.
    prepare(ring3_task);
    second.cs = 0x1b;
    second.es = second.ss = second.ds = second.fs = second.gs = 0x23;
    second.eflags = 0x3002;
    WITHIN("lcall $0x40, $0", ::: "eax", "ecx", "edx", "esi", "edi", "memory", "cc");
    check("a task in ring 3", runs, 1);
    check("  CS", seen_cs & 0xffff, 0x1b);
    finish_event(0x90);
    gdt[spare] = 0x00cf9f000000ffff;  // conforming code
    prepare(ring3_task);
    second.cs = spare * 8 | 3;
    second.es = second.ss = second.ds = second.fs = second.gs = 0x23;
    WITHIN("lcall $0x40, $0", ::: "eax", "ecx", "edx", "esi", "edi", "memory", "cc");
    check("  with a conforming segment", runs, 1);
    check("  CS", seen_cs & 0xffff, spare * 8 | 3);
    finish_event(0x90);
    // From ring 3, by the gate's privilege level.
    prepare(event_task);
    gate_to_task(0x91, 3);
    check_event("INT in ring 3 of a task gate for it", RING3(2, "int $0x91"), finished);
    check("  it ran", runs, 1);
    gate_to_task(0x91);
    check_event("INT in ring 3 of one for ring 0", RING3(2, "int $0x91"), GP, 0x91 * 8 + 2);
    gdt[9] = static_cast<uint64_t>(other * 8) << 16 | 0xe500ull << 32;
    check_event("CALL in ring 3 of a task gate for it", RING3(2, "lcall $0x4b, $0"), finished);
    gdt[9] = static_cast<uint64_t>(other * 8) << 16 | 0x8500ull << 32;
    check_event("CALL in ring 3 of one for ring 0", RING3(2, "lcall $0x4b, $0"), GP, 0x48);
    check_event("CALL in ring 3 of a TSS for ring 0", RING3(2, "lcall $0x43, $0"), GP, 0x40);
    finish_event(0x91);
    // An LDT of its own.
    local_table[1] = 0x00cf93000000ffff;
    gdt[ldt] = descriptor(here(local_table), sizeof local_table - 1, 0x82);
    prepare(event_task);
    second.ldt = ldt * 8;
    second.fs = 0xc;  // the second entry of it
    WITHIN("lcall $0x40, $0", ::: "eax", "ecx", "edx", "esi", "edi", "memory", "cc");
    check("a task with an LDT", runs, 1);
    check("  LDTR", seen_ldtr & 0xffff, ldt * 8);
    check("  FS", seen_fs & 0xffff, 0xc);
    word ldtr;
    asm volatile("sldt %0" : "=r"(ldtr));
    check("  none here", ldtr & 0xffff, 0);
    finish_event(0x90);
    // A TSS of 16 bits.
    prepare(event_task);
    short_tss = {};
    gdt[code16] = descriptor(reinterpret_cast<word>(task16), 0xffff, 0x9b);
    short_tss.cs = code16 * 8;
    short_tss.ds = short_tss.es = short_tss.ss = 0x10;
    short_tss.sp = 0x8000;
    short_tss.flags = 2;
    gdt[other] = descriptor(here(short_tss), sizeof short_tss - 1, 0x81);
    for (unsigned i = 1; i <= 2; ++i) {
        WITHIN("lcall $0x40, $0", ::: "eax", "ecx", "edx", "esi", "edi", "memory", "cc");
        check("a task with a 16-bit TSS", runs, i);
    }
    check("  its IP is behind the IRET", short_tss.ip, 9);
    check("  the link", short_tss.link, own * 8);
    check("  a selector", short_tss.ss, 0x10);
    gdt[other] = descriptor(here(short_tss), sizeof short_tss - 2, 0x81);
    check_raises("  that is too short", TS, other * 8, [] { asm volatile("lcall $0x40, $0"); });
    finish_event(0x90);
}

// What is wrong with the new task's segments is found by it, after the switch (8.3, table 8-1): its exception switches
// back here through a task gate, with the error code on the stack.
TEST(bad_segments) {
    struct Case {
        const char* name;
        void (*spoil)();
        word error;
    };
    static const Case cases[] = {
        {"SS is null", [] { second.ss = 0; }, 0},
        {"SS is code", [] { second.ss = 8; }, 8},
        {"SS of ring 3", [] { second.ss = 0x23; }, 0x20},
        {"SS beyond the table", [] { second.ss = 0xfff8; }, 0xfff8},
        {"SS is not present", [] { second.ss = spare * 8; }, spare * 8},
        {"CS is null", [] { second.cs = 0; }, 0},
        {"CS is data", [] { second.cs = 0x10; }, 0x10},
        {"DS is not present", [] { second.ds = spare * 8; }, spare * 8},
        {"ES is a TSS", [] { second.es = own * 8; }, own * 8},
        {"FS beyond the table", [] { second.fs = 0xfff8; }, 0xfff8},
        {"GS of an LDT that is not there", [] { second.gs = 0xc; }, 0xc},
        {"LDT is no LDT", [] { second.ldt = 0x10; }, 0x10},
        {"LDT beyond the table", [] { second.ldt = 0xfff8; }, 0xfff8},
    };
    for (const Case& c : cases) {
        gdt[spare] = 0x00cf13000000ffff;
        prepare(event_task);
        c.spoil();
        for (unsigned vector : (const unsigned[3]){TS, NP, SS})
            set_gate(vector, static_cast<uint64_t>(own * 8) << 16 | 0x8500ull << 32);
        word error;
        WITHIN("ljmp $0x40, $0; pop %%edi", : "=D"(error)::"eax", "ecx", "edx", "esi", "memory", "cc");
        for (unsigned vector : (const unsigned[3]){TS, NP, SS}) restore_gate(vector);
        finish_event(TS);
        check(c.name, error, c.error);
        check("  in the new task", second.eip, reinterpret_cast<word>(event_task));
        check("  the link", first().link & 0xffff, other * 8);
    }
    first().link = 0;
}

TEST(under_paging) {
    for (unsigned i = 0; i < 1024; ++i) directories[0][i] = directories[1][i] = i << 22 | 0xe7;
    // The second task has a page of its own at 1 GiB.
    directories[0][0x100] = 0;
    write_cr4(read_cr4() | 1 << 4);
    write_cr3(here(directories[0]));
    write_cr0(read_cr0() | 1u << 31);
    prepare(event_task);
    second.cr3 = here(directories[1]);
    WITHIN("lcall $0x40, $0", ::: "eax", "ecx", "edx", "esi", "edi", "memory", "cc");
    check("a task of another CR3", runs, 1);
    check("  CR3 there", seen_cr3, here(directories[1]));
    check("  CR3 here", read_cr3(), here(directories[0]));
    finish_event(0x90);
    // A page fault through a task gate.
    prepare(error_task, 2);
    second.cr3 = here(directories[1]);
    {
        THROUGH_GATE(PF, "mov $0x40000000, %%ecx; 1: mov %%al, (%%ecx)");
        check("#PF", runs, 1);
        check("  its error code", seen_error, 2);
        check("  the saved EIP", saved_eip, at);
        check("  CR2", read_cr2(), 0x40000000);
        check("  CR3 there", seen_cr3, here(directories[1]));
    }
    // The TSS lies in a page that is not there.
    prepare(event_task);
    gdt[other] = descriptor(0x40000000, sizeof second - 1, 0x89);
    check_raises("a TSS that is not there", PF, 0, [] { asm volatile("lcall $0x40, $0"); });
    check("  CR2's page", last_event.cr2 >> 12, 0x40000);
    write_flags(read_flags() & ~nested);
    gate_to_task(0x90);
    check_raises("  through a gate by INT", PF, 0, [] { asm volatile("int $0x90"); });
    write_flags(read_flags() & ~nested);
    restore_gate(0x90);
    write_cr0(read_cr0() & ~(1u << 31));
    write_cr3(0);
}
