// SPDX-License-Identifier: Apache-2.0
// From the boot loader to C++: Multiboot2 gives 32-bit protected mode without paging (specification 3.3), on BIOS and
// on UEFI alike.
#include "arch/cpu/layout.h"

#define MULTIBOOT2_HEADER_MAGIC 0xe85250d6
#define MULTIBOOT2_LOADER_MAGIC 0x36d76289
#define ARCHITECTURE_I386 0
#define OPTIONAL 1

#define PHYS(symbol) ((symbol) - LAYOUT_IMAGE_BASE)

#define PAGE_PRESENT_WRITABLE 0x3
#define PAGE_LARGE 0x80
#define LARGE_PAGE_SIZE 0x200000
#define CR0_PG_WP_NE_ET_PE 0x80010031
#define CR4_PAE 0x20
#define MSR_EFER 0xc0000080
#define EFER_LME_NXE 0x900
#define EFLAGS_ID 0x200000
#define CPUID_LONG_MODE_BIT 29
#define CPUID_NX_BIT 20

        .section .multiboot, "a"
        .balign 8
.Lheader:
        .long MULTIBOOT2_HEADER_MAGIC
        .long ARCHITECTURE_I386
        .long .Lheader_end - .Lheader
        .long -(MULTIBOOT2_HEADER_MAGIC + ARCHITECTURE_I386 + (.Lheader_end - .Lheader))
        // Information request: memory map. The others are used when they are there.
        .balign 8
        .short 1, 0
        .long 12
        .long 6
        // Modules on page boundaries.
        .balign 8
        .short 6, 0
        .long 8
        .balign 8
        .short 0, 0
        .long 8
.Lheader_end:

        .section .text.boot, "ax"
        .code32
        .global multiboot_entry
multiboot_entry:
        cli
        cld
        mov $PHYS(boot_stack_top), %esp
        cmp $MULTIBOOT2_LOADER_MAGIC, %eax
        mov $PHYS(.Lnot_multiboot2), %esi
        jne .Lrefuse
        mov %ebx, %ebp                          // the boot information, until C++ takes it

        // A processor on which EFLAGS.ID cannot be changed has no CPUID (SDM volume 1, 20.1).
        pushf
        pop %eax
        xor $EFLAGS_ID, %eax
        push %eax
        popf
        pushf
        pop %ecx
        xor %ecx, %eax
        test $EFLAGS_ID, %eax
        jnz .Lno_long_mode
        mov $0x80000000, %eax
        cpuid
        cmp $0x80000001, %eax
        jb .Lno_long_mode
        mov $0x80000001, %eax
        cpuid
        bt $CPUID_LONG_MODE_BIT, %edx
        jnc .Lno_long_mode
        bt $CPUID_NX_BIT, %edx
        mov $PHYS(.Lno_execute_disable), %esi
        jnc .Lrefuse

        // The image, at its linked address and, for the next few instructions, where it is loaded.
        mov $PHYS(early_image_directory), %edi
        mov $(PAGE_PRESENT_WRITABLE | PAGE_LARGE), %eax
        mov $(LAYOUT_IMAGE_LIMIT / LARGE_PAGE_SIZE), %ecx
1:      mov %eax, (%edi)
        add $LARGE_PAGE_SIZE, %eax
        add $8, %edi
        loop 1b
        movl $(PHYS(early_low_pdpt) + PAGE_PRESENT_WRITABLE), PHYS(early_pml4)
        movl $(PHYS(early_image_directory) + PAGE_PRESENT_WRITABLE), PHYS(early_low_pdpt)
        movl $(PHYS(early_high_pdpt) + PAGE_PRESENT_WRITABLE), PHYS(early_pml4 + 511 * 8)
        movl $(PHYS(early_image_directory) + PAGE_PRESENT_WRITABLE), PHYS(early_high_pdpt + 510 * 8)

        mov $CR4_PAE, %eax
        mov %eax, %cr4
        mov $PHYS(early_pml4), %eax
        mov %eax, %cr3
        mov $MSR_EFER, %ecx
        mov $EFER_LME_NXE, %eax
        xor %edx, %edx
        wrmsr
        mov $CR0_PG_WP_NE_ET_PE, %eax
        mov %eax, %cr0
        lgdt PHYS(.Learly_gdt_pointer_32)
        ljmp $SELECTOR_CODE, $PHYS(.Llong_mode)

        .code64
.Llong_mode:
        movabs $.Lhigh, %rax
        jmp *%rax
.Lhigh: lgdt .Learly_gdt_pointer_64(%rip)
        mov $SELECTOR_DATA, %eax
        mov %eax, %ss
        mov %eax, %ds
        mov %eax, %es
        xor %eax, %eax
        mov %eax, %fs
        mov %eax, %gs
        lldt %ax
        movq $0, early_pml4(%rip)               // the identity map goes
        mov %cr3, %rax
        mov %rax, %cr3

        // The boot CPU's main stack, for a moment by its address in the image; then by that of every main stack.
        mov $boot_stack_top, %rsp
        mov %ebp, %r12d
        xor %ebp, %ebp
        call map_boot_private
        mov $LAYOUT_MAIN_STACK_TOP, %rsp
        mov %r12d, %edi
        call boot_main
        ud2

        // A refusal before there is anything: `esi` points to the sentence. It goes to the first serial port and, for
        // what firmware without UEFI shows, to the text screen.
        .code32
.Lno_long_mode:
        mov $PHYS(.Lno_64_bit), %esi
.Lrefuse:
        mov $PHYS(.Lserial_setup), %ebx
1:      movzwl (%ebx), %edx
        test %edx, %edx
        jz 2f
        mov 2(%ebx), %al
        out %al, (%dx)
        add $3, %ebx
        jmp 1b
2:      mov $0xb8000, %edi
        mov $0x07, %ah                          // grey on black
.Lnext:  lodsb
        test %al, %al
        jz .Lstop
        mov %ax, (%edi)
        add $2, %edi
        mov %al, %bl
        mov $0x3fd, %edx                        // line status
        mov $0x10000, %ecx                      // without a port, do not wait for ever
3:      in (%dx), %al
        test $0x20, %al                         // transmitter empty
        loopz 3b
        mov %bl, %al
        mov $0x3f8, %edx
        out %al, (%dx)
        jmp .Lnext
.Lstop:  cli
        hlt
        jmp .Lstop

        .section .rodata.boot, "a"
        // Port, value: 115200 baud, 8 data bits, no parity, one stop bit.
.Lserial_setup:
        .short 0x3fb
        .byte 0x83
        .short 0x3f8
        .byte 1
        .short 0x3f9
        .byte 0
        .short 0x3fb
        .byte 0x03
        .short 0
.Lnot_multiboot2:
        .asciz "Bulkhead is started by a Multiboot2 boot loader, such as GRUB's multiboot2 command.\r\n"
.Lno_64_bit:
        .asciz "Bulkhead needs a 64-bit processor with VT-x and EPT; this processor has no 64-bit mode.\r\n"
.Lno_execute_disable:
        .asciz "Bulkhead needs the execute-disable bit: switch it on in the firmware's set-up.\r\n"

        .balign 8
.Learly_gdt:
        .quad 0
        .quad 0x00af9b000000ffff                // 64-bit code
        .quad 0x00cf93000000ffff                // data
.Learly_gdt_end:
.Learly_gdt_pointer_32:
        .short .Learly_gdt_end - .Learly_gdt - 1
        .long PHYS(.Learly_gdt)
.Learly_gdt_pointer_64:
        .short .Learly_gdt_end - .Learly_gdt - 1
        .quad .Learly_gdt

        .section .note.GNU-stack, "", @progbits
