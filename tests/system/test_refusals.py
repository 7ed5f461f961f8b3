# SPDX-License-Identifier: Apache-2.0
"""A machine that cannot carry Bulkhead is refused in one sentence: what is missing, and what to do."""
import pytest
from lab import BOOT, HYPERVISOR, boot, flat

ONE_GUEST = flat("pulse", "pulse")


def refusal(machine):
    return machine.expect(HYPERVISOR, r"Bulkhead cannot run (here|guests on this machine): [^\r\n]*\.", BOOT)[0].decode()


def test_qemu_tcg_has_no_vt_x():
    with boot(ONE_GUEST, kind="qemu-tcg", cpus=2) as machine:
        line = refusal(machine)
    assert "VT-x" in line


@pytest.mark.parametrize("model, missing", [
    ("core2_penryn_t9600", "EPT"),
    ("corei5_lynnfield_750", "unrestricted guest"),
])
def test_an_older_cpu(model, missing):
    with boot(ONE_GUEST, cpu_model=model) as machine:
        line = refusal(machine)
    assert missing in line


def test_vt_x_locked_off_by_the_firmware():
    # This firmware leaves IA32_FEATURE_CONTROL open. GRUB locks it as a BIOS does whose set-up has VT-x off.
    with boot(ONE_GUEST, bios="BIOS-bochs-legacy", before=[("wrmsr", "0x3a", "0x1")]) as machine:
        line = refusal(machine)
    assert "VT-x" in line and "firmware" in line


def test_too_little_memory():
    with boot(ONE_GUEST, memory=32) as machine:
        line = refusal(machine)
    assert "memory" in line and "MiB" in line


def test_vt_x_that_the_firmware_left_open_is_no_reason():
    # The same firmware with its lock open: VT-x is enabled here. What it lacks is ACPI, and that is the sentence.
    with boot(ONE_GUEST, bios="BIOS-bochs-legacy") as machine:
        line = refusal(machine)
    assert "ACPI" in line and "VT-x" not in line
