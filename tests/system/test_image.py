# SPDX-License-Identifier: Apache-2.0
"""The image for real machines, on every way to boot it that QEMU has. Without VT-x it comes as far as the refusal."""
import subprocess

import pytest
from lab import BOOT, ROOT, configuration, flat, log_directory, machine
from harness.session import CONSOLE, Session

REFUSAL = r"Bulkhead cannot run (here|guests on this machine): [^\r\n]*VT-x"


@pytest.fixture(scope="module")
def disc(tmp_path_factory):
    path = tmp_path_factory.mktemp("image") / "bulkhead.iso"
    with configuration(flat("pulse", "pulse")) as config:
        subprocess.run([ROOT / "scripts/make-iso", path, "--guests", config], check=True)
    return path


@pytest.mark.parametrize("uefi", [False, True], ids=["bios", "uefi"])
@pytest.mark.parametrize("stick", [False, True], ids=["disc", "stick"])
def test_it_boots(disc, uefi, stick):
    settings = machine.Settings(machine="qemu-tcg", cpus=2, uefi=uefi, stick=stick)
    with Session(settings, disc, framed=False, log=log_directory()) as session:
        session.expect(CONSOLE, REFUSAL, BOOT)
