// SPDX-License-Identifier: Apache-2.0
// Real mode and virtual-8086 mode (SDM Vol. 3B, chapter 21), and the ways there and back.
#include "runtime.hpp"

extern "C" {
extern uint8_t blob[], blob_end[];
extern const uint16_t real_interrupt, real_faults, real_unreal, real_steps, real_registers, real_strings;
extern const uint16_t v86_end, v86_cli, v86_pushf, v86_int, v86_int3, v86_hlt, v86_in, v86_cr0, v86_lgdt, v86_lar,
    v86_store, v86_limit, v86_iret, v86_sti_end;
void run_real(unsigned offset);
void run_v86(unsigned offset, word flags);
}

// Code of 16 bits, which is copied to 8000h and runs there as segment 800h. It leaves what it finds at 7000h and up.
asm(R"(
        .text
        .globl run_real, run_v86
run_real:
        mov 4(%esp), %eax
        mov %eax, 0x7ff0
        pusha
        sidt saved_idt
        mov %esp, saved_stack
        lidt real_idt
        ljmp $0x30, $0
back:   mov $0x10, %eax
        mov %eax, %ds
        mov %eax, %es
        mov %eax, %ss
        mov %eax, %fs
        mov %eax, %gs
        mov saved_stack, %esp
        lidt saved_idt
        popa
        ret

run_v86:
        mov 4(%esp), %eax
        mov 8(%esp), %ecx
        or $0x20002, %ecx               # VM
        push $0                         # GS, FS, DS, ES
        push $0
        push $0
        push $0
        push $0                         # SS, ESP
        push $0x7c00
        push %ecx
        push $0x800
        push %eax
        iret

        .globl blob, blob_end
        .code16
blob:   mov $0x38, %ax                  # limits as of real mode
        mov %ax, %ds
        mov %ax, %es
        mov %ax, %ss
        mov %ax, %fs
        mov %ax, %gs
        mov %cr0, %eax
        and $0xfe, %al
        mov %eax, %cr0
        ljmp $0x800, $(1f - blob)
1:      xor %ax, %ax
        mov %ax, %ds
        mov %ax, %es
        mov %ax, %ss
        mov $0x7c00, %sp
        call *0x7ff0
        cli
        mov %cr0, %eax
        or $1, %al
        mov %eax, %cr0
        ljmpl $0x08, $back

interrupt_40:
        incw 0x7000
        push %bp
        mov %sp, %bp
        mov 4(%bp), %ax                 # CS
        mov %ax, 0x7002
        mov 6(%bp), %ax                 # FLAGS
        mov %ax, 0x7004
        pushf
        pop 0x7006
        pop %bp
        iret
in_interrupt:
        movw $(interrupt_40 - blob), 0x40 * 4
        movw $0x800, 0x40 * 4 + 2
        sti
        int $0x40
        pushf
        pop 0x7008
        cli
        ret

skip_2: incw 0x7000                     # a fault whose instruction has 2 bytes
        push %bp
        mov %sp, %bp
        addw $2, 2(%bp)
        pop %bp
        iret
skip_3: incw 0x7002
        push %bp
        mov %sp, %bp
        addw $3, 2(%bp)
        pop %bp
        iret
counted:
        incw 0x7004
        iret
in_faults:
        movw $(skip_2 - blob), 0 * 4
        movw $0x800, 0 * 4 + 2
        movw $(skip_2 - blob), 6 * 4
        movw $0x800, 6 * 4 + 2
        movw $(skip_3 - blob), 13 * 4
        movw $0x800, 13 * 4 + 2
        movw $(counted - blob), 3 * 4
        movw $0x800, 3 * 4 + 2
        movw $(counted - blob), 4 * 4
        movw $0x800, 4 * 4 + 2
        xor %bl, %bl
        div %bl
        ud2
        mov 0xffff, %ax                 # a word across the limit
        int3
        mov $0x7f, %al
        inc %al
        into
        ret

in_unreal:                              # a limit survives the way back to real mode
        cli
        lgdtl unreal_gdt_pointer - blob + 0x8000
        mov %cr0, %eax
        or $1, %al
        mov %eax, %cr0
        mov $8, %bx
        mov %bx, %fs
        and $0xfe, %al
        mov %eax, %cr0
        xor %bx, %bx
        mov $0x200000, %ebx
        movl %fs:(%ebx), %eax
        mov %eax, 0x7000
        movw $0x700, %ax
        mov %ax, %fs                    # the base is the new one, the limit the old
        mov $0x1f9000, %ebx
        movl %fs:(%ebx), %eax
        mov %eax, 0x7004
        mov $(gdt_pointer - 0x7000), %ebx
        lgdtl %fs:(%ebx)
        ret
unreal_gdt:
        .quad 0, 0x00cf93000000ffff
unreal_gdt_pointer:
        .word 15
        .long unreal_gdt - blob + 0x8000

step:   incw 0x7000
        iret
in_steps:
        movw $(step - blob), 1 * 4
        movw $0x800, 1 * 4 + 2
        pushf
        pop %ax
        or $0x100, %ax
        push %ax
        popf
        nop
        xor %eax, %eax
        cpuid
        pushf
        pop %ax
        and $0xfeff, %ax
        push %ax
        popf
        ret

in_registers:
        xor %eax, %eax
        cpuid
        mov %ebx, 0x7000
        mov $0x277, %ecx
        rdmsr
        mov %eax, 0x7004
        smsw %ax
        mov %ax, 0x7008
        mov $0xffff0123, %eax
        mov %ax, %ds
        mov %ds, %bx
        xor %cx, %cx
        mov %cx, %ds
        mov %bx, 0x700a
        mov %cr0, %eax
        mov %eax, 0x700c
        ret

in_strings:
        movl $0x11223344, 0x7010
        movl $0x55667788, 0x7014
        mov $0x7010, %si
        mov $0x80, %dx
        mov $8, %cx
        cld
        rep outsb
        mov %si, 0x7000
        mov $0x7010, %esi
        mov $0x7020, %edi
        mov $2, %ecx
        addr32 rep movsl
        mov 0x7024, %eax
        mov %eax, 0x7004
        mov $0x7020, %di
        mov $0x61, %dx
        mov $2, %cx
        rep insb
        mov %di, 0x7008
        ret

at_end:         int $0x80
at_cli:         cli
                int $0x80
at_sti_end:     sti
                cli
                int $0x80
at_pushf:       pushf
                int $0x80
at_int:         int $0x40
at_int3:        int3
at_hlt:         hlt
at_in:          in $0x80, %al
                int $0x80
at_cr0:         mov %cr0, %eax
at_lgdt:        lgdtl 0x7000
at_lar:         lar %ax, %bx
at_store:       mov $0x700, %ax
                mov %ax, %ds
                movw $0x1234, 0x20
                int $0x80
at_limit:       mov 0xffff, %ax
at_iret:        pushf
                push $0x800
                push $(1f - blob)
                iret
                ud2
1:              int $0x80
blob_end:

        .macro offset_of name, label
        .globl \name
\name:  .word \label - blob
        .endm
        .section .rodata
        offset_of real_interrupt, in_interrupt
        offset_of real_faults, in_faults
        offset_of real_unreal, in_unreal
        offset_of real_steps, in_steps
        offset_of real_registers, in_registers
        offset_of real_strings, in_strings
        offset_of v86_end, at_end
        offset_of v86_cli, at_cli
        offset_of v86_sti_end, at_sti_end
        offset_of v86_pushf, at_pushf
        offset_of v86_int, at_int
        offset_of v86_int3, at_int3
        offset_of v86_hlt, at_hlt
        offset_of v86_in, at_in
        offset_of v86_cr0, at_cr0
        offset_of v86_lgdt, at_lgdt
        offset_of v86_lar, at_lar
        offset_of v86_store, at_store
        offset_of v86_limit, at_limit
        offset_of v86_iret, at_iret
real_idt:
        .word 0x3ff
        .long 0
        .data
        .balign 4
saved_stack:
        .long 0
saved_idt:
        .skip 8
        .text
        .code32
)");

namespace {

constexpr unsigned finished = 0x80;
constexpr word vm = 1 << 17, iopl3 = 3 << 12;

uint8_t* low(word address) {
    asm("" : "+r"(address));  // an address that the compiler need not fear to be null
    return reinterpret_cast<uint8_t*>(address);
}
uint32_t found(unsigned offset) { return *reinterpret_cast<volatile uint32_t*>(low(0x7000 + offset)); }
uint16_t found16(unsigned offset) { return *reinterpret_cast<volatile uint16_t*>(low(0x7000 + offset)); }

void real(uint16_t offset) {
    for (unsigned i = 0; i < 64; ++i) low(0x7000)[i] = 0;
    run_real(offset);
}
Event v86(uint16_t offset, word flags) {
    return events_of([=] { run_v86(offset, flags); });
}
void check_v86(const char* name, uint16_t offset, word flags, unsigned vector) {
    const Event e = v86(offset, flags);
    check(name, static_cast<uint64_t>(e.vector) << 32 | (vector == finished ? 0 : e.error),
          static_cast<uint64_t>(vector) << 32);
}

}  // namespace

TEST(preparation) {
    for (unsigned i = 0; blob + i < blob_end; ++i) low(0x8000)[i] = blob[i];
    gdt[6] = 0x00009b008000ffff;  // 30h: code of 16 bits at 8000h
    gdt[7] = 0x000093000000ffff;  // 38h: data of 16 bits
    check("the code is in low memory", low(0x8000)[0], blob[0]);
}

TEST(interrupts_in_real_mode) {
    real(real_interrupt);
    check("INT 40h comes by the vector table", found16(0), 1);
    check("  CS on the stack", found16(2), 0x800);
    check("  IF on the stack", found16(4) & 0x200, 0x200);
    check("  IF cleared in the handler", found16(6) & 0x200, 0);
    check("  IF set again after IRET", found16(8) & 0x200, 0x200);
    check("protected mode again", read_cr0() & 1, 1);
}

TEST(faults_in_real_mode) {
    real(real_faults);
    check("#DE and #UD", found16(0), 2);
    check("#GP by the limit", found16(2), 1);
    check("INT3 and INTO", found16(4), 2);
}

TEST(limits_that_survive) {
    real(real_unreal);
    const uint32_t here = *reinterpret_cast<volatile uint32_t*>(low(0x200000));
    check("4 GiB through FS in real mode", found(0), here);
    check("with a new base", found(4), here);
}

TEST(stepping_in_real_mode) {
    real(real_steps);
    check("traps, CPUID included", found16(0), 8);
}

TEST(registers_in_real_mode) {
    real(real_registers);
    check("CPUID", found(0), 0x756e6547);
    check("RDMSR", found(4), 0x00070406);
    check("SMSW: PE is clear", found16(8) & 1, 0);
    check("a segment register has 16 bits", found16(0xa), 0x123);
    check("CR0: PE is clear", found(0xc) & 1, 0);
}

TEST(strings_in_real_mode) {
    real(real_strings);
    check("REP OUTSB moves SI", found16(0), 0x7018);
    check("REP MOVSL of 32-bit addresses", found(4), 0x55667788);
    check("REP INSB moves DI", found16(8), 0x7022);
}

TEST(virtual_8086) {
    check_v86("comes to its end", v86_end, iopl3, finished);
    check_v86("INT n with IOPL 0", v86_end, 0, GP);
    check_v86("CLI with IOPL 3", v86_cli, iopl3, finished);
    check_v86("CLI with IOPL 0", v86_cli, 0, GP);
    check_v86("STI with IOPL 3", v86_sti_end, iopl3, finished);
    check_v86("PUSHF with IOPL 0", v86_pushf, 0, GP);
    check_v86("PUSHF with IOPL 3", v86_pushf, iopl3, finished);
    check_v86("INT3 with IOPL 0", v86_int3, 0, BP);
    check_v86("HLT", v86_hlt, iopl3, GP);
    check_v86("IN with IOPL 3 and no bitmap", v86_in, iopl3, GP);
    check_v86("MOV from CR0", v86_cr0, iopl3, GP);
    check_v86("LGDT", v86_lgdt, iopl3, GP);
    check_v86("LAR", v86_lar, iopl3, UD);
    check_v86("a word across the limit", v86_limit, iopl3, GP);
    check_v86("IRET with IOPL 3", v86_iret, iopl3, finished);
    check_v86("IRET with IOPL 0", v86_iret, 0, GP);
    *low(0x7020) = 0;
    check_v86("a store by its segment", v86_store, iopl3, finished);
    check("  went there", found16(0x20), 0x1234);
    static word flags, cs;
    handlers[0x80] = [](Frame& f) {
        flags = f.flags;
        cs = f.cs;
        handlers[0x80] = nullptr;
        f.ip = v86_end;  // once more, to its end
    };
    v86(v86_end, iopl3);
    check("the saved flags have VM", flags & vm, vm);
    check("the saved CS", cs & 0xffff, 0x800);
}
