// SPDX-License-Identifier: Apache-2.0
// Entry of a 64-bit test image: Multiboot 1, then long mode with the first 4 GiB mapped one to one by 2 MiB pages,
// flat segments, interrupts off.
#include "multiboot.h"

        MULTIBOOT_HEADER

        .section .start, "ax"
        .code32
        .globl _start
_start: cli
        cld
        mov %eax, boot_magic
        mov %ebx, boot_information

        movl $(page_directories + 0x7), pdpt
        movl $(page_directories + 0x1007), pdpt + 8
        movl $(page_directories + 0x2007), pdpt + 16
        movl $(page_directories + 0x3007), pdpt + 24
        movl $(pdpt + 0x7), pml4
        xor %ecx, %ecx
1:      mov %ecx, %eax
        shl $21, %eax
        or $0x83, %eax                  // present, writable, large; user only where a check says so
        mov %eax, page_directories(, %ecx, 8)
        inc %ecx
        cmp $2048, %ecx
        jb 1b

        mov %cr4, %eax
        or $0x620, %eax                 // PAE, OSFXSR, OSXMMEXCPT
        mov %eax, %cr4
        mov $pml4, %eax
        mov %eax, %cr3
        mov $0xc0000080, %ecx
        rdmsr
        or $0x100, %eax                 // EFER.LME
        wrmsr
        mov %cr0, %eax
        and $~0xe, %eax                 // MP, EM, TS
        or $0x80000022, %eax            // PG, NE, MP
        mov %eax, %cr0
        lgdt gdt_pointer
        ljmp $0x08, $2f
        .code64
2:      mov $0x10, %eax
        mov %eax, %ds
        mov %eax, %es
        mov %eax, %ss
        xor %eax, %eax
        mov %eax, %fs
        mov %eax, %gs
        mov $stack_end, %rsp
        mov $tss, %eax                  // the descriptor of the TSS takes its address in pieces
        mov %ax, gdt + 0x30 + 2
        shr $16, %eax
        mov %al, gdt + 0x30 + 4
        mov %ah, gdt + 0x30 + 7
        mov $0x30, %eax
        ltr %ax
        call run
        ud2

        .data
        .balign 16
        .globl gdt, tss
gdt:    .quad 0
        .quad 0x00af9b000000ffff        // 08h code, 64-bit
        .quad 0x00cf93000000ffff        // 10h data
        .quad 0x00cffb000000ffff        // 18h code, 32-bit, DPL 3: SYSRET's CS is 28h, its SS 20h
        .quad 0x00cff3000000ffff        // 20h data, DPL 3
        .quad 0x00affb000000ffff        // 28h code, 64-bit, DPL 3
        .quad 0x0000890000000067, 0     // 30h TSS
        .quad 0x00cf9b000000ffff        // 40h code, 32-bit
        .fill 24, 8, 0                  // for the checks
gdt_end:
        .globl gdt_pointer
gdt_pointer:
        .word gdt_end - gdt - 1
        .quad gdt

        .balign 16
        .long 0
tss:    .long 0
        .quad kernel_stack_end          // RSP0
        .fill 22, 4, 0
        .word 0, 0x68                   // no I/O permission bitmap

        .globl boot_magic, boot_information
boot_magic:
        .long 0
boot_information:
        .long 0

        .bss
        .balign 4096
        .globl pml4, pdpt, page_directories
pml4:   .skip 4096
pdpt:   .skip 4096
page_directories:
        .skip 4 * 4096
        .skip 16384
stack_end:
        .skip 8192
        .globl kernel_stack_end
kernel_stack_end:                       // what an exception from ring 3 is taken on

        .section .note.GNU-stack, "", @progbits
