# SPDX-License-Identifier: Apache-2.0
"""scripts/run without a terminal, as a script calls it."""
import os
import pathlib
import signal
import struct
import subprocess
import time

from lab import ROOT, configuration, flat, paths, run

BOOT = 150


def test_two_runs_side_by_side(tmp_path):
    with configuration(flat("echo", "echo") + flat("pulse", "pulse")) as config:
        runs = []
        for number, letter in enumerate("ab"):
            command = [ROOT / "scripts/run", "--headless", "--machine", "bochs", "--cpus", "1", "--guests", config,
                       "--log", tmp_path / str(number), "--timeout", str(BOOT), "--until", "echo=ready",
                       "--send", f"echo={letter}\\c", "--until", f"echo=got {letter}", "--until", "pulse=pulse 2"]
            runs.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True))
        for number, letter in enumerate("ab"):
            _, errors = runs[number].communicate(timeout=BOOT + 60)
            assert runs[number].returncode == 0, errors
            assert f"got {letter}" in (tmp_path / str(number) / "echo.log").read_text()
            assert "got" not in (tmp_path / str(number) / "pulse.log").read_text()
            assert "pulse" in (tmp_path / str(number) / "bulkhead.log").read_text()
        other = (tmp_path / "0/echo.log").read_text()
        assert "got b" not in other


def test_the_time_limit_is_status_1(tmp_path):
    with configuration(flat("pulse", "pulse")) as config:
        done = run("--headless", "--machine", "bochs", "--guests", config, "--log", tmp_path, "--timeout", "3",
                   "--until", "pulse=never")
    assert done.returncode == 1
    assert "never" in done.stderr


def test_a_guest_that_is_not_there_is_status_2():
    with configuration(flat("pulse", "pulse")) as config:
        done = run("--headless", "--guests", config, "--until", "other=x")
    assert done.returncode == 2
    assert "has no guest 'other'" in done.stderr


def test_a_bad_configuration_is_status_2_before_anything_boots():
    with configuration("[pulse]\nmemory = 3M\nkernel = tests/pulse.bin\n") as config:
        done = run("--headless", "--guests", config)
    assert done.returncode == 2
    assert "guests.conf:2: expected" in done.stderr


def children(process):
    return [int(pid) for pid in pathlib.Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def test_a_machine_that_dies_is_status_3(tmp_path):
    with configuration(flat("pulse", "pulse")) as config:
        command = [ROOT / "scripts/run", "--headless", "--machine", "bochs", "--guests", config, "--log", tmp_path,
                   "--timeout", str(BOOT), "--until", "pulse=never"]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + BOOT
        log = tmp_path / "pulse.log"
        while not (log.exists() and b"pulse" in log.read_bytes()):
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.2)
        for child in children(process.pid):
            os.kill(child, signal.SIGKILL)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 3, errors


def broken_at(function, directory):
    """A copy of the hypervisor that runs into UD2 where this function of its begins."""
    symbols = subprocess.run(["nm", "-C", "--defined-only", paths.HYPERVISOR], capture_output=True, text=True,
                             check=True).stdout
    address, = (int(line.split()[0], 16) for line in symbols.splitlines() if line.split(" ", 2)[2] == function)
    elf = bytearray(paths.HYPERVISOR.read_bytes())
    table, = struct.unpack_from("<Q", elf, 32)
    size, count = struct.unpack_from("<HH", elf, 54)
    for entry in range(table, table + count * size, size):
        _, _, offset, virtual, _, in_file = struct.unpack_from("<IIQQQQ", elf, entry)
        if virtual <= address < virtual + in_file:
            at = offset + address - virtual
            elf[at:at + 2] = b"\x0f\x0b"
    broken = directory / "broken.elf"
    broken.write_bytes(elf)
    return broken


def test_a_hypervisor_that_dies_is_status_3_and_its_last_words_are_kept(tmp_path):
    """It boots, starts a guest, and faults in root mode at the guest's first OUT."""
    broken = broken_at("bulkhead::monitor::handler::io_instruction(bulkhead::monitor::ExitContext&)", tmp_path)
    with configuration(flat("pulse", "pulse")) as config:
        done = run("--headless", "--machine", "bochs", "--cpus", "1", "--guests", config, "--log", tmp_path,
                   "--timeout", BOOT, "--until", "pulse=never", "--hypervisor", broken)
    assert done.returncode == 3, done.stderr
    assert "the hypervisor died" in done.stderr
    words = (tmp_path / "bulkhead.log").read_text()
    assert "BULKHEAD FAULT on CPU 0" in words and "guest pulse vCPU 0" in words
    assert "io_instruction" in words  # the backtrace has the function's name


def test_nothing_is_left_behind(tmp_path):
    with configuration(flat("pulse", "pulse")) as config:
        environment = {**os.environ, "TMPDIR": str(tmp_path)}
        done = run("--headless", "--machine", "bochs", "--guests", config, "--timeout", "2", "--until", "pulse=never",
                   env=environment)
    assert done.returncode == 1
    assert not list(tmp_path.iterdir())
