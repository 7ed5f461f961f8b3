# SPDX-License-Identifier: Apache-2.0
"""tests/equivalence/run as a program: it finds nothing where nothing differs, and what differs, it finds."""
import json
import subprocess

import pytest

from lab import ROOT, paths

CPUID = ROOT / "tests/equivalence/cpuid.toml"


@pytest.fixture
def run(tmp_path):
    def call(*words):
        output = tmp_path / "equivalence.json"
        done = subprocess.run([ROOT / "tests/equivalence/run", "--output", output, *map(str, words)], capture_output=True,
                              text=True, check=False, timeout=600)
        done.json = json.loads(output.read_text()) if output.exists() else None
        return done
    return call


@pytest.fixture
def cpuid(tmp_path):
    """A directory with the description of the image, for one CPU, after `change`."""
    def write(change=lambda text: text):
        text = CPUID.read_text().replace("cpus = [1, 2, 4]", "cpus = [1]")
        (tmp_path / "cpuid.toml").write_text(change(text))
        return tmp_path
    return write


def test_an_image_that_behaves_the_same(run, cpuid):
    done = run("--images", cpuid(), "--apic-virtualization", "yes")
    assert done.returncode == 0, done.stdout + done.stderr
    [result] = done.json
    assert result["ok"] and result["equal"] > 50 and not result["different"]
    assert result["deviations"] and result["ignored"] == {"bare": 1, "guest": 1}
    assert result["bare"]["status"] == result["guest"]["status"] == 1
    assert result["guest"]["account"]["exits"] == sum(result["guest"]["exits"].values()) > 0
    assert 0 < result["bare"]["instructions"] < result["guest"]["instructions"]


def test_a_difference_is_found(run, cpuid):
    done = run("--images", cpuid(lambda text: text[:text.index("[[")]), "--apic-virtualization", "no")
    assert done.returncode == 1
    assert "guest: ok with a hypervisor its leaf says how many there are" in done.stdout
    assert "FAIL level 0 is threads" in done.stdout and "0 equal, 1 not" in done.stdout
    assert not done.json[0]["ok"]


def test_an_image_that_does_not_end_is_no_success(run, cpuid):
    done = run("--images", cpuid(lambda text: text.replace('"debug-exit"', "'never written'")), "--apic-virtualization", "no")
    assert done.returncode == 1
    assert "bare: ended before its 'end'" in done.stdout and "guest: " in done.stdout


def test_a_description_that_is_wrong(run, tmp_path):
    (tmp_path / "bad.toml").write_text(CPUID.read_text() + "colour = 1\n")
    done = run("--images", tmp_path)
    assert done.returncode == 2 and f"{tmp_path}/bad.toml: deviation 1: colour: no such key" in done.stderr
    done = run("--filter", "no-such-image")
    assert done.returncode == 2 and "no-such-image" in done.stderr


def test_the_images_are_built():
    for image in (ROOT / "tests/equivalence/images").glob("*.cpp"):
        assert (paths.GUESTS / "equivalence" / f"{image.stem}.elf").is_file()
        assert image.stem.rsplit("_", 1)[0] in " ".join(
            path.read_text() for path in (ROOT / "tests/equivalence").glob("*.toml")), f"{image} is in no description"
