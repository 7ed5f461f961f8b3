# SPDX-License-Identifier: Apache-2.0
"""The instruction emulator against the processor on the emulated machine: tests/twin, its two images side by side.

As guests alone: on the bare machine there is no test device, and nothing to compare with.
"""
import os
import re

import pytest
from lab import BOOT, LINUX, PartitionState, boot, flat

IMAGES = ("twin_64", "twin_32")


@pytest.fixture(scope="module")
def machine():
    keys = {"loader": "multiboot", "memory": "16M", "test_device": "yes", "debug_exit": "yes"}
    # "all": every form with every prefix and place in every mode, which takes some ten times as long.
    if "BULKHEAD_TWIN" in os.environ:
        keys["cmdline"] = os.environ["BULKHEAD_TWIN"]
    with boot("".join(flat(name, "", kernel=f"tests/{name}.elf", **keys) for name in IMAGES), cpus=2) as session:
        yield session


@pytest.mark.parametrize("name", IMAGES)
def test_no_difference(machine, name):
    found = machine.expect(name, r"twin: (\d+) cases, (\d+) different", LINUX)
    text = machine.text(name)
    assert int(found[2]) == 0, "\n".join(re.findall(r"(?:DIFFERENT|FAIL).*", text))
    assert int(found[1]) > 5000
    coverage = [line for line in text.splitlines() if line.count("|") == 2]
    assert len(coverage) > 200
    machine.wait_state(name, PartitionState.EXITED, BOOT)
    assert machine.results()[name]["status"] == 1
