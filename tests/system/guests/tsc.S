// SPDX-License-Identifier: Apache-2.0
// A Linux command that prints the time-stamp counter, which is the clock of the emulated machine.

#include <asm/unistd.h>

        .globl _start
        .text
_start: rdtsc
        shl $32, %rdx
        or %rdx, %rax
        mov $10, %ecx
        lea text_end - 1(%rip), %rsi
1:      xor %edx, %edx                  // decimal, from the last digit on
        div %rcx
        add $'0', %edx
        dec %rsi
        mov %dl, (%rsi)
        test %rax, %rax
        jnz 1b
        lea text_end(%rip), %rdx
        sub %rsi, %rdx
        mov $1, %edi
        mov $__NR_write, %eax
        syscall
        xor %edi, %edi
        mov $__NR_exit, %eax
        syscall

        .data
text:   .skip 20
        .ascii "\n"
text_end:

        .section .note.GNU-stack, "", @progbits
