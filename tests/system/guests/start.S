// SPDX-License-Identifier: Apache-2.0
// Entry of a test program, which runs as a flat guest or bare from GRUB: both load it at 1 MiB and enter it in 32-bit
// protected mode. The header is Multiboot 1's, with the addresses in it since the file is no ELF.

#define MULTIBOOT_MAGIC 0x1badb002
#define MULTIBOOT_FLAGS 0x00010000

        .section .start, "ax"
        .globl _start
_start: jmp 1f
        .balign 4
header: .long MULTIBOOT_MAGIC, MULTIBOOT_FLAGS, -(MULTIBOOT_MAGIC + MULTIBOOT_FLAGS)
        .long header, _start, data_end, bss_end, _start

1:      cli
        lgdt gdt_pointer
        ljmp $0x08, $2f
2:      mov $0x10, %eax
        mov %eax, %ds
        mov %eax, %es
        mov %eax, %ss
        mov %eax, %fs
        mov %eax, %gs
        mov $stack_end, %esp
        call main
3:      cli
        hlt
        jmp 3b

        .section .rodata
        .balign 8
gdt:    .quad 0, 0x00cf9b000000ffff, 0x00cf93000000ffff
gdt_pointer:
        .word gdt_pointer - gdt - 1
        .long gdt

        .bss
        .balign 16
        .skip 4096
stack_end:

        .section .note.GNU-stack, "", @progbits
