# SPDX-License-Identifier: Apache-2.0
"""scripts/run without a terminal, as a script calls it."""
import os
import pathlib
import signal
import subprocess
import time

from lab import ROOT, configuration, flat, run

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


def test_nothing_is_left_behind(tmp_path):
    with configuration(flat("pulse", "pulse")) as config:
        environment = {**os.environ, "TMPDIR": str(tmp_path)}
        done = run("--headless", "--machine", "bochs", "--guests", config, "--timeout", "2", "--until", "pulse=never",
                   env=environment)
    assert done.returncode == 1
    assert not list(tmp_path.iterdir())
