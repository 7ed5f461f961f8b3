# SPDX-License-Identifier: Apache-2.0
"""The processor's corners: the same program on the bare machine and as a guest."""
import pathlib
import re
import tempfile

from lab import BOOT, boot, flat
from harness import image, machine, paths
from harness.session import CONSOLE, Session

END = r"cpu: (\d+) passed, (\d+) failed"


def lines(text):
    return re.findall(r"^(ok  |FAIL) ([^\r\n]*?)(?:: found [^\r\n]*)?\r?$", text, re.MULTILINE)


def as_guest(**keys):
    with boot(flat("cpu", "cpu", **keys)) as session:
        session.expect("cpu", END, BOOT)
        return lines(session.text("cpu"))


def bare():
    boot_image = image.Image()
    boot_image.command("multiboot", boot_image.put(paths.GUESTS / "tests/cpu.bin"))
    with tempfile.TemporaryDirectory(prefix="bulkhead-test-") as directory:
        disc = pathlib.Path(directory) / "boot.iso"
        boot_image.write_quick(disc)
        with Session(machine.Settings(machine="bochs", cpus=1), disc, guests=(), framed=False) as session:
            session.expect(CONSOLE, END, BOOT)
            return lines(session.text(CONSOLE))


def failures(checks):
    return [name for verdict, name in checks if verdict == "FAIL"]


def test_a_guest_is_like_the_bare_machine():
    on_the_machine, in_the_guest = bare(), as_guest()
    assert failures(on_the_machine) == [] and failures(in_the_guest) == []
    # What the guest has beyond it: what its CPUID hides, and what the emulator cannot do.
    assert {name for _, name in on_the_machine} <= {name for _, name in in_the_guest}
    assert len(on_the_machine) > 100


def test_a_hidden_feature_is_not_there():
    checks = as_guest(cpuid_hide="xsave rdtscp")
    names = {name for _, name in checks}
    assert failures(checks) == []
    assert {"RDTSCP", "CR4: OSXSAVE where CPUID has no XSAVE"} <= names and "XSETBV of XCR1" not in names


def test_vector_registers_are_each_guests_own():
    guests = ("one", "two", "three")
    with boot("".join(flat(name, "vectors") for name in guests)) as session:
        for name in guests:
            assert session.expect(name, r"vectors: rounds=(\d+) lost=(\d+)", BOOT).groups() == (b"12", b"0")
