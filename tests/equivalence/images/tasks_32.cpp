// SPDX-License-Identifier: Apache-2.0
// Hardware task switches (SDM Vol. 3A, chapter 8): jump, call, return, task gates, and their faults.
#include "runtime.hpp"

extern "C" {
void jumped_task();
void called_task();
void gate_task();
volatile uint32_t runs, seen_tr, seen_cr0, seen_flags, seen_eax, seen_error, seen_esp, seen_ds, seen_cr3;
}
asm(R"(
        .text
        .macro note
        incl runs
        mov %eax, seen_eax
        str %eax
        mov %eax, seen_tr
        mov %cr0, %eax
        mov %eax, seen_cr0
        mov %ds, %eax
        mov %eax, seen_ds
        pushf
        pop seen_flags
        mov %esp, seen_esp
        clts
        .endm
        .globl jumped_task, called_task, gate_task
jumped_task:
        note
        ljmp $0x28, $0
        jmp jumped_task
called_task:
        note
        iret
        jmp called_task
gate_task:                              # with an error code; makes its segment present
        note
        pop seen_error
        orb $0x80, gdt + 0x50 + 5
        iret
        jmp gate_task
)");

namespace {

// SDM Vol. 3A, figure 8-2.
struct Tss {
    uint32_t link, esp0, ss0, esp1, ss1, esp2, ss2, cr3, eip, eflags, eax, ecx, edx, ebx, esp, ebp, esi, edi, es, cs,
        ss, ds, fs, gs, ldt;
    uint16_t trap, bitmap;
};
static_assert(sizeof(Tss) == 0x68);

constexpr unsigned own = 5, other = 8;  // descriptors
constexpr uint32_t nested = 1 << 14, task_switched = 1 << 3;
alignas(16) Tss second;
alignas(16) uint8_t second_stack[1024];

uint64_t descriptor(word base, word limit, unsigned access) {
    return (limit & 0xffff) | static_cast<uint64_t>(base & 0xffffff) << 16 | static_cast<uint64_t>(access) << 40 |
           static_cast<uint64_t>(base >> 24) << 56;
}
bool busy(unsigned index) { return gdt[index] >> 41 & 1; }
Tss& first() { return *reinterpret_cast<Tss*>(tss); }
void prepare(void (*code)()) {
    second = {};
    second.eip = reinterpret_cast<word>(code);
    second.eflags = 2;
    second.eax = 0x12345678;
    second.esp = reinterpret_cast<word>(second_stack + sizeof second_stack);
    second.cs = 8;
    second.es = second.ss = second.ds = second.fs = second.gs = 0x10;
    second.bitmap = 0x68;
    gdt[other] = descriptor(reinterpret_cast<word>(&second), sizeof second - 1, 0x89);
    runs = 0;
}
void jump() {
    asm volatile("push %%ebp; push %%ebx; ljmp $0x40, $0; pop %%ebx; pop %%ebp" ::
                     : "eax", "ecx", "edx", "esi", "edi", "memory", "cc");
}
void call() {
    asm volatile("push %%ebp; push %%ebx; lcall $0x40, $0; pop %%ebx; pop %%ebp" ::
                     : "eax", "ecx", "edx", "esi", "edi", "memory", "cc");
}
void check_call_raises(const char* name, unsigned vector, word error) {
    check_raises(name, vector, error, [] { call(); });
    write_flags(read_flags() & ~nested);
}

}  // namespace

TEST(jumps) {
    prepare(jumped_task);
    jump();
    check("there and back", runs, 1);
    check("  TR", seen_tr, other * 8);
    check("  its EAX", seen_eax, 0x12345678);
    check("  its ESP", seen_esp, reinterpret_cast<word>(second_stack + sizeof second_stack));
    check("  its DS", seen_ds, 0x10);
    check("  CR0.TS is set", seen_cr0 & task_switched, task_switched);
    check("  NT is not", seen_flags & nested, 0);
    check("  no link", second.link, 0);
    check("the other is no longer busy", busy(other), false);
    check("this one is", busy(own), true);
    check("CR0.TS here, too", read_cr0() & task_switched, task_switched);
    asm volatile("clts");
    word tr;
    asm volatile("str %0" : "=r"(tr));
    check("TR is this one", tr & 0xffff, own * 8);
    check("the other's EAX was saved, as it was last", second.eax != 0x12345678);
    jump();
    check("the other goes on where it was", runs, 2);
    asm volatile("clts");
}

TEST(calls) {
    prepare(called_task);
    call();
    check("there and back by IRET", runs, 1);
    check("  NT is set there", seen_flags & nested, nested);
    check("  the link", second.link & 0xffff, own * 8);
    check("  NT is clear here", read_flags() & nested, 0);
    check("  the other's saved flags lack NT", second.eflags & nested, 0);
    check("  busy bits", busy(own) && !busy(other));
    asm volatile("clts");
    call();
    check("again", runs, 2);
    asm volatile("clts");
}

TEST(gates) {
    prepare(called_task);
    gdt[9] = static_cast<uint64_t>(other * 8) << 16 | 0x8500ull << 32;  // 48h: a task gate
    asm volatile("push %%ebp; push %%ebx; lcall $0x48, $0; pop %%ebx; pop %%ebp" ::
                     : "eax", "ecx", "edx", "esi", "edi", "memory", "cc");
    check("a call through a task gate", runs, 1);
    asm volatile("clts");
    set_gate(0x92, static_cast<uint64_t>(other * 8) << 16 | 0x8500ull << 32);
    asm volatile("push %%ebp; push %%ebx; int $0x92; pop %%ebx; pop %%ebp" ::
                     : "eax", "ecx", "edx", "esi", "edi", "memory", "cc");
    check("INT through a task gate", runs, 2);
    asm volatile("clts");
    // A fault through a task gate: the error code is on the new task's stack, and it returns to the fault.
    prepare(gate_task);
    set_gate(NP, static_cast<uint64_t>(other * 8) << 16 | 0x8500ull << 32);
    gdt[10] = 0x00cf130000000000 | 0xffff;  // 50h: not present
    asm volatile("push %%ebp; push %%ebx\n"
                 "mov $0x50, %%eax; mov %%eax, %%es; mov $0x10, %%eax; mov %%eax, %%es\n"
                 "pop %%ebx; pop %%ebp" ::: "eax", "ecx", "edx", "esi", "edi", "memory", "cc");
    check("#NP through a task gate", runs, 1);
    check("  its error code", seen_error, 0x50);
    asm volatile("clts");
    restore_gate(NP);
}

TEST(faults) {
    prepare(called_task);
    gdt[other] &= ~(1ull << 47);
    check_call_raises("a TSS that is not present", NP, other * 8);
    prepare(called_task);
    gdt[other] |= 1ull << 41;
    check_call_raises("a busy TSS", GP, other * 8);
    prepare(called_task);
    gdt[other] = descriptor(reinterpret_cast<word>(&second), 0x66, 0x89);
    check_call_raises("a TSS that is too short", TS, other * 8);
    check("nothing ran", runs, 0);
    check("this one is busy still", busy(own), true);
    check_raises("IRET with NT and no link", TS, 0, [] {
        first().link = 0;
        asm volatile("pushf; orl $0x4000, (%%esp); popf; iret" ::: "memory", "cc");
    });
    write_flags(read_flags() & ~nested);
    check_raises("IRET with NT to a task that is not busy", TS, other * 8, [] {
        prepare(called_task);
        first().link = other * 8;
        asm volatile("pushf; orl $0x4000, (%%esp); popf; iret" ::: "memory", "cc");
    });
    write_flags(read_flags() & ~nested);
    first().link = 0;
}

TEST(debug_trap) {
    prepare(called_task);
    second.trap = 1;
    static word dr6, at;
    handlers[DB] = [](Frame& f) {
        dr6 = read_dr6();
        at = f.ip;
    };
    write_dr6(0xffff0ff0);
    call();
    check("T in the TSS: #DB before the task's first instruction", at, reinterpret_cast<word>(called_task));
    check("  DR6.BT", dr6, 0xffff8ff0);
    asm volatile("clts");
    handlers[DB] = nullptr;
}
