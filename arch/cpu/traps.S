// SPDX-License-Identifier: Apache-2.0
// Every vector's way into handle_trap (arch/cpu/traps.cpp): the stub completes a TrapFrame and says which vector it is.

        .section .text.traps, "ax"
        .balign 16
        .global trap_stubs
trap_stubs:
        .set vector, 0
        .rept 256
        .balign 16
        // The processor pushes an error code for these (SDM volume 3, table 6-1: DF, TS, NP, SS, GP, PF, AC, CP).
        .if vector != 8 && (vector < 10 || vector > 14) && vector != 17 && vector != 21
        pushq $0
        .endif
        pushq $vector
        jmp enter
        .set vector, vector + 1
        .endr
        .balign 16
        .org trap_stubs + 256 * 16              // refused when a stub is larger than 16 bytes

        // The processor aligned the stack to 16 bytes before it pushed; 22 quadwords later it is aligned again.
        .type enter, @function
enter:  pushq %rax
        pushq %rcx
        pushq %rdx
        pushq %rbx
        pushq %rbp
        pushq %rsi
        pushq %rdi
        pushq %r8
        pushq %r9
        pushq %r10
        pushq %r11
        pushq %r12
        pushq %r13
        pushq %r14
        pushq %r15
        cld
        mov %rsp, %rdi
        call handle_trap
        popq %r15
        popq %r14
        popq %r13
        popq %r12
        popq %r11
        popq %r10
        popq %r9
        popq %r8
        popq %rdi
        popq %rsi
        popq %rbp
        popq %rbx
        popq %rdx
        popq %rcx
        popq %rax
        add $16, %rsp
        iretq

        .section .note.GNU-stack, "", @progbits
