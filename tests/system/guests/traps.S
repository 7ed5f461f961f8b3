// SPDX-License-Identifier: Apache-2.0
// The gates behind traps.hpp, and the way to CPL 3 and back.

        .text
        .balign 16
        .globl trap_stubs
trap_stubs:
        .set vector, 0
        .rept 32
        .balign 16
        .if vector == 8 || (vector >= 10 && vector <= 14) || vector == 17
        pushl $vector
        .else
        pushl $0
        pushl $vector
        .endif
        jmp common
        .set vector, vector + 1
        .endr

common: pusha
        movl $0x10, %eax                // null after virtual-8086 mode
        movl %eax, %ds
        movl %eax, %es
        cld
        pushl %esp
        call trap
        addl $4, %esp
        testb $3, 44(%esp)              // CS: back to the user's segments
        jz 1f
        movl $0x23, %eax
        movl %eax, %ds
        movl %eax, %es
1:      popa
        addl $8, %esp
        iret

        // void enter_user(void (*code)(), void* stack): returns when the code executes INT 80h
        .globl enter_user
enter_user:
        pusha
        movl 36(%esp), %eax
        movl 40(%esp), %ecx
        movl %esp, kernel_stack
        movl %esp, task_state + 4       // ESP0
        pushl $0x23
        pushl %ecx
        pushf
        pushl $0x1b
        pushl %eax
        movl $0x23, %edx
        movl %edx, %ds
        movl %edx, %es
        iret

        // void enter_v86(): at 700h:0 in virtual-8086 mode, until the code executes INT 80h
        .globl enter_v86
enter_v86:
        pusha
        movl %esp, kernel_stack
        movl %esp, task_state + 4
        pushl $0                        // GS, FS, DS, ES, SS, ESP
        pushl $0
        pushl $0
        pushl $0
        pushl $0x800
        pushl $0x1000
        pushl $0x23002                  // VM, IOPL 3
        pushl $0x700
        pushl $0
        iret

        .globl leave_user
leave_user:
        movl $0x10, %edx
        movl %edx, %ds
        movl %edx, %es
        movl kernel_stack, %esp
        popa
        ret

        .bss
        .balign 16
        .globl task_state
task_state:
        .skip 104
kernel_stack:
        .skip 4

        .section .note.GNU-stack, "", @progbits
