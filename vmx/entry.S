# SPDX-License-Identifier: Apache-2.0

# VM entry and exit (SDM volume 3, 26.1 and 27.5). Called by vmx::enter, which declares every register changed:
#   RDI  isa::Registers, 16 quadwords in encoding order (RSP's is not used)
#   ESI  not zero: VMRESUME; zero: VMLAUNCH
#   CF   on return: VMfailInvalid; ZF: VMfailValid; neither: a VM exit, which clears RFLAGS (27.5.3). Nothing between
#        there and the caller changes the flags.
#   EAX  on return from a failure: vmx::EntryOutcome

.equ RAX, 0x00
.equ RCX, 0x08
.equ RDX, 0x10
.equ RBX, 0x18
.equ RBP, 0x28
.equ RSI, 0x30
.equ RDI, 0x38
.equ R8,  0x40
.equ R9,  0x48
.equ R10, 0x50
.equ R11, 0x58
.equ R12, 0x60
.equ R13, 0x68
.equ R14, 0x70
.equ R15, 0x78

# An exit loads RSP from the VMCS. If that were the stack itself, it would have to be written whenever the caller's
# depth changes; so it is the address of this word, which is the same for every VMCS on every CPU, and never changes.
# Nothing is pushed while RSP points here: what could come between the exit and its first instruction, an NMI or a
# machine check, has a stack of its own (IST).
.section .percpu, "aw", @progbits
.balign 8
.globl bulkhead_vmx_exit_stack
.type bulkhead_vmx_exit_stack, @object
.size bulkhead_vmx_exit_stack, 8
bulkhead_vmx_exit_stack:
    .quad 0

.text
.globl bulkhead_vmx_enter
.type bulkhead_vmx_enter, @function
.balign 16
bulkhead_vmx_enter:
    push %rdi
    mov %rsp, bulkhead_vmx_exit_stack
    test %esi, %esi                     # the loads below leave the flags alone
    mov RAX(%rdi), %rax
    mov RCX(%rdi), %rcx
    mov RDX(%rdi), %rdx
    mov RBX(%rdi), %rbx
    mov RBP(%rdi), %rbp
    mov RSI(%rdi), %rsi
    mov R8(%rdi), %r8
    mov R9(%rdi), %r9
    mov R10(%rdi), %r10
    mov R11(%rdi), %r11
    mov R12(%rdi), %r12
    mov R13(%rdi), %r13
    mov R14(%rdi), %r14
    mov R15(%rdi), %r15
    mov RDI(%rdi), %rdi
    jz 1f
    vmresume
    jmp 2f
1:  vmlaunch

    # Still here: VMfailInvalid set CF, VMfailValid set ZF (SDM 30.2).
2:  setz %al
    setc %cl
    movzbl %al, %eax
    movzbl %cl, %ecx
    lea (%rax,%rcx,2), %eax             # as the rest of these, it keeps the flags
    pop %rdi
    ret
.size bulkhead_vmx_enter, . - bulkhead_vmx_enter

.globl bulkhead_vmx_exit
.type bulkhead_vmx_exit, @function
.balign 16
bulkhead_vmx_exit:
    mov (%rsp), %rsp
    push %rdi
    mov 8(%rsp), %rdi
    mov %rax, RAX(%rdi)
    mov %rcx, RCX(%rdi)
    mov %rdx, RDX(%rdi)
    mov %rbx, RBX(%rdi)
    mov %rbp, RBP(%rdi)
    mov %rsi, RSI(%rdi)
    mov %r8, R8(%rdi)
    mov %r9, R9(%rdi)
    mov %r10, R10(%rdi)
    mov %r11, R11(%rdi)
    mov %r12, R12(%rdi)
    mov %r13, R13(%rdi)
    mov %r14, R14(%rdi)
    mov %r15, R15(%rdi)
    pop RDI(%rdi)
    pop %rdi
    ret
.size bulkhead_vmx_exit, . - bulkhead_vmx_exit

.section .note.GNU-stack, "", @progbits
