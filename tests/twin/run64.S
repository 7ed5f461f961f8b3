// SPDX-License-Identifier: Apache-2.0
// run_case() in long mode: loads the state, goes where it says, and comes back with the state at the exception that ends it.
// Every gate has a stack of its own, so that the code under test may have any.
#include "tests/twin/state.h"

        .text
        .globl run_case
run_case:
        push %rbx
        push %rbp
        push %r12
        push %r13
        push %r14
        push %r15
        mov %rsp, kernel_rsp
        fxrstorq state + STATE_FX
        mov state + STATE_CR2, %rax
        mov %rax, %cr2
        mov state + STATE_DS, %eax
        mov %eax, %ds
        mov state + STATE_ES, %eax
        mov %eax, %es
        mov state + STATE_FS, %eax
        mov %eax, %fs
        mov state + STATE_GS, %eax
        mov %eax, %gs
        pushq state + STATE_SS
        pushq state + 4 * 8
        pushq state + STATE_FLAGS
        pushq state + STATE_CS
        pushq state + STATE_IP
        .set n, 0
        .irp reg, rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15
        .ifnc \reg, rsp
        mov state + n, %\reg
        .endif
        .set n, n + 8
        .endr
        iretq

        .balign 16
        .globl case_stubs
case_stubs:
        .set vector, 0
        .rept 32
        .balign 16
        .if !(vector == 8 || (vector >= 10 && vector <= 14) || vector == 17)
        pushq $0
        .endif
        pushq $vector
        jmp ended
        .set vector, vector + 1
        .endr

ended:  .set n, 0
        .irp reg, rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15
        .ifnc \reg, rsp
        mov %\reg, state + n
        .endif
        .set n, n + 8
        .endr
        popq state + STATE_VECTOR
        popq state + STATE_ERROR
        popq state + STATE_IP
        popq state + STATE_CS
        popq state + STATE_FLAGS
        popq state + 4 * 8
        popq state + STATE_SS
        mov %ds, %eax
        mov %rax, state + STATE_DS
        mov %es, %eax
        mov %rax, state + STATE_ES
        mov %fs, %eax
        mov %rax, state + STATE_FS
        mov %gs, %eax
        mov %rax, state + STATE_GS
        mov %cr2, %rax
        mov %rax, state + STATE_CR2
        fxsaveq state + STATE_FX
        mov $0x10, %eax
        mov %eax, %ds
        mov %eax, %es
        mov %eax, %ss
        mov kernel_rsp, %rsp
        push $2
        popf
        pop %r15
        pop %r14
        pop %r13
        pop %r12
        pop %rbp
        pop %rbx
        ret

        .bss
        .balign 16
        .globl state
state:  .skip 736
kernel_rsp:
        .skip 8
        .balign 16
        .skip 4096
        .globl exception_stack
exception_stack:

        .section .note.GNU-stack, "", @progbits
