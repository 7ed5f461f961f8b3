// SPDX-License-Identifier: Apache-2.0
// Entry of a Multiboot program. With ADDRESSES its header says where the file goes, which then need not be ELF.

#define MULTIBOOT_MAGIC 0x1badb002
#ifdef ADDRESSES
#define MULTIBOOT_FLAGS 0x00010003
#else
#define MULTIBOOT_FLAGS 0x00000003
#endif

        .section .start, "ax"
        .globl _start
_start: jmp 1f
        .balign 4
header: .long MULTIBOOT_MAGIC, MULTIBOOT_FLAGS, -(MULTIBOOT_MAGIC + MULTIBOOT_FLAGS)
#ifdef ADDRESSES
        .long header, _start, data_end, bss_end, _start
#endif

1:      mov $stack_end, %esp
        pushf                           // the state at entry, for the report
        push %ebx
        push %eax
        call main
2:      cli
        hlt
        jmp 2b

        .bss
        .balign 16
        .skip 4096
stack_end:

        .section .note.GNU-stack, "", @progbits
