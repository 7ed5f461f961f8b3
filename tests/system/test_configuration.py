# SPDX-License-Identifier: Apache-2.0
"""Errors of the configuration that only show when it is booted, or that nobody looked for before."""
import pytest
from lab import BOOT, HYPERVISOR, PartitionState, boot, flat, linux, log_directory, machine, paths
from harness import image
from harness.session import Session


def line(session, *words):
    """The line of the hypervisor's log that has all of these words."""
    session.expect(HYPERVISOR, "".join(rf"(?=[^\n]*{word})" for word in words), BOOT)


@pytest.fixture(scope="module")
def impaired():
    """One good guest among those that cannot be started."""
    config = (linux("gone", kernel="no-such-file", memory="64M") + linux("short", kernel="short", memory="64M")
              + linux("text", kernel="text", memory="64M") + flat("big", "pulse", memory="64G") + flat("pulse", "pulse"))
    files = {"short": (paths.GUESTS / "vmlinuz").read_bytes()[:100_000], "text": b"this is no kernel\n" * 100}
    with boot(config, files=files) as session:
        session.expect("pulse", "pulse 1", BOOT)
        for _ in range(4):
            session.expect(HYPERVISOR, "not started", BOOT)
        yield session


@pytest.mark.parametrize("guest, words", [
    ("gone", ["no-such-file"]),
    ("short", ["short"]),
    ("text", ["text"]),
    ("big", ["memory", "MiB"]),
])
def test_a_guest_that_cannot_be_started_is_named_with_the_reason(impaired, guest, words):
    lines = [text for text in impaired.text(HYPERVISOR).splitlines() if guest in text]
    assert any(all(word in text for word in words) for text in lines), impaired.text(HYPERVISOR)


def test_the_others_run(impaired):
    impaired.expect("pulse", "pulse [2-9]", BOOT)
    assert impaired.partitions["gone"].state != PartitionState.RUNNING


def test_a_bad_line_is_named_with_what_was_expected():
    with boot("[pulse]\nmemory = much\nkernel = tests/pulse.bin\n") as session:
        session.expect(HYPERVISOR, r"guests\.conf:2: expected a size such as 256M or 2G", BOOT)


def test_an_unknown_key_is_an_error():
    with boot("[pulse]\nmemory = 4M\nkernel = tests/pulse.bin\nloader = flat\ncolour = blue\n") as session:
        session.expect(HYPERVISOR, r"guests\.conf:5: expected a key", BOOT)


def test_no_configuration_at_all(tmp_path):
    bare = image.Image()
    bare.command("multiboot2", bare.put(paths.HYPERVISOR), "console=framed")
    bare.write_quick(tmp_path / "boot.iso")
    with Session(machine.Settings(machine="bochs", cpus=1), tmp_path / "boot.iso", log=log_directory()) as session:
        session.expect(HYPERVISOR, r"guests\.conf", BOOT)
