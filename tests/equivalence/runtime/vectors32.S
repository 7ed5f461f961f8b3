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
common: andl $0xff, (%esp)
        cmpl $8, (%esp)
        je 1f
        cmpl $10, (%esp)
        jb 2f
        cmpl $14, (%esp)
        jbe 1f
        cmpl $17, (%esp)
        je 1f
        cmpl $21, (%esp)
        je 1f
2:      push (%esp)
        movl $0, 4(%esp)
1:      pusha
        push %ds
        push %es
        mov $0x10, %eax
        mov %eax, %ds
        mov %eax, %es
        cld
        mov %esp, %eax
        push %eax
        call on_event
        pop %ecx
        test %eax, %eax
        jnz 3f                          // an exception in attempt()
        pop %es
        pop %ds
        popa
        add $8, %esp
        iret

3:      mov recovery, %esp
        mov $0x10, %ecx
        mov %ecx, %ss
        mov %ecx, %ds
        mov %ecx, %es
        jmp 4f

        // bool attempt(void (*code)(void*), void* argument): whether an exception ended it
        .globl attempt
attempt:
        push %ebp
        push %ebx
        push %esi
        push %edi
        pushf
        mov %esp, recovery
        mov 24(%esp), %eax
        push 28(%esp)
        call *%eax
        mov recovery, %esp
        xor %eax, %eax
4:      movl $0, recovery
        popf
        pop %edi
        pop %esi
        pop %ebx
        pop %ebp
        ret

        .bss
        .balign 4
        .globl recovery
recovery:
        .skip 4

        .section .note.GNU-stack, "", @progbits
