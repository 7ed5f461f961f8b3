// SPDX-License-Identifier: Apache-2.0
// run_real_case(): as run_case(), in real-address mode. DS, ES, FS and GS keep the bases that they were loaded with in
// protected mode, so that they reach the device. It runs from a copy in low memory. Paging is off.
#include "tests/twin/state.h"

        .set low, 0x8000
        .set vectors, 0x7000
#define LOW(label) (label - copied + low)
#define CODE32 0x08
#define DATA32 0x10
#define CODE16 (11 << 3)                // own_code16

        .text
        .globl run_real_case
run_real_case:
        pusha
        cld
        mov $copied, %esi
        mov $low, %edi
        mov $(copied_end - copied), %ecx
        rep movsb
        mov $vectors, %edi              // a stub of 16 bytes for each vector
        mov $LOW(real_stubs), %eax
1:      stosl
        add $16, %eax
        cmp $LOW(real_stubs) + 32 * 16, %eax
        jb 1b
        mov $state, %esi
        mov $LOW(copy_of_state), %edi
        mov $STATE_FX / 4, %ecx
        rep movsl
        mov %esp, saved_esp
        sidt saved_idt
        fxrstor state + STATE_FX
        mov state + STATE_CR2, %eax
        mov %eax, %cr2
        ljmp $CODE16, $LOW(narrow)

returned:
        lidt saved_idt
        mov saved_esp, %esp
        mov $LOW(copy_of_state), %esi
        mov $state, %edi
        mov $STATE_FX / 4, %ecx
        rep movsl
        fxsave state + STATE_FX
        popa
        ret

        .section .rodata
copied:
        .code16
narrow: mov %cs:LOW(copy_of_state) + STATE_DS, %ax
        mov %ax, %ds
        mov %ax, %es
        mov %cs:LOW(copy_of_state) + STATE_FS, %ax
        mov %ax, %fs
        mov %ax, %gs
        mov %cr0, %eax
        and $~1, %al
        mov %eax, %cr0
        ljmp $0, $LOW(real)
real:   lidtl %cs:LOW(real_idt)
        mov %cs:LOW(copy_of_state) + STATE_SS, %ss
        mov %cs:LOW(copy_of_state) + 4 * 8, %esp
        pushw %cs:LOW(copy_of_state) + STATE_FLAGS
        pushw %cs:LOW(copy_of_state) + STATE_CS
        pushw %cs:LOW(copy_of_state) + STATE_IP
        .set n, 0
        .irp reg, eax, ecx, edx, ebx, esp, ebp, esi, edi
        .ifnc \reg, esp
        mov %cs:LOW(copy_of_state) + n, %\reg
        .endif
        .set n, n + 8
        .endr
        iretw

        .balign 16
real_stubs:
        .set vector, 0
        .rept 32
        .balign 16
        movl $vector, %cs:LOW(copy_of_state) + STATE_VECTOR
        jmp real_ended
        .set vector, vector + 1
        .endr

real_ended:
        .set n, 0
        .irp reg, eax, ecx, edx, ebx, esp, ebp, esi, edi
        .ifnc \reg, esp
        mov %\reg, %cs:LOW(copy_of_state) + n
        .endif
        .set n, n + 8
        .endr
        popw %cs:LOW(copy_of_state) + STATE_IP
        popw %cs:LOW(copy_of_state) + STATE_CS
        popw %cs:LOW(copy_of_state) + STATE_FLAGS
        mov %esp, %cs:LOW(copy_of_state) + 4 * 8
        mov %ss, %cs:LOW(copy_of_state) + STATE_SS
        mov %ds, %cs:LOW(copy_of_state) + STATE_DS
        mov %es, %cs:LOW(copy_of_state) + STATE_ES
        mov %fs, %cs:LOW(copy_of_state) + STATE_FS
        mov %gs, %cs:LOW(copy_of_state) + STATE_GS
        mov %cr2, %eax
        mov %eax, %cs:LOW(copy_of_state) + STATE_CR2
        mov %cr0, %eax
        or $1, %al
        mov %eax, %cr0
        ljmpl $CODE32, $LOW(wide)
        .code32
wide:   mov $DATA32, %eax
        mov %eax, %ds
        mov %eax, %es
        mov %eax, %ss
        mov %eax, %fs
        mov %eax, %gs
        mov $saved_esp, %esp            // whatever it was, a push stays out of harm's way
        cld
        mov $returned, %eax
        jmp *%eax
        .balign 4
real_idt:
        .word 32 * 4 - 1
        .long vectors
        .balign 8
copy_of_state:
        .skip STATE_FX
copied_end:

        .bss
        .balign 16
        .skip 64
saved_esp:
        .skip 4
saved_idt:
        .skip 6

        .section .note.GNU-stack, "", @progbits
