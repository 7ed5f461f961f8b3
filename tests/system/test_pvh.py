# SPDX-License-Identifier: Apache-2.0
"""Debian's kernel as the ELF file that its package packs, booted by its PVH entry point."""
from lab import BOOT, LINUX, PROMPT, boot, linux


def test_debians_vmlinux_reaches_its_shell():
    config = linux("pvh", loader="pvh", kernel="tests/vmlinux", memory="160M", paravirt="kvm",
                   cmdline="console=ttyS0 cryptomgr.notests")
    with boot(config) as machine:
        machine.expect("pvh", r"Command line: console=ttyS0 cryptomgr\.notests", BOOT)
        machine.expect("pvh", r"BIOS-e820: \[mem 0x0000000000100000-0x0000000009ffffff\] usable", BOOT)
        machine.expect("pvh", r"ACPI: RSDP 0x00000000000F0000", BOOT)
        machine.expect("pvh", PROMPT, LINUX)
