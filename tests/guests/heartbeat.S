// SPDX-License-Identifier: Apache-2.0
// A flat guest: once a second it prints a line with a counter on COM1, and it answers a typed key. Between interrupts
// it halts. Entered at 1 MiB in 32-bit protected mode, without a stack, a GDT or an IDT of its own.

#define COM1 0x3f8
#define LSR (COM1 + 5)
#define PIC1 0x20
#define PIC2 0xa0
#define PIT 0x40
#define VECTORS 0x20            // IRQ 0 to 15 at 20h to 2Fh
#define BEATS_A_SECOND 20
#define PIT_DIVISOR 59659       // 1193182 Hz / 20

    .code32
    .text
    .globl _start
_start:
    movl $stack_top, %esp
    lgdt gdt_pointer
    ljmp $0x08, $1f
1:  movw $0x10, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    call make_idt
    call start_uart
    call start_pics
    call start_pit
    movl $banner, %esi
    call print

    // Interrupts only count and wake; what is to be printed is printed here. STI takes effect after HLT has begun.
wait:
    sti
    hlt
    cli
    call answer_keys
    call beat
    jmp wait

// Prints a line for each second that the timer has counted.
beat:
    cmpl $BEATS_A_SECOND, ticks
    jb 1f
    subl $BEATS_A_SECOND, ticks
    incl seconds
    movl $beat_text, %esi
    call print
    movl seconds, %eax
    call print_number
    movl $line_end, %esi
    call print
    jmp beat
1:  ret

answer_keys:
    movw $LSR, %dx
    inb %dx, %al
    testb $1, %al               // data ready
    jz 1f
    movw $COM1, %dx
    inb %dx, %al
    movb %al, key
    movl $key_text, %esi
    call print
    jmp answer_keys
1:  ret

// --- interrupts ---
on_timer:
    incl ticks
    pushl %eax
    movb $0x20, %al             // non-specific EOI
    outb %al, $PIC1
    popl %eax
    iret

on_uart:
    // Reading the byte, in the main loop, takes the request back. The edge has been seen.
    pushl %eax
    movb $0x20, %al
    outb %al, $PIC1
    popl %eax
    iret

on_other:
    iret

make_idt:
    movl $VECTORS, %ecx
    movl $on_timer, %eax
    call set_gate
    movl $VECTORS + 4, %ecx
    movl $on_uart, %eax
    call set_gate
    movl $VECTORS + 7, %ecx     // spurious
    movl $on_other, %eax
    call set_gate
    lidt idt_pointer
    ret

// Interrupt gate ECX to handler EAX.
set_gate:
    leal idt(, %ecx, 8), %edi
    movw %ax, (%edi)
    movw $0x08, 2(%edi)
    movw $0x8e00, 4(%edi)
    shrl $16, %eax
    movw %ax, 6(%edi)
    ret

// --- devices ---
start_uart:
    movl $uart_setup, %esi
    movl $(uart_setup_end - uart_setup) / 2, %ecx
1:  movzbl (%esi), %edx
    addl $COM1, %edx
    movb 1(%esi), %al
    outb %al, %dx
    addl $2, %esi
    loop 1b
    ret

start_pics:
    movl $pic_setup, %esi
    movl $(pic_setup_end - pic_setup) / 2, %ecx
1:  movzbl (%esi), %edx
    movb 1(%esi), %al
    outb %al, %dx
    addl $2, %esi
    loop 1b
    ret

start_pit:
    movb $0x34, %al             // channel 0, both bytes, mode 2
    outb %al, $PIT + 3
    movb $PIT_DIVISOR & 0xff, %al
    outb %al, $PIT
    movb $PIT_DIVISOR >> 8, %al
    outb %al, $PIT
    ret

// --- output ---
// The text at ESI, up to its zero.
print:
    lodsb
    testb %al, %al
    jz 1f
    call put
    jmp print
1:  ret

put:
    movb %al, %ah
    movw $LSR, %dx
1:  inb %dx, %al
    testb $0x20, %al            // transmitter holding register empty
    jz 1b
    movb %ah, %al
    movw $COM1, %dx
    outb %al, %dx
    ret

// EAX in decimal.
print_number:
    movl $number_end, %esi
    movl $10, %ecx
1:  xorl %edx, %edx
    divl %ecx
    addb $'0', %dl
    decl %esi
    movb %dl, (%esi)
    testl %eax, %eax
    jnz 1b
    jmp print

    .section .rodata, "a"
banner:    .asciz "heartbeat: a flat guest in 32-bit mode\r\n"
beat_text: .asciz "heartbeat "
line_end:  .asciz "\r\n"

    // Register offset and value: 115200 8n1, FIFO on and empty, OUT2 and RTS and DTR, interrupt on received data.
uart_setup:
    .byte 3, 0x80, 0, 1, 1, 0, 3, 3, 2, 7, 4, 0x0b, 1, 1
uart_setup_end:

    // ICW1 to ICW4 of both, then the masks: IRQ 0 and 4 pass.
pic_setup:
    .byte PIC1, 0x11, PIC2, 0x11, PIC1 + 1, VECTORS, PIC2 + 1, VECTORS + 8
    .byte PIC1 + 1, 4, PIC2 + 1, 2, PIC1 + 1, 1, PIC2 + 1, 1, PIC1 + 1, 0xee, PIC2 + 1, 0xff
pic_setup_end:

    .balign 8
gdt:
    .quad 0, 0x00cf9b000000ffff, 0x00cf93000000ffff
gdt_pointer:
    .word . - gdt - 1
    .long gdt
idt_pointer:
    .word idt_end - idt - 1
    .long idt

    .data
ticks:    .long 0
seconds:  .long 0
key_text: .ascii "key "
key:      .asciz "?\r\n"
number:   .fill 10, 1, '0'
number_end:
    .byte 0

    .bss
    .balign 8
idt:      .skip 8 * (VECTORS + 16)
idt_end:
    .balign 16
    .skip 4096
stack_top:
