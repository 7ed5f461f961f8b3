// SPDX-License-Identifier: Apache-2.0
// Instructions one by one (SDM Vol. 2): what they do with memory that is not there, or whose address is not canonical,
// where they are refused; far transfers of long mode through call gates and between 64-bit and compatibility mode.
#include "interrupts.hpp"
#include "rings.hpp"

extern "C" {
extern uint64_t page_directories[];
extern uint8_t kernel_stack_end[];
extern uint8_t gate_target[], compatible[], compatible_end[];
uint64_t seen_cs, seen_ss, seen_rsp, seen_rip, seen_rax;
alignas(64) uint8_t data[256];
}
asm(R"(
        .text
        .globl gate_target, compatible
gate_target:
        mov %cs, seen_cs
        mov %ss, seen_ss
        mov %rsp, seen_rsp
        mov (%rsp), %rax
        mov %rax, seen_rip
        lretq
        .code32
compatible:                             # in 32 bits: PUSH of 4 bytes, and back by a far jump
        mov %esp, %eax
        push %eax
        sub %esp, %eax
        mov %eax, seen_rax
        pop %edx
        inc %ecx
        ljmp $0x08, $1f
        .code64
1:      ret
)");

namespace {

constexpr word nothing = 0x60000000, window = 0x40000000, not_canonical = 1ul << 47;
constexpr word cr4_pce = 1 << 8;
alignas(4096) uint64_t table[512];

void map(uint64_t entry) {
    page_directories[window >> 21] = reinterpret_cast<word>(table) | 7;
    table[0] = entry;
    asm volatile("invlpg (%0)" ::"r"(window) : "memory");
}
uint64_t descriptor_of_gate(word target, unsigned selector, unsigned access) {
    return (target & 0xffff) | static_cast<uint64_t>(selector) << 16 | static_cast<uint64_t>(access) << 40 |
           (target >> 16 & 0xffff) << 48;
}

}  // namespace

// What an instruction with its operand at RSI does for each kind of address: the vectors, four in a row.
#define EVERYWHERE(name, text)                                                                                   \
    do {                                                                                                         \
        uint64_t seen = 0;                                                                                       \
        map(0);                                                                                                  \
        for (word address : (const word[4]){reinterpret_cast<word>(data), nothing, window, not_canonical})       \
            seen = seen << 16 | events_of([=] {                                                                  \
                       asm volatile(text ::"S"(address), "a"(0), "d"(0), "c"(0) : "rbx", "rdi", "memory", "cc"); \
                   }).vector;                                                                                    \
        show(name, seen);                                                                                        \
    } while (false)
// What it leaves in RAX where there is nothing.
#define OF_NOTHING(name, text, initial)                                                                   \
    do {                                                                                                  \
        word a = initial, d = initial, c = initial, flags;                                                \
        asm volatile("push $2; popf; " text "; pushf; pop %0"                                             \
                     : "=r"(flags), "+a"(a), "+d"(d), "+c"(c) : "S"(nothing), "D"(nothing + 0x100)        \
                     : "rbx", "r8", "memory", "cc");                                                      \
        show(name, a);                                                                                    \
        if (d != initial) show("  RDX", d);                                                               \
        if (c != initial) show("  RCX", c);                                                               \
        show("  flags", flags & 0xcd5);                                                                   \
    } while (false)

TEST(addresses) {
    if (cpuid(1).d >> 19 & 1) EVERYWHERE("CLFLUSH", "clflush (%%rsi)");
    if (cpuid(7).b >> 23 & 1) EVERYWHERE("CLFLUSHOPT", "clflushopt (%%rsi)");
    if (cpuid(7).b >> 24 & 1) EVERYWHERE("CLWB", "clwb (%%rsi)");
    EVERYWHERE("PREFETCHT0", "prefetcht0 (%%rsi)");
    EVERYWHERE("PREFETCHW", "prefetchw (%%rsi)");
    EVERYWHERE("INVLPG", "invlpg (%%rsi)");
    EVERYWHERE("a long NOP", "nopl (%%rsi)");
    EVERYWHERE("LEA", "lea (%%rsi), %%rax");
    EVERYWHERE("REP LODSB of none", "rep lodsb");
    EVERYWHERE("SLDT", "sldt (%%rsi)");
    EVERYWHERE("STR", "str (%%rsi)");
    EVERYWHERE("SMSW", "smsw (%%rsi)");
    EVERYWHERE("CMPXCHG8B", "lock cmpxchg8b (%%rsi)");
    EVERYWHERE("CMPXCHG16B", "lock cmpxchg16b (%%rsi)");
    EVERYWHERE("CMPXCHG16B that is not aligned", "cmpxchg16b 8(%%rsi)");
    EVERYWHERE("PUSH", "push (%%rsi); pop %%rbx");
    EVERYWHERE("POP", "push $0; pop (%%rsi)");
    EVERYWHERE("BTS", "lock btsl $3, (%%rsi)");
    EVERYWHERE("XADD", "lock xadd %%eax, (%%rsi)");
    EVERYWHERE("MOVNTI", "movnti %%rax, (%%rsi)");
    EVERYWHERE("MOVDQU", "movdqu %%xmm0, (%%rsi)");
    EVERYWHERE("MOVAPS", "movaps (%%rsi), %%xmm0");
    EVERYWHERE("MOVAPS that is not aligned", "movaps 8(%%rsi), %%xmm0");
    if (cpuid(1).c >> 22 & 1) EVERYWHERE("MOVBE", "movbe (%%rsi), %%eax");
    const word cr0 = read_cr0();
    EVERYWHERE("LMSW", "movl $0x33, data; lmsw (%%rsi)");
    write_cr0(cr0);
    EVERYWHERE("INSB", "mov $0x80, %%edx; mov %%rsi, %%rdi; insb");
    EVERYWHERE("OUTSB", "mov $0x80, %%edx; outsb");
    EVERYWHERE("MOV to SS", "movl $0x10, data; mov (%%rsi), %%ss");
    asm volatile("mov %0, %%ss" ::"r"(0x10));
}

TEST(memory_of_nothing) {
    OF_NOTHING("MOV", "mov (%%rsi), %%rax", 0ul);
    OF_NOTHING("MOVZX", "movzbl (%%rsi), %%eax", 0ul);
    OF_NOTHING("MOVSX", "movswq (%%rsi), %%rax", 0ul);
    OF_NOTHING("MOVSXD", "movslq (%%rsi), %%rax", 0ul);
    OF_NOTHING("ADD", "add (%%rsi), %%rax", 1ul);
    OF_NOTHING("SUB", "subl (%%rsi), %%eax", 1ul);
    OF_NOTHING("ADC", "adcw (%%rsi), %%ax", 0x8000ul);
    OF_NOTHING("CMP", "cmpb (%%rsi), %%al", 0x7ful);
    OF_NOTHING("TEST", "testl $0x80000000, (%%rsi)", 0ul);
    OF_NOTHING("INC", "incl (%%rsi)", 0ul);
    OF_NOTHING("NEG", "negb (%%rsi)", 0ul);
    OF_NOTHING("NOT", "notq (%%rsi)", 0ul);
    OF_NOTHING("ROL", "roll $4, (%%rsi)", 0ul);
    OF_NOTHING("SHR", "shrb %%cl, (%%rsi)", 3ul);
    OF_NOTHING("SHLD", "shld $4, %%eax, (%%rsi)", 0x1234ul);
    OF_NOTHING("MUL", "mull (%%rsi)", 2ul);
    OF_NOTHING("IMUL", "imul (%%rsi), %%rax", 3ul);
    OF_NOTHING("IMUL by a number", "imul $7, (%%rsi), %%eax", 0ul);
    OF_NOTHING("DIV", "mov $0, %%edx; divl (%%rsi)", 5ul);
    OF_NOTHING("IDIV", "mov $0, %%edx; idivl (%%rsi)", 5ul);
    OF_NOTHING("XCHG", "xchg %%eax, (%%rsi)", 0x12345678ul);
    OF_NOTHING("XADD", "xadd %%rax, (%%rsi)", 1ul);
    OF_NOTHING("CMPXCHG", "lock cmpxchg %%ecx, (%%rsi)", 5ul);
    OF_NOTHING("CMPXCHG8B", "xor %%ebx, %%ebx; lock cmpxchg8b (%%rsi)", 5ul);
    OF_NOTHING("CMPXCHG16B", "xor %%ebx, %%ebx; lock cmpxchg16b (%%rsi)", 5ul);
    OF_NOTHING("BT", "bt %%eax, (%%rsi)", 5ul);
    OF_NOTHING("BTR", "lock btrq %%rax, (%%rsi)", 70ul);
    OF_NOTHING("BSF", "bsf (%%rsi), %%rax", 0ul);
    OF_NOTHING("BSR", "bsr (%%rsi), %%eax", 0ul);
    OF_NOTHING("CMOVC", "stc; cmovc (%%rsi), %%rax", 0ul);
    OF_NOTHING("CMOVNC", "stc; cmovnc (%%rsi), %%eax", 0x123456789ul);
    OF_NOTHING("SETC", "stc; setc (%%rsi)", 0ul);
    OF_NOTHING("PUSH and POP", "push (%%rsi); pop %%rax", 0ul);
    OF_NOTHING("LODSQ", "push %%rsi; lodsq; pop %%rsi", 0ul);
    OF_NOTHING("SCASB", "push %%rdi; mov $4, %%ecx; repe scasb; pop %%rdi", 0xfful);
    OF_NOTHING("REPNE SCASB", "push %%rdi; mov $40, %%ecx; repne scasb; pop %%rdi", 0x5aul);
    OF_NOTHING("REPE CMPSL", "push %%rsi; push %%rdi; mov $9, %%ecx; repe cmpsl; pop %%rdi; pop %%rsi", 0ul);
    OF_NOTHING("XLAT", "mov %%rsi, %%rbx; xlat", 3ul);
    OF_NOTHING("MOVDQU", "movdqu (%%rsi), %%xmm0; movq %%xmm0, %%rax", 0ul);
    OF_NOTHING("MOVQ", "movq (%%rsi), %%xmm0; movq %%xmm0, %%rax", 0ul);
    OF_NOTHING("MOVD", "movd (%%rsi), %%xmm0; movq %%xmm0, %%rax", 0ul);
    OF_NOTHING("MOVHPS", "xorps %%xmm0, %%xmm0; movhps (%%rsi), %%xmm0; movq %%xmm0, %%rax", 0ul);
    if (cpuid(1).c >> 22 & 1) OF_NOTHING("MOVBE", "movbe (%%rsi), %%ax", 0ul);
    if (cpuid(1).c >> 23 & 1) OF_NOTHING("POPCNT", "popcnt (%%rsi), %%rax", 0ul);
}

TEST(refused) {
    if (!(cpuid(7).b >> 10 & 1)) {
        skip("INVPCID", "not there");
    } else {
        static uint64_t descriptor[2];
        const auto invpcid = [](word type, uint64_t low, uint64_t high) {
            descriptor[0] = low, descriptor[1] = high;
            return events_of([=] { asm volatile("invpcid descriptor_of_pcid, %0" ::"r"(type) : "memory"); }).vector;
        };
        asm volatile(".set descriptor_of_pcid, %c0" ::"i"(descriptor));
        check("INVPCID, all", invpcid(2, 0, 0), no_event);
        check("INVPCID, an address", invpcid(0, 0, nothing), no_event);
        check("INVPCID of type 4", invpcid(4, 0, 0), GP);
        check("INVPCID, a reserved bit", invpcid(2, 1 << 12, 0), GP);
        check("INVPCID of a PCID without CR4.PCIDE", invpcid(1, 1, 0), GP);
        check("INVPCID, an address that is not canonical", invpcid(0, 0, not_canonical), GP);
    }
    static struct [[gnu::packed]] {
        uint16_t limit;
        word base;
    } bad{0xfff, not_canonical};
    check_raises("LGDT of a base that is not canonical", GP, 0, [] { asm volatile("lgdt %0" ::"m"(bad)); });
    check_raises("LIDT of one", GP, 0, [] { asm volatile("lidt %0" ::"m"(bad)); });
    check_raises("LTR of data", GP, 0x10, [] { asm volatile("ltr %w0" ::"r"(0x10)); });
    check_raises("LTR of null", GP, 0, [] { asm volatile("ltr %w0" ::"r"(0)); });
    check_quiet("LLDT of null", [] { asm volatile("lldt %w0" ::"r"(0)); });
    // RDRAND and RDSEED always have one here.
    if (cpuid(1).c >> 30 & 1) {
        word a, b;
        uint8_t carry;
        asm volatile("rdrand %0; setc %2; rdrand %1" : "=r"(a), "=r"(b), "=q"(carry)::"cc");
        check("RDRAND", carry && a != b);
    }
    if (cpuid(7).b >> 18 & 1) {
        word a, b;
        uint8_t carry;
        asm volatile("rdseed %0; setc %2; rdseed %1" : "=r"(a), "=r"(b), "=q"(carry)::"cc");
        check("RDSEED", carry && a != b);
    }
    const auto in_ring3 = [](const Event& e) { return e.vector; };
    for (unsigned i = 0; i < 4; ++i) page_directories[i] |= 4;
    asm volatile("mov %%cr3, %%rax; mov %%rax, %%cr3" ::: "rax", "memory");
    write_cr4(read_cr4() & ~cr4_pce);
    check("RDPMC in ring 3 without CR4.PCE", in_ring3(RING3(2, "xor %%ecx, %%ecx; rdpmc")), GP);
    show("RDPMC of a counter that there is not", events_of([] {
             asm volatile("rdpmc" ::"c"(0x12345) : "rax", "rdx");
         }).vector);
    check_quiet("CR4.PCE", [] { write_cr4(read_cr4() | cr4_pce); });
    check("  reads back", read_cr4() & cr4_pce, cr4_pce);
    write_cr4(read_cr4() & ~cr4_pce);
    check("CLFLUSH in ring 3 of the supervisor's page", in_ring3(RING3(2, "clflush 0x1000000")), PF);
    check("PREFETCH of it", in_ring3(RING3(2, "prefetcht0 0x1000000")), finished);
    check("a byte of the local APIC in ring 3", in_ring3(RING3(2, "mov $0xfee00020, %%eax; movb (%%rax), %%al")), PF);
}

TEST(call_gates) {
    const word target = reinterpret_cast<word>(gate_target);
    constexpr unsigned gate = 10;  // 50h, two entries
    gdt[gate] = descriptor_of_gate(target, 8, 0xec);
    gdt[gate + 1] = target >> 32;
    asm volatile("movq %0, tss + 4" ::"r"(reinterpret_cast<word>(kernel_stack_end)) : "memory");
    static struct [[gnu::packed]] {
        uint64_t offset;
        uint16_t selector;
    } far{0x123456789, gate * 8};
    asm volatile("rex.w lcall *%0" ::"m"(far) : "rax", "memory");
    check("a call gate, ring 0", seen_cs & 0xffff, 8);
    asm volatile(".set far_pointer, %c0" ::"i"(&far));
    check_event("from ring 3", RING3(2, "rex.w lcall *far_pointer; mov %%cs, %%eax"), finished);
    check("  CS", seen_cs & 0xffff, 8);
    check("  SS is null", seen_ss & 0xffff, 0);
    check("  the stack of the TSS", seen_rsp, reinterpret_cast<word>(kernel_stack_end) - 32);
    gdt[gate] = descriptor_of_gate(target, 8, 0x8c);
    check_event("a gate for ring 0, from ring 3", RING3(2, "rex.w lcall *far_pointer"), GP, gate * 8);
    gdt[gate] = descriptor_of_gate(target, 8, 0x6c);
    check_event("one that is not present", RING3(2, "rex.w lcall *far_pointer"), NP, gate * 8);
    gdt[gate] = descriptor_of_gate(target, 0x10, 0xec);
    check_event("one to data", RING3(2, "rex.w lcall *far_pointer"), GP, 0x10);
    gdt[gate] = descriptor_of_gate(target, 0x40, 0xec);
    check_event("one to compatibility mode", RING3(2, "rex.w lcall *far_pointer"), GP, 0x40);
    gdt[gate] = descriptor_of_gate(target, 8, 0xec);
    gdt[gate + 1] = target >> 32 | 5ull << 40;
    check_event("one whose second half has a type", RING3(2, "rex.w lcall *far_pointer"), GP, gate * 8);
    gdt[gate + 1] = not_canonical >> 32;
    check_event("one to what is not canonical", RING3(2, "rex.w lcall *far_pointer"), GP);
    gdt[gate] = descriptor_of_gate(target, 8, 0xe4);
    gdt[gate + 1] = 0;
    check_event("a 16-bit gate", RING3(2, "rex.w lcall *far_pointer"), GP, gate * 8);
    gdt[gate] = 0x0000e50000300000;
    check_event("a task gate", RING3(2, "rex.w lcall *far_pointer"), GP, gate * 8);
    check_raises("a TSS", GP, 0x30, [] {
        static struct [[gnu::packed]] {
            uint64_t offset;
            uint16_t selector;
        } const to_tss{0, 0x30};
        asm volatile("rex.w lcall *%0" ::"m"(to_tss));
    });
    check_raises("INT of a task gate", GP, 0x90 * 8 + 2, [] {
        set_gate(0x90, 0x0000850000300000);
        asm volatile("int $0x90");
    });
    check_raises("INT of a 32-bit interrupt gate's type", GP, 0x90 * 8 + 2, [] {
        set_gate(0x90, 0x0000860000080000);
        asm volatile("int $0x90");
    });
    restore_gate(0x90);
}

TEST(modes) {
    // To compatibility mode of ring 0 by a far return, and back by a far jump.
    word c = 41;
    seen_rax = 0;
    asm volatile("call 1f; jmp 2f\n 1: push $0x40; push $compatible; lretq\n 2:"
                 : "+c"(c)::"rax", "rdx", "memory", "cc");
    check("compatibility mode and back", c, 42);
    check("  PUSH of four bytes", seen_rax & 0xffffffff, 4);
    c = 1;
    asm volatile("call 1f; jmp 2f\n 1: mov %%rsp, %%rax; push $0x10; push %%rax; pushf; push $0x40; push $compatible\n"
                 "iretq\n 2:" : "+c"(c)::"rax", "rdx", "memory", "cc");
    check("by IRET", c, 2);
    check_raises("a far jump by an offset of 16 bits beyond the limit", GP, 0, [] {
        gdt[12] = 0x00409b000000ffff;  // 60h: 64 KiB of 32-bit code
        asm volatile("push $0x60; push $0x20000; lretq");
    });
    // Segments in 64-bit mode.
    check_quiet("a null DS in use", [] {
        asm volatile("mov %0, %%ds; movb data, %%al; mov %1, %%ds" ::"r"(0), "r"(0x10) : "rax");
    });
    check_quiet("a null SS of ring 0", [] {
        asm volatile("mov %0, %%ss; push $0; pop %%rax; mov %1, %%ss" ::"r"(0), "r"(0x10) : "rax");
    });
    write_msr(0xc0000101, reinterpret_cast<word>(data));
    data[16] = 0x77;
    uint8_t value;
    asm volatile("movb %%gs:16, %0" : "=q"(value));
    check("GS has its base", value, 0x77);
    asm volatile("mov %0, %%gs" ::"r"(0x10));
    check("MOV to GS loads the base of the descriptor", read_msr(0xc0000101), 0);
    write_msr(0xc0000101, reinterpret_cast<word>(data));
    asm volatile("mov %0, %%gs" ::"r"(0));
    show("a null selector in GS: the base", read_msr(0xc0000101) ? 1 : 0);
    write_msr(0xc0000101, 0);
}
