// SPDX-License-Identifier: Apache-2.0
// Copied to a page below 1 MiB: an application processor's way from real mode to ap_entry, in the image. The boot CPU
// fills in the parameters (boot/trampoline.hpp).
#include "arch/cpu/layout.h"

#define AT(label) ((label) - trampoline_start)
#define SELECTOR_CODE_32 0x18
#define CR0_PE 0x1
#define CR0_PG_WP_NE_ET_PE 0x80010031
#define CR4_PAE 0x20
#define MSR_EFER 0xc0000080
#define EFER_LME_NXE 0x900

        .section .rodata.trampoline, "a"
        .balign 16
        .global trampoline_start, trampoline_end
        .global trampoline_gdt, trampoline_protected_mode, trampoline_long_mode
        .code16
trampoline_start:
        cli
        jmp real_mode
        .balign 8
gdt_pointer:
        .short gdt_end - trampoline_gdt - 1
        .long 0
protected_mode_pointer:
        .long 0
        .short SELECTOR_CODE_32
long_mode_pointer:
        .long 0
        .short SELECTOR_CODE
root:   .long 0

real_mode:
        mov %cs, %ax
        mov %ax, %ds
        xor %ebx, %ebx
        mov %ax, %bx
        shl $4, %ebx                            // the page's address, which is all that is kept
        lgdtl AT(gdt_pointer)
        mov $CR0_PE, %eax
        mov %eax, %cr0
        ljmpl *AT(protected_mode_pointer)

        .code32
trampoline_protected_mode:
        mov $SELECTOR_DATA, %eax
        mov %eax, %ds
        mov %eax, %es
        mov %eax, %ss
        mov $CR4_PAE, %eax
        mov %eax, %cr4
        mov AT(root)(%ebx), %eax
        mov %eax, %cr3
        mov $MSR_EFER, %ecx
        mov $EFER_LME_NXE, %eax
        xor %edx, %edx
        wrmsr
        mov $CR0_PG_WP_NE_ET_PE, %eax           // caches on: INIT leaves CD and NW set
        mov %eax, %cr0
        ljmp *AT(long_mode_pointer)(%ebx)

        .code64
trampoline_long_mode:
        movabs $ap_entry, %rax
        jmp *%rax

        .balign 8
trampoline_gdt:
        .quad 0
        .quad 0x00af9b000000ffff                // 64-bit code
        .quad 0x00cf93000000ffff                // data
        .quad 0x00cf9b000000ffff                // 32-bit code
gdt_end:
trampoline_end:

        .section .text.boot, "ax"
        // The ticket, the root of the CPU's own tables, is taken by one CPU alone: one that comes when nobody waits for
        // it any more finds none.
        .type ap_entry, @function
ap_entry:
        xor %eax, %eax
        xchg %rax, ap_ticket(%rip)
        test %rax, %rax
        jz .Llate
        mov %rax, %cr3
        mov $LAYOUT_MAIN_STACK_TOP, %rsp
        xor %ebp, %ebp
        call ap_main
.Llate: cli
        hlt
        jmp .Llate

        .section .note.GNU-stack, "", @progbits
