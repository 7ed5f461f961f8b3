// SPDX-License-Identifier: Apache-2.0
// A floppy that a PC's firmware boots: 16-bit code that talks to it by INT 10h, 12h, 13h, 15h, 16h and 1Ah. What is typed
// is shown in capitals; these keys do more:
//   1  reads the last sector, writes another one and reads it back
//   2  the memory map (INT 15h, E820h)
//   3  big real mode: a 32-bit address above 1 MiB in 16-bit code
//   4  writes to the screen's memory and moves the cursor by the CRT controller
//   5  tries to write to the firmware's read-only area
//   6  waits for two ticks of the clock
//   7  resets the processor by the keyboard controller, to go on after it (shutdown code 0Ah)
//   8  resets the machine by the keyboard controller
//   9  resets the machine by port CF9h

    .code16
    .intel_syntax noprefix

    .equ sectors_per_track, 18
    .equ heads, 2
    .equ loaded_sectors, 6
    .equ buffer, 0x9000
    .equ gate_a20, 0x2401
    .equ warm_vector, 0x467

    .text
    .globl _start
_start:
    jmp 0:begin
begin:
    xor ax, ax
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov sp, 0x7c00
    cld
    mov [drive], dl
    // The rest of the program, behind the first sector.
    mov ax, 0x0200 + loaded_sectors
    mov bx, 0x7e00
    mov cx, 2
    mov dh, 0
    int 0x13
    jc stuck
    cmp word ptr [rest_mark], 0x5afe
    je rest
stuck:
    mov si, offset read_failed
    call print
    hlt
    jmp stuck

// The text at SI.
print:
    lodsb
    test al, al
    jz 1f
    mov ah, 0x0e
    mov bx, 7
    int 0x10
    jmp print
1:  ret

// AX in hexadecimal.
print_hex:
    mov cx, 4
1:  rol ax, 4
    push ax
    and al, 0x0f
    cmp al, 10
    sbb al, 0x69
    das
    mov ah, 0x0e
    mov bx, 7
    int 0x10
    pop ax
    loop 1b
    ret

read_failed: .asciz "floppy: the rest cannot be read\r\n"
drive: .byte 0

    .org 510
    .word 0xaa55

rest_mark:
    .word 0x5afe
rest:
    mov si, offset hello
    call print
    movzx ax, byte ptr [drive]
    call print_hex
    mov si, offset memory
    call print
    int 0x12
    call print_hex
    mov si, offset shape
    call print
    mov ah, 8
    mov dl, [drive]
    xor di, di
    int 0x13
    push ds
    pop es
    mov ax, cx
    push dx
    call print_hex
    pop ax
    call print_hex
    mov si, offset ready
    call print

keys:
#ifdef POLLING
    // sgabios, without anybody who types at the keyboard in its place, cannot wake who waits in INT 16h.
    mov ah, 1
    int 0x16
    jz keys
#endif
    xor ah, ah
    int 0x16
    cmp al, '1'
    jb 1f
    cmp al, '9'
    ja 1f
    movzx bx, al
    sub bx, '1'
    add bx, bx
    call [bx + tests]
    jmp keys
1:  cmp al, 'a'
    jb 2f
    cmp al, 'z'
    ja 2f
    and al, 0xdf
2:  mov ah, 0x0e
    mov bx, 7
    int 0x10
    cmp al, '\r'
    jne keys
    mov ax, 0x0e0a
    int 0x10
    jmp keys

tests: .word sectors, map, big, screen, shadow, ticks, processor, controller, reset_control

// CX, DX: where; AH: 2 reads, 3 writes; one sector at the buffer.
transfer:
    mov al, 1
    mov bx, buffer
    int 0x13
    ret

sectors:
    mov ah, 2
    mov cx, 0x4f12
    mov dh, 1
    mov dl, [drive]
    call transfer
    jc bad
    mov si, buffer
    call print
    mov word ptr [buffer], 0x1234
    mov word ptr [buffer + 510], 0x5678
    mov ah, 3
    mov cx, 0x2805
    mov dh, 0
    mov dl, [drive]
    call transfer
    jc bad
    mov word ptr [buffer], 0
    mov word ptr [buffer + 510], 0
    mov ah, 2
    mov cx, 0x2805
    mov dh, 0
    mov dl, [drive]
    call transfer
    jc bad
    cmp word ptr [buffer], 0x1234
    jne bad
    cmp word ptr [buffer + 510], 0x5678
    jne bad
    // There is no 19th sector.
    mov ah, 2
    mov cx, 0x0013
    mov dh, 0
    mov dl, [drive]
    call transfer
    jnc bad
    mov si, offset sectors_good
    jmp print
bad:
    mov si, offset failed
    jmp print

map:
    xor ebx, ebx
1:  mov eax, 0xe820
    mov edx, 0x534d4150
    mov ecx, 20
    mov di, buffer
    int 0x15
    jc bad
    cmp eax, 0x534d4150
    jne bad
    push ebx
    mov si, offset map_line
    call print
    mov di, buffer + 6
    call print_quad
    mov di, buffer + 14
    call print_quad
    mov ax, [buffer + 16]
    call print_hex
    mov si, offset line_end
    call print
    pop ebx
    test ebx, ebx
    jnz 1b
    mov si, offset map_good
    jmp print
// The 8 bytes whose highest word is at DI.
print_quad:
    mov cx, 4
1:  push cx
    mov ax, [di]
    push di
    call print_hex
    pop di
    pop cx
    sub di, 2
    loop 1b
    mov ax, 0x0e20
    int 0x10
    ret

big:
    mov ax, gate_a20
    int 0x15
    cli
    lgdt [gdtr]
    mov eax, cr0
    or al, 1
    mov cr0, eax
    jmp 1f
1:  mov bx, 8
    mov fs, bx
    and al, 0xfe
    mov cr0, eax
    jmp 2f
2:  sti
    xor bx, bx
    mov fs, bx
    mov edi, 0x200000
    mov eax, 0x12345678
    mov fs:[edi], eax
    mov edi, 0x300000
    mov dword ptr fs:[edi], 0
    mov edi, 0x200000
    cmp fs:[edi], eax
    jne bad
    // The last paragraph of the first 4 GiB is the reset vector's: a far jump, in the image.
    mov edi, 0xfffffff0
    cmp byte ptr fs:[edi], 0xea
    jne bad
    mov si, offset big_good
    jmp print

screen:
    mov ax, 0xb800
    mov es, ax
    mov si, offset screen_text
    mov di, 2 * 80 * 12
    mov ah, 0x1f
1:  lodsb
    test al, al
    jz 2f
    stosw
    jmp 1b
2:  push ds
    pop es
    mov dx, 0x3d4
    mov ax, 0x030e
    out dx, ax
    mov ax, 0xc60f
    out dx, ax
    in al, dx
    inc dx
    in al, dx
    cmp al, 0xc6
    jne bad
    mov dl, 0xda
3:  in al, dx
    test al, 8
    jz 3b
    mov si, offset screen_good
    jmp print

shadow:
    mov ax, 0xf000
    mov es, ax
    mov ax, es:[0xfff0]
    mov word ptr es:[0xfff0], 0x1234
    lock inc word ptr es:[0xfff0]
    mov cx, es:[0xfff0]
    push ds
    pop es
    cmp ax, cx
    jne bad
    mov si, offset shadow_good
    jmp print

ticks:
    mov ah, 0
    int 0x1a
    mov [first_tick], dx
1:  hlt
    mov ah, 0
    int 0x1a
    sub dx, [first_tick]
    cmp dx, 2
    jb 1b
    mov si, offset ticks_good
    jmp print

processor:
    cli
    mov word ptr [warm_vector], offset resumed
    mov word ptr [warm_vector + 2], 0
    mov al, 0x0f
    out 0x70, al
    mov al, 0x0a
    out 0x71, al
    jmp controller
resumed:
    xor ax, ax
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov sp, 0x7c00
    cld
    sti
    mov si, offset resumed_good
    call print
    jmp keys

controller:
    mov al, 0xfe
    out 0x64, al
1:  hlt
    jmp 1b

reset_control:
    mov dx, 0xcf9
    mov al, 2
    out dx, al
    mov al, 6
    out dx, al
1:  hlt
    jmp 1b

hello: .asciz "floppy: booted from drive "
memory: .asciz ", base memory "
shape: .asciz ", shape "
ready: .asciz "\r\nfloppy: ready\r\n"
failed: .asciz "floppy: FAILED\r\n"
sectors_good: .asciz "floppy: sectors good\r\n"
map_line: .asciz "map "
line_end: .asciz "\r\n"
map_good: .asciz "floppy: map good\r\n"
big_good: .asciz "floppy: big real mode good\r\n"
screen_good: .asciz "floppy: screen good\r\n"
screen_text: .asciz "This is on the screen, and nowhere else."
shadow_good: .asciz "floppy: read-only area good\r\n"
ticks_good: .asciz "floppy: ticks good\r\n"
resumed_good: .asciz "floppy: resumed after the reset\r\n"
first_tick: .word 0

    .balign 8
gdt:
    .quad 0, 0x00cf92000000ffff
gdtr:
    .word 15
    .long gdt

    .org 512 * (1 + loaded_sectors)

// The last sector of the disk.
    .org 512 * (80 * heads * sectors_per_track - 1)
    .asciz "floppy: this is the last sector\r\n"
    .org 512 * 80 * heads * sectors_per_track
