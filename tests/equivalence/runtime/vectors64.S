// SPDX-License-Identifier: Apache-2.0
// 256 entries, one each vector, to on_event(Frame*), and attempt(): a call that an exception ends.

        .text
        .balign 8
        .globl event_stubs
event_stubs:                            // 8 bytes each
        .set vector, 0
        .rept 256
        .balign 8
        .byte 0x6a, vector              // PUSH of a byte, which is sign-extended
        jmp common
        .set vector, vector + 1
        .endr

        // An error code is below the vector on some vectors alone: make all alike.
common: andq $0xff, (%rsp)
        cmpl $8, (%rsp)
        je 1f
        cmpl $10, (%rsp)
        jb 2f
        cmpl $14, (%rsp)
        jbe 1f
        cmpl $17, (%rsp)
        je 1f
        cmpl $21, (%rsp)
        je 1f
2:      push (%rsp)
        movq $0, 8(%rsp)
1:      push %rax
        push %rcx
        push %rdx
        push %rbx
        push %rbp
        push %rsi
        push %rdi
        push %r8
        push %r9
        push %r10
        push %r11
        push %r12
        push %r13
        push %r14
        push %r15
        cld
        mov %rsp, %rdi
        mov %rsp, %rbp
        and $-16, %rsp
        call on_event
        mov %rbp, %rsp
        test %eax, %eax
        jnz 3f                          // an exception in attempt()
        pop %r15
        pop %r14
        pop %r13
        pop %r12
        pop %r11
        pop %r10
        pop %r9
        pop %r8
        pop %rdi
        pop %rsi
        pop %rbp
        pop %rbx
        pop %rdx
        pop %rcx
        pop %rax
        add $16, %rsp
        iretq

3:      mov recovery, %rsp
        mov $0x10, %ecx
        mov %ecx, %ss
        mov %ecx, %ds
        mov %ecx, %es
        jmp 4f

        // bool attempt(void (*code)(void*), void* argument): whether an exception ended it
        .globl attempt
attempt:
        push %rbp
        push %rbx
        push %r12
        push %r13
        push %r14
        push %r15
        pushf
        mov %rsp, recovery
        mov %rdi, %rax
        mov %rsi, %rdi
        call *%rax
        mov recovery, %rsp
        xor %eax, %eax
4:      movq $0, recovery
        popf
        pop %r15
        pop %r14
        pop %r13
        pop %r12
        pop %rbx
        pop %rbp
        ret

        .bss
        .balign 8
        .globl recovery
recovery:
        .skip 8

        .section .note.GNU-stack, "", @progbits
