// SPDX-License-Identifier: Apache-2.0
// The compiled guest/acpi/dsdt.asl (guest/acpi/rules.mk).

#ifndef DSDT_AML
#define DSDT_AML "build/guest/dsdt.aml"
#endif
#ifndef DSDT_PC_AML
#define DSDT_PC_AML "build/guest/dsdt-pc.aml"
#endif

    .section .rodata.guest_dsdt, "a"
    .global guest_dsdt_begin, guest_dsdt_end, guest_dsdt_pc_begin, guest_dsdt_pc_end
    .balign 8
guest_dsdt_begin:
    .incbin DSDT_AML
guest_dsdt_end:
    .balign 8
guest_dsdt_pc_begin:
    .incbin DSDT_PC_AML
guest_dsdt_pc_end:
    .section .note.GNU-stack, "", @progbits
