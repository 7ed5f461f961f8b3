// SPDX-License-Identifier: Apache-2.0
// An instruction in real mode that faults. real_mode_fault() goes there and comes back with the vector whose handler ran,
// or FFh: none did. What the hypervisor raises must come without an error code there.

        .set low, 0x8000
#define LOW(label) (label - copied + low)

        .text
        .globl real_mode_fault
real_mode_fault:
        pusha
        movl $copied, %esi              // where real mode reaches it
        movl $low, %edi
        movl $copied_end - copied, %ecx
        rep movsb
        movl %esp, LOW(saved)
        sgdt LOW(saved_gdt)
        sidt LOW(saved_idt)
        movl %cr0, %eax
        movl %eax, LOW(saved_cr0)
        lgdt LOW(small_gdt)
        ljmp $8, $LOW(in_16_bits)

        .globl real_mode_returned
real_mode_returned:
        movl LOW(saved), %esp
        lgdt LOW(saved_gdt)
        lidt LOW(saved_idt)
        ljmp $8, $1f
1:      movl $0x10, %eax
        movl %eax, %ds
        movl %eax, %es
        movl %eax, %ss
        movl %eax, %fs
        movl %eax, %gs
        movzbl LOW(result), %eax
        movl %eax, 28(%esp)             // EAX of the POPA
        popa
        ret

        .section .rodata
copied:
        .code16
in_16_bits:
        movw $0x10, %ax
        movw %ax, %ds
        movw %ax, %es
        movw %ax, %ss
        movl %cr0, %eax
        andl $0x7ffffffe, %eax
        movl %eax, %cr0
        ljmp $0, $LOW(real)
real:   xorw %ax, %ax
        movw %ax, %ds
        movw %ax, %es
        movw %ax, %ss
        movw $low, %sp
        lidt LOW(real_idt)
        movw $LOW(fault), LOW(vectors) + 4 * 13
        movw $LOW(other), LOW(vectors) + 4 * 6
        movb $0xff, LOW(result)
        movl $0xdeadbeef, %ecx
absent: rdmsr                           // there is no such MSR
        jmp back
fault:  movb $13, LOW(result)
        popw %ax                        // IP of the instruction, with no error code before it
        cmpw $LOW(absent), %ax
        je back
        movb $0xfe, LOW(result)
        jmp back
other:  movb $6, LOW(result)
back:   movw $low, %sp
        movl LOW(saved_cr0), %eax
        movl %eax, %cr0
        ljmpl $0x18, $LOW(in_32_bits)
        .code32
in_32_bits:
        movl $0x20, %eax
        movl %eax, %ds
        movl %eax, %es
        movl %eax, %ss
        movl $real_mode_returned, %eax
        jmp *%eax

        .balign 8
gdt_16: .quad 0, 0x00009b000000ffff, 0x000093000000ffff, 0x00cf9b000000ffff, 0x00cf93000000ffff
small_gdt:
        .word small_gdt - gdt_16 - 1
        .long LOW(gdt_16)
real_idt:
        .word 4 * 32 - 1
        .long LOW(vectors)
saved:  .long 0
saved_cr0:
        .long 0
saved_gdt:
        .word 0
        .long 0
saved_idt:
        .word 0
        .long 0
result: .byte 0
        .balign 4
vectors:
        .fill 64, 2, 0
copied_end:

        .section .note.GNU-stack, "", @progbits
