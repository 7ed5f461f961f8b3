// SPDX-License-Identifier: Apache-2.0
// Multiboot 1, section 3.1: memory information asked for. The addresses stand in the ELF header.
#pragma once

.macro MULTIBOOT_HEADER
        .section .multiboot, "a"
        .balign 4
        .long 0x1badb002, 2, -(0x1badb002 + 2)
.endm
