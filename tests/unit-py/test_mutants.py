# SPDX-License-Identifier: Apache-2.0
"""The differential test finds bugs that are seeded into the emulator."""
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]


def test_each_seeded_bug_is_found():
    run = subprocess.run([ROOT / "tests/differential/mutants"], capture_output=True, text=True, timeout=600, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "MISSED" not in run.stdout
