# SPDX-License-Identifier: Apache-2.0
"""A guest that starts with OVMF: to the UEFI shell on its console, and off again."""
import pytest
from lab import LINUX, PartitionState, boot


@pytest.fixture(scope="module")
def shell():
    config = "[uefi]\nmemory = 128M\nloader = uefi\nfirmware = ovmf.fd\n"
    with boot(config) as session:
        session.expect("uefi", r"Press .*ESC.* in 5 seconds", LINUX)
        session.send("uefi", "\x1b", LINUX)
        session.expect("uefi", "Shell> ", LINUX)
        yield session


def test_firmware_finds_the_machine(shell):
    shell.type("uefi", "pci", LINUX)
    shell.send("uefi", "\r", LINUX)
    for function in ("Vendor 8086 Device 1237", "Vendor 8086 Device 7000", "Vendor 8086 Device 7113"):
        shell.expect("uefi", function, LINUX)


def test_the_shell_switches_the_machine_off(shell):
    shell.type("uefi", "reset -s", LINUX)
    shell.send("uefi", "\r", LINUX)
    shell.wait_state("uefi", PartitionState.OFF, LINUX)
