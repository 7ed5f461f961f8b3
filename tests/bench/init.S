// SPDX-License-Identifier: Apache-2.0
// The init of a measured boot: prints the time-stamp counter as it was when the kernel started it, and switches the
// machine off. Static and without a C library, so that nothing but the kernel is measured. The same file runs bare and
// as a guest: on the bare emulator the string "Shutdown" at port 8900h is the power switch, in a guest ACPI is.

#include <asm/unistd.h>

#define TCSBRK 0x5409
#define LINUX_REBOOT_MAGIC1 0xfee1dead
#define LINUX_REBOOT_MAGIC2 672274793
#define LINUX_REBOOT_CMD_POWER_OFF 0x4321fedc

        .globl _start, marker
        .text
_start:
marker: rdtsc                           // the harness has the emulator break here, too
        shl $32, %rdx
        or %rdx, %rax
        mov %rax, %rbx
        mov $16, %r12d                  // hexadecimal digits
        lea text_digits(%rip), %rdi
1:      rol $4, %rbx
        mov %ebx, %eax
        and $15, %eax
        lea hexadecimal(%rip), %rsi
        mov (%rsi, %rax), %al
        mov %al, (%rdi)
        inc %rdi
        dec %r12d
        jnz 1b

        mov $__NR_write, %eax
        mov $1, %edi
        lea text(%rip), %rsi
        mov $text_end - text, %edx
        syscall
        mov $__NR_ioctl, %eax           // wait until it is out
        mov $1, %edi
        mov $TCSBRK, %esi
        mov $1, %edx
        syscall

        mov $__NR_iopl, %eax
        mov $3, %edi
        syscall
        test %eax, %eax
        jnz 2f
        mov $0x8900, %edx
        lea power_switch(%rip), %rsi
        mov $8, %ecx
        rep outsb
2:      mov $__NR_reboot, %eax
        mov $LINUX_REBOOT_MAGIC1, %edi
        mov $LINUX_REBOOT_MAGIC2, %esi
        mov $LINUX_REBOOT_CMD_POWER_OFF, %edx
        syscall
3:      pause
        jmp 3b

        .section .rodata
hexadecimal:
        .ascii "0123456789abcdef"
power_switch:
        .ascii "Shutdown"

        .data
text:   .ascii "bench: tsc="
text_digits:
        .ascii "0000000000000000\n"
text_end:
