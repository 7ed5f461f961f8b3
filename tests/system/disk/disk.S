// SPDX-License-Identifier: Apache-2.0
// A disk that a PC's firmware boots: 16-bit code that uses the disk by INT 13h and by its ports. It counts its starts
// on the disk itself. These keys do more:
//   1  reads the last sector by CHS and by LBA (INT 13h, 42h), and one behind it
//   2  the ports as small drivers use them: polling, REP INSW, OUTSD, no slave, IRQ 14
//   3  writes until that fails
//   9  resets the machine by port CF9h

    .code16
    .intel_syntax noprefix

    // 2 cylinders of 16 heads and 63 sectors, and one sector more.
    .equ cylinders, 2
    .equ heads, 16
    .equ sectors_per_track, 63
    .equ disk_sectors, cylinders * heads * sectors_per_track + 1
    .equ loaded_sectors, 4
    .equ counter, 10                    // the sector that has the number of starts
    .equ spare, 20                      // a sector for tests
    .equ buffer, 0x9000
    .equ irq14_vector, 4 * 0x76

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

read_failed: .asciz "disk: the rest cannot be read\r\n"
drive: .byte 0

    .org 510
    .word 0xaa55

rest_mark:
    .word 0x5afe
rest:
    mov dword ptr [packet_lba], counter
    mov ah, 0x42
    call extended
    jc stuck
    inc word ptr [buffer]
    mov ax, 0x4300
    call extended
    mov si, offset hello
    call print
    movzx ax, byte ptr [drive]
    call print_hex
    mov si, offset start
    call print
    mov ax, [buffer]
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
    xor ah, ah
    int 0x16
    mov bx, offset read_ends
    cmp al, '1'
    je 1f
    mov bx, offset ports
    cmp al, '2'
    je 1f
    mov bx, offset fill
    cmp al, '3'
    je 1f
    cmp al, '9'
    jne keys
    mov bx, offset reset
1:  call bx
    jmp keys

// AH: 42h reads the sector at packet_lba to the buffer, 43h writes it.
extended:
    mov si, offset packet
    mov dl, [drive]
    int 0x13
    ret

bad:
    mov si, offset failed
    jmp print

// The last sector that CHS reaches, the last one, and the one that is not there.
read_ends:
    mov ax, 0x0201
    mov bx, buffer
    mov cx, (cylinders - 1) << 8 | sectors_per_track
    mov dh, heads - 1
    mov dl, [drive]
    int 0x13
    jc bad
    cmp dword ptr [buffer], 0x11111111
    jne bad
    mov dword ptr [packet_lba], disk_sectors - 1
    mov ah, 0x42
    call extended
    jc bad
    cmp dword ptr [buffer], 0x22222222
    jne bad
    mov dword ptr [packet_lba], disk_sectors
    mov ah, 0x42
    call extended
    jnc bad
    mov si, offset ends_good
    jmp print

// AL: a command, of one sector at BX.
command:
    push ax
    call not_busy
    mov dx, 0x3f6
    mov al, 0
    out dx, al
    mov dx, 0x1f2
    mov al, 1
    out dx, al
    inc dx
    mov al, bl
    out dx, al
    inc dx
    mov al, bh
    out dx, al
    inc dx
    mov al, 0
    out dx, al
    inc dx
    mov al, 0xe0
    out dx, al
    inc dx
    pop ax
    out dx, al
    ret

// Until BSY is clear and DRDY set.
not_busy:
    mov dx, 0x1f7
1:  in al, dx
    and al, 0xc0
    cmp al, 0x40
    jne 1b
    in al, dx
    test al, 0x21
    ret

ports:
    // The other disk is not there: its status is 0 for ever.
    mov dx, 0x1f6
    mov al, 0xf0
    out dx, al
    inc dx
    in al, dx
    test al, al
    jnz bad
    dec dx
    mov al, 0xe0
    out dx, al
    // A handler of our own for IRQ 14.
    mov word ptr [irq14_vector], offset irq14
    mov word ptr [irq14_vector + 2], 0
    in al, 0xa1
    and al, 0xbf
    out 0xa1, al
    mov word ptr [interrupts], 0
    // Write, and read what was written.
    mov di, buffer
    mov eax, 0x600dda7a
    mov cx, 128
    rep stosd
    mov al, 0x30
    mov bx, spare
    call command
    mov si, buffer
    mov dx, 0x1f0
    mov cx, 128
    rep outsd
1:  cmp word ptr [interrupts], 1
    jb 1b
    mov di, buffer
    xor eax, eax
    mov cx, 128
    rep stosd
    mov al, 0x20
    mov bx, spare
    call command
2:  cmp word ptr [interrupts], 2
    jb 2b
    call not_busy
    jnz bad
    mov di, buffer
    mov dx, 0x1f0
    mov cx, 256
    rep insw
    mov di, buffer
    mov eax, 0x600dda7a
    mov cx, 128
    repe scasd
    jne bad
    cmp word ptr [interrupts], 2
    jne bad
    // The sector that is not there.
    mov al, 0x20
    mov bx, disk_sectors
    call command
3:  cmp word ptr [interrupts], 3
    jb 3b
    call not_busy
    jz bad
    mov dx, 0x1f1
    in al, dx
    cmp al, 0x10
    jne bad
    mov si, offset ports_good
    jmp print

irq14:
    push ax
    push dx
    mov dx, 0x1f7
    in al, dx
    inc word ptr cs:[interrupts]
    mov al, 0x20
    out 0xa0, al
    out 0x20, al
    pop dx
    pop ax
    iret

// Every page of the disk, the last one first. By the ports: SeaBIOS says that a write that failed was a success.
fill:
    mov bx, disk_sectors - 1
1:  mov al, 0x30
    call command
    mov si, buffer
    mov dx, 0x1f0
    mov cx, 256
    rep outsw
    call not_busy
    jnz 2f
    sub bx, 8
    jns 1b
    mov si, offset filled
    jmp print
2:  mov si, offset full
    jmp print

reset:
    mov dx, 0xcf9
    mov al, 2
    out dx, al
    mov al, 6
    out dx, al
1:  hlt
    jmp 1b

hello: .asciz "disk: booted from drive "
start: .asciz ", start "
shape: .asciz ", shape "
ready: .asciz "\r\ndisk: ready\r\n"
failed: .asciz "disk: FAILED\r\n"
ends_good: .asciz "disk: ends good\r\n"
ports_good: .asciz "disk: ports good\r\n"
filled: .asciz "disk: all of it was written\r\n"
full: .asciz "disk: a write failed\r\n"

    .balign 4
packet:
    .byte 16, 0
    .word 1, buffer, 0
packet_lba:
    .quad 0
interrupts:
    .word 0

    .org 512 * (1 + loaded_sectors)

    .org 512 * (disk_sectors - 2)
    .long 0x11111111
    .org 512 * (disk_sectors - 1)
    .long 0x22222222
    .org 512 * disk_sectors
