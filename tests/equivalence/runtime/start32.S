// SPDX-License-Identifier: Apache-2.0
// Entry of a 32-bit test image: Multiboot 1, flat segments, paging off, interrupts off.
#include "multiboot.h"

        MULTIBOOT_HEADER

        .section .start, "ax"
        .globl _start
_start: cli
        cld
        mov %eax, boot_magic
        mov %ebx, boot_information
        lgdt gdt_pointer
        ljmp $0x08, $1f
1:      mov $0x10, %eax
        mov %eax, %ds
        mov %eax, %es
        mov %eax, %ss
        mov %eax, %fs
        mov %eax, %gs
        mov $stack_end, %esp
        mov $tss, %eax                  // the descriptor of the TSS takes its address in pieces
        mov %ax, gdt + 0x28 + 2
        shr $16, %eax
        mov %al, gdt + 0x28 + 4
        mov %ah, gdt + 0x28 + 7
        mov $0x28, %eax
        ltr %ax
        call run
        ud2

        .data
        .balign 16
        .globl gdt, tss
gdt:    .quad 0
        .quad 0x00cf9b000000ffff        // 08h code
        .quad 0x00cf93000000ffff        // 10h data
        .quad 0x00cffb000000ffff        // 18h code, DPL 3
        .quad 0x00cff3000000ffff        // 20h data, DPL 3
        .quad 0x0000890000000067        // 28h TSS
        .fill 26, 8, 0                  // for the checks
gdt_end:
        .globl gdt_pointer
gdt_pointer:
        .word gdt_end - gdt - 1
        .long gdt

        .balign 16
tss:    .long 0, kernel_stack_end, 0x10 // link, ESP0, SS0
        .fill 22, 4, 0
        .word 0, 0x68                   // no I/O permission bitmap

        .globl boot_magic, boot_information
boot_magic:
        .long 0
boot_information:
        .long 0

        .bss
        .balign 16
        .skip 16384
stack_end:
        .skip 8192
        .globl kernel_stack_end
kernel_stack_end:                       // what an exception from ring 3 is taken on

        .section .note.GNU-stack, "", @progbits
