// SPDX-License-Identifier: Apache-2.0
// run_case() in 32-bit protected mode: loads the state, goes where it says - ring 0 or 3, or virtual-8086 mode - and comes
// back with the state at the exception that ends it. The segments of the code under test are not flat: its state is loaded
// through CS and stored through a DS of our own.
#include "tests/twin/state.h"

        .text
        .globl run_case
run_case:
        pusha
        mov %esp, kernel_esp
        fxrstor state + STATE_FX
        mov state + STATE_CR2, %eax
        mov %eax, %cr2
        testl $1 << 17, state + STATE_FLAGS
        jnz 1f
        testb $3, state + STATE_CS
        jnz 2f
        mov state + STATE_SS, %eax      // IRET within a ring leaves the stack
        mov %eax, %ss
        mov %cs:state + 4 * 8, %esp
        jmp 3f
1:      pushl state + STATE_GS
        pushl state + STATE_FS
        pushl state + STATE_DS
        pushl state + STATE_ES
2:      pushl state + STATE_SS
        pushl state + 4 * 8
3:      pushl state + STATE_FLAGS
        pushl state + STATE_CS
        pushl state + STATE_IP
        testl $1 << 17, state + STATE_FLAGS
        jnz 4f
        mov state + STATE_ES, %eax
        mov %eax, %es
        mov state + STATE_FS, %eax
        mov %eax, %fs
        mov state + STATE_GS, %eax
        mov %eax, %gs
        mov state + STATE_DS, %eax
        mov %eax, %ds
4:      .set n, 0
        .irp reg, eax, ecx, edx, ebx, esp, ebp, esi, edi
        .ifnc \reg, esp
        mov %cs:state + n, %\reg
        .endif
        .set n, n + 8
        .endr
        iret

        .balign 16
        .globl case_stubs
case_stubs:
        .set vector, 0
        .rept 32
        .balign 16
        .if !(vector == 8 || (vector >= 10 && vector <= 14) || vector == 17)
        pushl $0
        .endif
        pushl $vector
        jmp ended
        .set vector, vector + 1
        .endr

ended:  pushl %ds
        pushl %eax
        mov $0x10, %eax
        mov %eax, %ds
        popl state
        popl state + STATE_DS
        popl state + STATE_VECTOR
        popl state + STATE_ERROR
        popl state + STATE_IP
        popl state + STATE_CS
        popl state + STATE_FLAGS
        mov %es, state + STATE_ES
        mov %fs, state + STATE_FS
        mov %gs, state + STATE_GS
        testl $1 << 17, state + STATE_FLAGS
        jnz 1f
        testb $3, state + STATE_CS
        jnz 2f
        mov %esp, state + 4 * 8
        mov %ss, state + STATE_SS
        jmp 3f
1:      popl state + 4 * 8
        popl state + STATE_SS
        popl state + STATE_ES
        popl state + STATE_DS
        popl state + STATE_FS
        popl state + STATE_GS
        jmp 3f
2:      popl state + 4 * 8
        popl state + STATE_SS
3:      .set n, 0
        .irp reg, eax, ecx, edx, ebx, esp, ebp, esi, edi
        .ifnc \reg, esp
        .ifnc \reg, eax
        mov %\reg, state + n
        .endif
        .endif
        .set n, n + 8
        .endr
        mov %cr2, %eax
        mov %eax, state + STATE_CR2
        fxsave state + STATE_FX
        mov $0x10, %eax
        mov %eax, %ss
        mov kernel_esp, %esp
        mov %eax, %es
        mov %eax, %fs
        mov %eax, %gs
        push $2
        popf
        popa
        ret

        .bss
        .balign 16
        .globl state
state:  .skip 736
kernel_esp:
        .skip 8

        .section .note.GNU-stack, "", @progbits
